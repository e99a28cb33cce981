"""What the benchmarks of fits measure on: photographs of avatars, and a shared decoder fitted on other ones.

    python -m benchmarks.fit_views FOLDER [--avatars 3] [--decoder-avatars 24] [--threads 1]
    python -m benchmarks.fit_views FOLDER --run RUN [--avatars 3]

The avatars are the first of ``benchmarks/avatars.json``: 40 training and 8 held-out views at 256 pixels by fixed
cameras. The decoder's are drawn by another seed: 20 training views each. Both are rendered by stage ``render``, the
decoder is fitted by stage ``decoder``, and a command that was killed goes on where it was.

A fit averages the noise of forty photographs, and one noisy photograph is a poor judge of it. So the first four
held-out views of the avatars and their frontal view are rendered again, at 64 samples a pixel and labelled, and two of
them once more with other noise: how far those agree bounds what can be measured. An avatar that a check of its
pictures rejects then is measured on its first held-out views as they were.

With ``--run``, nothing is rendered or fitted: the first held-out avatars of RUN are taken as they are, with its decoder
and with what its base model's linear one predicts of their frontal pictures, where fits may start (``fit.start``).

Written are ``decoder.npz``, one ``avatar-NN.npz`` and one ``decoder-NN.npz`` an avatar; the runs stay in
``FOLDER/runs``. Needs the whole pipeline, Blender too.
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
from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard
from pipeline.contracts.rendering import AvatarJob, RenderPasses, RenderReport, Split
from pipeline.io.ledger import read_ledger
from pipeline.io.plane_store import create_plane_store
from pipeline.io.publish import empty_folder
from pipeline.io.shard_index import ShardIndex, index_shard
from pipeline.io.shards import Sample, read_avatar, write_shard
from pipeline.run.existing import open_run
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.stages.fit.decoder import fit_decoder
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.fit.start import predictions
from pipeline.stages.render import avatar_jobs, render_job, render_shard
from pipeline.stages.views import read_samples, views_of
from pipeline.stages.work import WorkItem

SPECS = Path(__file__).with_name("avatars.json")
CPU = torch.device("cpu")
HELD_OUT, HELD_OUT_SAMPLES = 4, 64
"""Held-out views that are rendered again, and Cycles' samples a pixel there."""
AGAIN, ONCE_MORE = 500, 600
"""What is added to a view's number where it is rendered again, and where it is once more."""


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
            "decoder.steps_per_avatar=600",
            f"decoder.threads={threads}",
            *settings,
        ],
    )


def render(root: Path, config: RunConfig) -> RunLayout:
    """Render the one shard of a run."""
    layout = RunLayout(root)
    item = WorkItem(Run(layout, config), "render", stage_fingerprints(config)["render"], 0)
    report = render_shard(item, lambda done, total: print(f"{root.name}: {done:.2f} of {total}", flush=True))
    if report.failures:
        raise SystemExit(f"{root.name}, {format_shard(0)}: {report.failures[0].reason}\n{report.failures[0].log_tail}")
    return layout


def arrays_of(samples: Sequence[Sample], split: str) -> dict[str, Any]:
    """Samples as the fields of ``Views``, with their labels if they have some, each name led by ``split``."""
    views = views_of(samples, CPU, depth=True)
    fields = {name: getattr(views, name) for name in (field.name for field in dataclasses.fields(views))}
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in fields.items() if tensor is not None}
    landmarks = [sample.record.landmarks.pixels for sample in samples if sample.record.landmarks]
    if landmarks:
        arrays["landmarks"] = np.array(landmarks, np.float32)
        arrays["segmentation"] = np.stack([s.segmentation for s in samples if s.segmentation is not None])
    return {f"{split}_{name}": array for name, array in arrays.items()}


def write_views(
    path: Path, run: Run, avatar: int, again: ShardIndex | None = None, predicted: torch.Tensor | None = None
) -> None:
    """One avatar's training and held-out views as one file; the latter from ``again`` if they were rendered again.

    With the planes that are ``predicted`` of it, if some are.
    """
    splits: tuple[Split, ...] = ("train", "held_out")
    sources = {split: read_samples(run, avatar, (split,)) for split in splits}
    sources["held_out"] = sources["held_out"][:HELD_OUT]
    arrays: dict[str, Any] = {}
    if again is not None and avatar in again.avatars:
        samples = read_avatar(again, avatar)
        held_out = [sample for sample in samples if sample.record.split == "held_out"]
        arrays = arrays_of([sample for sample in samples if sample.record.split == "frontal"], "frontal")
        arrays |= arrays_of([sample for sample in held_out if sample.record.view >= ONCE_MORE], "held_out_again")
        sources["held_out"] = tuple(sample for sample in held_out if sample.record.view < ONCE_MORE)
    for split in splits:
        arrays |= arrays_of(sources[split], split)
    if predicted is not None:
        arrays["predicted"] = predicted.numpy()
    np.savez_compressed(path, **arrays)


