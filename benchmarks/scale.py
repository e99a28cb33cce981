"""The driver at the paper's size: 100 000 avatars in 3031 shards, each task a stub of 10 ms.

    python -m benchmarks.scale [--avatars 100000] [--workers 8] [--folder RUNS]

Real are planning, currency, ledgers, Ray and the summing up: the driver's own :func:`pipeline.driver.visit.carry_out`
with the stages ``render``, ``decoder`` and ``fit``, whose work alone is replaced. A stub sleeps and publishes a ledger
entry as large as a real one. Each visit is a process of its own. ``driver_bytes_per_task`` is the slope of the driver's
peak memory between a run of a tenth and the whole. Then every hundredth shard is forgotten: ``inspect_s`` is
``rodin-pipe inspect`` of what is left, imports and contact sheet included; ``resume_s`` the visit that does the rest,
from the begin of its process to its end, Ray's start and stop included. Tars and chunks of planes are files of the
right size without content, but for the first shards, which the contact sheet reads. The last line is one JSON object.
"""

import argparse
import functools
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from cluster.dag import Task, TaskFailed
from cluster.session import ray_session
from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.conventions import ALPHA, COLOUR_TRANSFORM, PEOPLE_VERSION, SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout, format_avatar, format_sample, format_shard
from pipeline.contracts.planes import DecoderReport, FitReport, FitShardReport
from pipeline.contracts.rendering import RenderReport, SampleRecord
from pipeline.contracts.stage import Progress
from pipeline.driver import visit as driver
from pipeline.driver.request import Visit
from pipeline.driver.worker_group import Node, do_task
from pipeline.io.avatar_folder import avatar_sha256, publish_avatar_folder
from pipeline.io.files import forget, make_folder
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import PlaneStore, name_decoder
from pipeline.io.publish import publish_bytes
from pipeline.io.shards import write_shard
from pipeline.people.draw import draw_avatar
from pipeline.run.run import DECODER_FILES, Run, decoder_sha256
from pipeline.run.stage_table import STAGES
from pipeline.stages.render import depth_scale, view_specs
from pipeline.stages.work import WorkItem

STUB_S = 0.01
"""What a task does instead of its work."""
STAGES_DONE = ("render", "decoder", "fit")
REAL_SHARDS = 2
"""So many first shards have tars that can be read."""
FORGOTTEN_EVERY = 100
SETTINGS = ("render.threads=1", "fit.threads=1", "decoder.threads=1", "render.resolution=32", "render.train_views=2")
SMALL_PLANES = (
    "render.held_out_views=1",
    "planes.resolution=32",
    "planes.base_resolution=16",
    "planes.channels=4",
    "refiner.input_side=16",
    "refiner.scale=2",
)


def config_of(avatars: int) -> RunConfig:
    """Preset ``paper`` with so many avatars; pictures and planes are small, since nobody makes them."""
    return load_config(preset="paper", settings=[f"render.num_avatars={avatars}", *SETTINGS, *SMALL_PLANES])


def stubbed(node: Node, inputs: tuple[Any, ...], progress: Progress) -> None:
    """What a task does, with stages whose work is a stub."""
    for name in STAGES_DONE:
        STAGES[name] = replace(STAGES[name], work=f"benchmarks.scale:stub_{name}", group_work="")
    do_task(node, inputs, progress)


@functools.cache
def _specs(count: int) -> tuple[AvatarSpec, ...]:
    return tuple(draw_avatar(0, avatar) for avatar in range(count))


def stub_render(item: WorkItem, progress: Progress) -> RenderReport:
    """A shard's ledger entry and, in place of its tar, a file of its size."""
    before = item.published(RenderReport)
    if before is not None and item.done(before, progress):
        return before
    time.sleep(STUB_S)
    tar = item.layout.shard(item.number)
    make_folder(tar.parent)
    hashes = {format_avatar(avatar): f"{avatar:064x}" for avatar in item.avatars}
    if item.number < REAL_SHARDS:
        tar_sha256, tar_bytes, hashes = _real_tar(item, tar)
    else:
        tar_sha256, tar_bytes = f"{item.number:064x}", 2**20
        with tar.open("wb") as handle:
            handle.truncate(tar_bytes)
    report = RenderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        shard=item.number,
        done=item.avatars,
        failures=(),
        tar_sha256=tar_sha256,
        tar_bytes=tar_bytes,
        avatar_sha256=hashes,
        specs=_specs(len(item.avatars)),
        seconds={"build": 1.0, "frames": 1.0, "shard": 1.0},
        started_at=time.time(),
        finished_at=time.time(),
        attempts=1,
        versions={"bpy": "4.5.15", "numpy": np.__version__},
        processor="stub",
        device="CPU",
        people_version=PEOPLE_VERSION,
        spans={format_avatar(avatar): (0, 2**15) for avatar in item.avatars} if item.number >= REAL_SHARDS else {},
    )
    write_ledger(item.ledger, report)
    progress(item.units, item.units)
    return report


