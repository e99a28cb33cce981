"""What ``benchmarks/fit.py`` measures on: photographs of avatars, and a shared decoder fitted on other ones.

    python -m benchmarks.fit_views FOLDER [--avatars 3] [--decoder-avatars 8] [--threads 1]

The avatars are the first of ``benchmarks/avatars.json``: 40 training and 8 held-out views at 256 pixels by fixed
cameras. The decoder's are drawn by another seed: 20 views each. Both are rendered by stage ``render``, the decoder is
fitted by stage ``decoder``, and a command that was killed goes on where it was. Written are ``decoder.npz`` and one
``avatar-NN.npz`` each; the runs stay in ``FOLDER/runs``. Needs the whole pipeline, Blender too.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config import RunConfig
from pipeline.config_file import load_config
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.contracts.rendering import Split
from pipeline.fingerprint import stage_fingerprints
from pipeline.io.plane_store import create_plane_store
from pipeline.stages.fit_decoder import fit_decoder, load_decoder
from pipeline.stages.item import StageItem
from pipeline.stages.render import RenderItem, render_shard
from pipeline.stages.views import read_samples, views_of

SPECS = Path(__file__).with_name("avatars.json")
CPU = torch.device("cpu")


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
            "decoder.steps_per_avatar=250",
            "fit.samples=8",
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


def write_views(path: Path, config: RunConfig, layout: RunLayout, avatar: int) -> None:
    """One avatar's training and held-out views as one file."""
    arrays: dict[str, Any] = {}
    splits: tuple[Split, ...] = ("train", "held_out")
    for split in splits:
        samples = read_samples(config, layout, avatar, (split,))
        views = views_of(samples, CPU, depth=True)
        arrays |= {f"{split}_{field.name}": getattr(views, field.name).numpy() for field in dataclasses.fields(views)}
    np.savez_compressed(path, **arrays)


def main() -> None:
    """Render, fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--avatars", type=int, default=3)
    parser.add_argument("--decoder-avatars", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    runs: Path = given.folder / "runs"

    specs = [f'render.specs="{SPECS}"', "seed=5"]
    fixed = configuration(
        len(json.loads(SPECS.read_text())), train_views=40, held_out_views=8, threads=given.threads, settings=specs
    )
    fixed = fixed.model_copy(update={"render": fixed.render.model_copy(update={"num_avatars": given.avatars})})
    layout = render(runs / "avatars", fixed)
    for avatar in range(given.avatars):
        write_views(given.folder / f"avatar-{avatar:02d}.npz", fixed, layout, avatar)

    drawn = configuration(
        given.decoder_avatars, train_views=20, held_out_views=1, threads=given.threads, settings=["seed=6"]
    )
    layout = render(runs / "decoder", drawn)
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