def write_decoder(path: Path, layout: RunLayout) -> torch.Tensor:
    """A run's decoder and mean planes as one file; returns the latter."""
    decoder, mean_planes = load_decoder(layout, CPU)
    weights = {f"weight_{name}": tensor.numpy() for name, tensor in decoder.state_dict().items()}
    settings = json.dumps(dataclasses.asdict(decoder.settings))
    np.savez(path, settings=settings, mean_planes=mean_planes.numpy(), **weights)
    return mean_planes


def from_run(folder: Path, run: Run, avatars: int) -> None:
    """Write the first held-out avatars of a run, its decoder, and what its linear model predicts of them."""
    folder.mkdir(parents=True, exist_ok=True)
    mean_planes = write_decoder(folder / "decoder.npz", run.layout)
    predict = predictions(ModelFolder.of_run(run), run, mean_planes, CPU)
    held_out = [avatar for avatar in sorted(run.plane_sources()) if run.config.is_held_out(avatar)]
    for number, avatar in enumerate(held_out[:avatars]):
        write_views(folder / f"avatar-{number:02d}.npz", run, avatar, predicted=predict(avatar))
        print(f"{format_avatar(avatar)} is avatar-{number:02d}", flush=True)


def render_again(folder: Path, run: Run) -> ShardIndex:
    """Some views of each avatar at more samples, labelled, under other numbers, on which a view's noise depends."""
    tar = folder / "again.tar"
    report = read_ledger(layout.ledger("render", format_shard(0)), RenderReport)
    assert report is not None
    known = folder / "again.json"
    if tar.exists() and known.exists() and json.loads(known.read_text()) == report.tar_sha256:
        return index_shard(tar)
    jobs: list[AvatarJob] = []
    for avatar, spec in zip(report.done, report.specs, strict=True):
        whole = avatar_jobs(config, [avatar])[avatar]
        held_out = [view for view in whole.views if view.split == "held_out"][:HELD_OUT]
        frontal = [view for view in whole.views if view.split == "frontal"]
        views = [(AGAIN, view) for view in held_out + frontal] + [(ONCE_MORE, view) for view in held_out[:2]]
        renumbered = tuple(view.model_copy(update={"view": first + view.view}) for first, view in views)
        jobs.append(whole.model_copy(update={"spec": spec, "redraws": (), "views": renumbered}))
    output = empty_folder((folder / "again").resolve())
    passes = RenderPasses(segmentation=True, landmarks=True)
    changed = config.render.model_copy(update={"samples": HELD_OUT_SAMPLES, "passes": passes})
    job = render_job(config.model_copy(update={"render": changed}), 0, jobs, output)
    outcome = run_blender(
        job,
        python=config.render.python or sys.executable,
        timeout_s=config.render.timeout_s,
        on_event=lambda event: print(f"again: {event}", flush=True),
    )
    if outcome.result is None:
        raise SystemExit(f"rendering again: {outcome.reason}\n{outcome.log_tail}")
    for failure in outcome.failures:
        print(f"{format_avatar(failure.avatar)} keeps the pictures it has: {failure.reason}")
    failed = {failure.avatar for failure in outcome.failures}
    write_shard(tar, [output / format_avatar(avatar) for avatar in report.done if avatar not in failed])
    known.write_text(json.dumps(report.tar_sha256))
    shutil.rmtree(output)
    return index_shard(tar)


def main() -> None:
    """Render, fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--avatars", type=int, default=3)
    parser.add_argument("--decoder-avatars", type=int, default=24)
    parser.add_argument("--decoder-held-out", type=int, default=1, help="held-out views of each of the decoder's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path, help="take held-out avatars, decoder and linear model of this run")
    given = parser.parse_args()
    if given.run:
        from_run(given.folder, open_run(given.run), given.avatars)
        return
    runs: Path = given.folder / "runs"

    specs = [f'render.specs="{SPECS}"', "seed=5"]
    fixed = configuration(
        len(json.loads(SPECS.read_text())), train_views=40, held_out_views=8, threads=given.threads, settings=specs
    )
    fixed = fixed.model_copy(update={"render": fixed.render.model_copy(update={"num_avatars": given.avatars})})
    layout = render(runs / "avatars", fixed)
    again = render_again(given.folder, Run(layout, fixed))
    for avatar in range(given.avatars):
        write_views(given.folder / f"avatar-{avatar:02d}.npz", Run(layout, fixed), avatar, again)

    drawn = configuration(
        given.decoder_avatars,
        train_views=20,
        held_out_views=given.decoder_held_out,
        threads=given.threads,
        settings=["seed=6"],
    )
    layout = render(runs / "decoder", drawn)
    for avatar in range(given.decoder_avatars):
        write_views(given.folder / f"decoder-{avatar:02d}.npz", Run(layout, drawn), avatar)
    if not layout.planes.exists():
        create_plane_store(layout.planes, drawn.plane_spec(), given.decoder_avatars)
    item = WorkItem(Run(layout, drawn), "decoder", stage_fingerprints(drawn)["decoder"])
    report = fit_decoder(item, lambda done, total: print(f"decoder: {done} of {total}", flush=True))
    print(f"decoder: {report.psnr_db:.2f} dB on its own avatars' held-out views, {report.seconds:.0f} s")
    write_decoder(given.folder / "decoder.npz", layout)


if __name__ == "__main__":
    main()
