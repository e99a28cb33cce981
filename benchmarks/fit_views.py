"""What the benchmarks of fits measure on: photographs of avatars, and a shared decoder fitted on other ones.

    python -m benchmarks.fit_views FOLDER [--avatars 3] [--decoder-avatars 24] [--decoder-held-out 1] [--threads 1]

The avatars are the first of ``benchmarks/avatars.json``: 40 training and 8 held-out views at 256 pixels by fixed
cameras. The decoder's are drawn by another seed: 20 training views each. Both are rendered by stage ``render``, the
decoder is fitted by stage ``decoder``, and a command that was killed goes on where it was. Fits are given views of 16
Cycles samples and measured on views of 64: the first four held-out ones of each avatar are rendered again. Two of
those, the most frontal one and the one most from behind, are rendered once more with other noise: how far the two
agree is the most that a fit can reach. These are labelled, and say where hair, eyes and cloth are. An avatar that a
check of its pictures rejects then keeps its first ones. Written are ``decoder.npz``, one ``avatar-NN.npz`` and one
``decoder-NN.npz`` an avatar; the runs stay in ``FOLDER/runs``. Needs the whole pipeline, Blender too.
"""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.blender_process import run_blender
from pipeline.config import RunConfig
from pipeline.config_file import load_config
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard
from pipeline.contracts.rendering import AvatarJob, RenderPasses, RenderReport, Split, ViewSpec
from pipeline.fingerprint import stage_fingerprints
from pipeline.io.ledger import read_ledger
from pipeline.io.plane_store import create_plane_store
from pipeline.io.publish import empty_folder
from pipeline.io.shards import Sample, ShardIndex, index_shard, read_avatar, write_shard
from pipeline.stages.fit_decoder import fit_decoder, load_decoder
from pipeline.stages.item import StageItem
from pipeline.stages.render import RenderItem, avatar_jobs, render_job, render_shard
from pipeline.stages.views import read_samples, views_of

SPECS = Path(__file__).with_name("avatars.json")
CPU = torch.device("cpu")
MEASURED_VIEWS, MEASURED_SAMPLES = 4, 64
"""Held-out views of an avatar that are rendered again to measure by, and their Cycles samples."""
MEASURED, AGAIN = 500, 700
"""Number of the first held-out view where it is rendered to be measured by, and once more: noise depends on it."""


def configuration(
    avatars: int, *, train_views: int, held_out_views: int, threads: int, settings: list[str]
) -> RunConfig:
    """Planes of 128 x 128 x 32 at 256 pixels, all avatars one shard, none of them held out."""
    return load_config(
        preset="desk",
        settings=[
            f"render.num_avatars={avatars}",
            f"render.shard_size={avatars}",
            f"render.held_out_every={avatars + 1}",
            f"render.train_views={train_views}",
            f"render.held_out_views={held_out_views}",
            f"render.threads={threads}",
            "render.timeout_s=900.0",
            "decoder.min_avatars=1",
            f"decoder.avatars={avatars}",
            "decoder.hidden=64",
            "decoder.colour_hidden=32",
            "decoder.steps_per_avatar=500",
            "fit.samples=12",
            f"decoder.threads={threads}",
            *settings,
        ],
    )


def render(root: Path, config: RunConfig) -> RunLayout:
    """Render the one shard of a run."""
    layout = RunLayout(root)
    item = RenderItem(layout, config, 0, stage_fingerprints(config)["render"])
    report = render_shard(item, (), lambda done, total: print(f"{root.name}: {done:.2f} of {total}", flush=True))
    if report.failures:
        raise SystemExit(f"{root.name}, {format_shard(0)}: {report.failures[0].reason}\n{report.failures[0].log_tail}")
    return layout


def write_views(path: Path, config: RunConfig, layout: RunLayout, avatar: int, finer: Sequence[Sample] = ()) -> None:
    """One avatar's training and held-out views as one file; of the latter those that were rendered finer, if any."""
    arrays: dict[str, Any] = {}
    splits: tuple[Split, ...] = ("train", "held_out")
    for split in splits:
        samples = read_samples(config, layout, avatar, (split,))
        if split == "held_out" and config.render.held_out_views > MEASURED_VIEWS:
            samples = samples[:MEASURED_VIEWS]
        views = views_of(samples, CPU, depth=True)
        arrays |= {f"{split}_{field.name}": getattr(views, field.name).numpy() for field in dataclasses.fields(views)}
    if finer:
        measured = [sample for sample in finer if sample.record.view < AGAIN]
        again = [sample for sample in finer if sample.record.view >= AGAIN]
        arrays["held_out_rgba"] = np.stack([sample.rgba for sample in measured])
        arrays["again_view"] = np.array([sample.record.view - AGAIN for sample in again])
        arrays["again_rgba"] = np.stack([sample.rgba for sample in again])
        arrays["again_segmentation"] = np.stack([s.segmentation for s in again if s.segmentation is not None])
        landmarks = [s.record.landmarks.pixels for s in again if s.record.landmarks]
        arrays["again_landmarks"] = np.array(landmarks, np.float32)
    np.savez_compressed(path, **arrays)