def _real_tar(item: WorkItem, tar: Path) -> tuple[str, int, dict[str, str]]:
    """A tar of grey pictures; its hash, its size and the hashes of its avatars."""
    config, folders, hashes = item.config, [], {}
    side = config.render.resolution
    parts = item.layout.parts("render", item.number)
    make_folder(parts)
    pictures: dict[str, bytes] = {}
    for suffix, pixels in (
        ("rgba", np.full((side, side, 4), 128, np.uint8)),
        ("depth", np.full((side, side), 9, np.uint16)),
    ):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        pictures[suffix] = buffer.getvalue()
    for avatar in item.avatars:
        files = []
        for view in view_specs(config, avatar):
            stem = format_sample(avatar, view.view)
            record = SampleRecord(
                schema_version=SCHEMA_VERSION,
                avatar_id=format_avatar(avatar),
                view=view.view,
                split=view.split,
                camera=view.camera,
                held_out_avatar=config.is_held_out(avatar),
                caption="a stub",
                caption_short="a stub",
                depth_scale=depth_scale(config),
                extent_m=config.render.extent_m,
                alpha=ALPHA,
                colour_transform=COLOUR_TRANSFORM,
            )
            files += [(f"{stem}.{suffix}.png", data) for suffix, data in pictures.items()]
            files.append((f"{stem}.json", record.to_json().encode()))
        rendered = publish_avatar_folder(parts, avatar, files, seconds={})
        folders.append(parts / format_avatar(avatar))
        hashes[format_avatar(avatar)] = avatar_sha256(rendered)
    sha256, size = write_shard(tar, folders)
    forget(parts)
    return sha256, size, hashes


def stub_decoder(item: WorkItem, progress: Progress) -> DecoderReport:
    """Two files and a ledger entry."""
    before = item.published(DecoderReport)
    if before is not None and item.done(before, progress):
        return before
    time.sleep(STUB_S)
    for name in DECODER_FILES:
        publish_bytes(item.layout.decoder / name, b"stub")
    sha256 = decoder_sha256(item.layout.decoder)
    name_decoder(item.layout.planes, sha256)
    avatars = item.config.decoder_avatars()
    report = DecoderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        avatars=avatars,
        sources={format_avatar(avatar): str(item.run.render_source(avatar)) for avatar in avatars},
        decoder_sha256=sha256,
        psnr_db=30.0,
        steps=1,
        started_at=time.time(),
        finished_at=time.time(),
        seconds=1.0,
        versions={},
        processor="stub",
    )
    write_ledger(item.ledger, report)
    return report


def stub_fit(item: WorkItem, progress: Progress) -> FitShardReport:
    """A shard's ledger entry."""
    renders, decoder = item.run.render_report(item.number), item.run.decoder_report()
    assert renders is not None and decoder is not None
    before = item.published(FitShardReport)
    if before is not None and item.done(before, progress):
        return before
    time.sleep(STUB_S)
    report = FitShardReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        shard=item.number,
        decoder_sha256=decoder.decoder_sha256,
        fits=tuple(
            FitReport(
                avatar=avatar,
                source_sha256=renders.avatar_sha256[format_avatar(avatar)],
                psnr_db=30.123456789,
                psnr_foreground_db=25.123456789,
                ssim=0.912345678,
                coverage=0.412345678,
                steps=item.config.fit.steps,
                seconds=1.234,
                planes_sha256=f"{avatar:064x}",
            )
            for avatar in renders.done
        ),
        failures=(),
        started_at=time.time(),
        finished_at=time.time(),
        versions={"torch": "2", "numpy": np.__version__},
        processor="stub",
    )
    write_ledger(item.ledger, report)
    progress(item.units, item.units)
    return report


def visit(root: Path, avatars: int, workers: int) -> dict[str, float]:
    """One visit, in this process: seconds, tasks, and how far the driver's memory rose."""
    from benchmarks import scale  # by its name, which workers know too

    build = driver.build_tasks

    def with_stubs(*arguments: Any) -> list[Task]:
        return [replace(task, function=scale.stubbed) for task in build(*arguments)]

    config = config_of(avatars)
    asked = Visit(Run(RunLayout(root), config), STAGES_DONE, "fit")
    rss: list[int] = []
    start = time.monotonic()

    def watched(stage: Any) -> None:
        rss.append(_rss_bytes())

    with (
        mock.patch.object(driver, "build_tasks", with_stubs),
        mock.patch.object(driver, "ray_session", lambda address: ray_session(address, num_cpus=workers)),
    ):
        result = driver.carry_out(asked, lambda: nullcontext(watched))
    failed = [outcome.reason for outcome in result.results.values() if isinstance(outcome, TaskFailed)]
    assert not failed, failed[:3]
    assert all(result.states[stage].word == "done" for stage in STAGES_DONE), result.states
    timings = result.results.timings.values()
    return {
        "seconds": time.monotonic() - start,
        "ran": len(timings),
        "span_s": max(t.ended_at for t in timings) - min(t.begun_at for t in timings),
        "first_bytes": rss[0],
        "last_bytes": rss[-1],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def visit_of_its_own(root: Path, avatars: int, workers: int) -> dict[str, float]:
    """:func:`visit` in a new process; ``wall_s`` are the seconds from its begin to its end."""
    start = time.monotonic()
    words = ["-m", "benchmarks.scale", "--visit", str(root), "--avatars", str(avatars), "--workers", str(workers)]
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"wall_s": time.monotonic() - start}


def make_chunks(root: Path, avatars: int) -> None:
    """Chunks of planes as files of their size, older than their ledger entries."""
    store = PlaneStore.open(RunLayout(root).planes)
    for name in store.arrays:
        size = store.chunk_bytes(name)
        assert size is not None
        for avatar in range(avatars):
            path = store.chunk(name, avatar)
            with path.open("wb") as handle:
                handle.truncate(size)
            os.utime(path, (1.0, 1.0))


def forget_shards(root: Path, shards: Iterable[int]) -> int:
    """Ledger entries of renders and fits of some shards; returns how many."""
    ledgers = [RunLayout(root).ledger(s, format_shard(shard)) for shard in shards for s in ("render", "fit")]
    forget(*ledgers)
    return len(ledgers)


def inspect_seconds(root: Path) -> float:
    """Of ``rodin-pipe inspect``, as people type it."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "pipeline.cli", "inspect", "--out", str(root)], check=True)
    return time.monotonic() - start


@contextmanager
def _folder(given: Path | None) -> Any:
    made = given or Path(tempfile.mkdtemp(prefix="rodin-scale-"))
    try:
        yield made
    finally:
        if given is None:
            shutil.rmtree(made)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="keeps the runs")
    parser.add_argument("--visit", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    avatars, workers = arguments.avatars, arguments.workers
    if arguments.visit is not None:
        print(json.dumps(visit(arguments.visit, avatars, workers)))
        return
    shards = config_of(avatars).render.num_shards
    with _folder(arguments.folder) as folder:
        tenth = visit_of_its_own(folder / "tenth", avatars // 10, workers)
        print(f"a tenth: {tenth}", flush=True)
        whole = visit_of_its_own(folder / "whole", avatars, workers)
        print(f"the whole: {whole}", flush=True)
        make_chunks(folder / "whole", avatars)
        forgotten = forget_shards(folder / "whole", range(FORGOTTEN_EVERY // 2, shards, FORGOTTEN_EVERY))
        print(f"{forgotten} of {2 * shards} ledger entries forgotten", flush=True)
        inspect_s = inspect_seconds(folder / "whole")
        resumed = visit_of_its_own(folder / "whole", avatars, workers)
        print(f"resumed: {resumed}", flush=True)
    summary = {
        "driver_bytes_per_task": round((whole["peak_bytes"] - tenth["peak_bytes"]) / (whole["ran"] - tenth["ran"])),
        "tasks_per_s": round(whole["ran"] / whole["span_s"], 1),
        "resume_s": round(resumed["wall_s"], 1),
        "inspect_s": round(inspect_s, 1),
        "shards": shards,
        "workers": workers,
        "peak_mib": round(whole["peak_bytes"] / 2**20),
        "visit_s": round(whole["wall_s"], 1),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