def finer_views(whole: AvatarJob) -> tuple[ViewSpec, ...]:
    """The held-out views to measure by, and the most frontal one and the one most from behind once more."""
    measured = [view for view in whole.views if view.split == "held_out"][:MEASURED_VIEWS]
    by_front = sorted(range(len(measured)), key=lambda index: float(measured[index].camera.matrix()[2, 3]))
    again = sorted({by_front[-1], by_front[0]})
    numbered = [(MEASURED + i, i) for i in range(len(measured))] + [(AGAIN + i, i) for i in again]
    return tuple(ViewSpec(view=number, camera=measured[i].camera, split="held_out") for number, i in numbered)


def render_finer(root: Path, config: RunConfig, layout: RunLayout) -> ShardIndex:
    """:func:`finer_views` of each avatar that the checks let pass, labelled."""
    tar, settings_of = root / "finer.tar", root / "finer.txt"
    report = read_ledger(layout.ledger("render", format_shard(0)), RenderReport)
    assert report is not None
    if tar.exists() and settings_of.exists() and settings_of.read_text() == report.tar_sha256:
        return index_shard(tar)
    jobs: list[AvatarJob] = []
    for avatar, spec in zip(report.done, report.specs, strict=True):
        whole = avatar_jobs(config, [avatar])[avatar]
        jobs.append(whole.model_copy(update={"spec": spec, "redraws": (), "views": finer_views(whole)}))
    output = empty_folder((root / "finer").resolve())
    passes = RenderPasses(depth=False, segmentation=True, landmarks=True)
    finer = config.render.model_copy(update={"passes": passes, "samples": MEASURED_SAMPLES})
    job = render_job(config.model_copy(update={"render": finer}), 0, jobs, output)
    print(f"finer: {len(jobs)} avatars", flush=True)
    outcome = run_blender(job, python=config.render.python or sys.executable, timeout_s=config.render.timeout_s)
    if outcome.result is None:
        raise SystemExit(f"rendering finer views: {outcome.reason}\n{outcome.log_tail}")
    for failure in outcome.failures:
        print(f"{format_avatar(failure.avatar)} keeps its first pictures: {failure.reason}")
    failed = {failure.avatar for failure in outcome.failures}
    write_shard(tar, [output / format_avatar(avatar) for avatar in report.done if avatar not in failed])
    settings_of.write_text(report.tar_sha256)
    shutil.rmtree(output)
    return index_shard(tar)


def main() -> None:
    """Render, fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--avatars", type=int, default=3)
    parser.add_argument("--decoder-avatars", type=int, default=24)
    parser.add_argument("--decoder-held-out", type=int, default=1, help="held-out views of each decoder avatar")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    runs: Path = given.folder / "runs"

    specs = [f'render.specs="{SPECS}"', "seed=5"]
    fixed = configuration(
        len(json.loads(SPECS.read_text())), train_views=40, held_out_views=8, threads=given.threads, settings=specs
    )
    fixed = fixed.model_copy(update={"render": fixed.render.model_copy(update={"num_avatars": given.avatars})})
    layout = render(runs / "avatars", fixed)
    finer = render_finer(runs, fixed, layout)
    for avatar in range(given.avatars):
        samples = read_avatar(finer, avatar) if avatar in finer.avatars else ()
        write_views(given.folder / f"avatar-{avatar:02d}.npz", fixed, layout, avatar, samples)

    drawn = configuration(
        given.decoder_avatars,
        train_views=20,
        held_out_views=given.decoder_held_out,
        threads=given.threads,
        settings=["seed=6"],
    )
    layout = render(runs / "decoder", drawn)
    for avatar in range(given.decoder_avatars):
        write_views(given.folder / f"decoder-{avatar:02d}.npz", drawn, layout, avatar)
    if not layout.planes.exists():
        create_plane_store(layout.planes, drawn.plane_spec(), given.decoder_avatars)
    item = StageItem(layout, drawn, stage_fingerprints(drawn)["decoder"])
    report = fit_decoder(item, (), lambda done, total: print(f"decoder: {done} of {total}", flush=True))
    print(f"decoder: {report.psnr_db:.2f} dB on its own avatars' held-out views, {report.seconds:.0f} s")
    decoder, mean_planes = load_decoder(layout, CPU)
    weights = {f"weight_{name}": tensor.numpy() for name, tensor in decoder.state_dict().items()}
    settings = json.dumps(dataclasses.asdict(decoder.settings))
    np.savez(given.folder / "decoder.npz", settings=settings, mean_planes=mean_planes.numpy(), **weights)


if __name__ == "__main__":
    main()
