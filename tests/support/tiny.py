"""The smallest run that goes through every stage, rendered by the stand-in for Blender."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from support.fake_blender import make_fake_blender

NUM_AVATARS = 6
SHARD_SIZE = 2
HELD_OUT = (5,)
"""The avatars that ``render.held_out_every = 6`` keeps from everything."""

SETTINGS = (
    "device=cpu",
    f"render.num_avatars={NUM_AVATARS}",
    f"render.shard_size={SHARD_SIZE}",
    "render.held_out_every=6",
    "render.train_views=6",
    "render.held_out_views=2",
    "render.resolution=32",
    "render.timeout_s=120.0",
    "planes.resolution=16",
    "planes.base_resolution=8",
    "planes.channels=4",
    "decoder.avatars=2",
    "decoder.min_avatars=1",
    "decoder.steps_per_avatar=12",
    "decoder.visit_steps=4",
    "decoder.hidden=16",
    "decoder.colour_hidden=8",
    "decoder.checkpoint_every=8",
    "fit.steps=30",
    "fit.rays=128",
    "fit.samples=4",
    "fit.render_samples=4",
    "fit.hull_resolution=16",
    "fit.min_psnr=0.0",
    "train.start_from=",
    "train.mirror=true",
    "train.precision=float32",
    "clip.steps=3",
    "clip.learning_rate=0.0005",
    "clip.warmup_steps=10",
    "clip.ema_decay=0.95",
    "clip.batch=4",
    "clip.picture_weight=1.0",
    "clip.likeness=6",
    "clip.augment_exposure=0.5",
    "clip.augment_background=0.5",
    "clip.image_size=16",
    "clip.patch_size=8",
    "clip.width=16",
    "clip.layers=1",
    "clip.heads=2",
    "clip.latent_dim=8",
    "base.steps=8",
    "base.learning_rate=0.001",
    "base.warmup_steps=10",
    "base.ema_decay=0.95",
    "base.held_out_every=0",
    "base.keep=last",
    "base.batch=2",
    "base.checkpoint_every=2",
    "base.linear=true",
    "generate.portrait_steps=2",
    "generate.portrait_detail_steps=2",
    "base.shown_share=0.9",
    "base.unet.patch=1",
    "base.unet.bypass=false",
    "base.unet.width=8",
    "base.unet.multipliers=[1, 2]",
    "base.unet.attention_sides=[4]",
    "upsampler.steps=2",
    "upsampler.learning_rate=0.001",
    "upsampler.warmup_steps=5",
    "upsampler.ema_decay=0.9",
    "upsampler.held_out_every=0",
    "upsampler.keep=last",
    "upsampler.batch=2",
    "upsampler.residual=true",
    "upsampler.unet.patch=1",
    "upsampler.unet.width=8",
    "upsampler.patch=8",
    "latent.steps=3",
    "latent.learning_rate=0.001",
    "latent.warmup_steps=10",
    "latent.ema_decay=0.98",
    "latent.held_out_every=0",
    "latent.keep=last",
    "latent.batch=4",
    "latent.width=16",
    "latent.layers=1",
    "frontal.steps=2",
    "frontal.learning_rate=0.001",
    "frontal.warmup_steps=5",
    "frontal.ema_decay=0.9",
    "frontal.held_out_every=0",
    "frontal.keep=last",
    "frontal.batch=2",
    "frontal.side=32",
    "frontal.unet.width=8",
    "frontal.unet.multipliers=[1, 2]",
    "frontal.unet.attention_sides=[]",
    "head.steps=2",
    "head.learning_rate=0.001",
    "head.warmup_steps=5",
    "head.ema_decay=0.9",
    "head.held_out_every=0",
    "head.keep=last",
    "head.batch=2",
    "head.side=16",
    "head.coarse_side=8",
    "head.unet.width=8",
    "head.unet.multipliers=[1, 2]",
    "head.unet.attention_sides=[]",
    "refiner.steps=2",
    "refiner.learning_rate=0.0005",
    "refiner.warmup_steps=5",
    "refiner.ema_decay=0.9",
    "refiner.held_out_every=0",
    "refiner.keep=last",
    "refiner.batch=2",
    "refiner.width=16",
    "refiner.multipliers=[1, 2]",
    "refiner.from_base=0.0",
    "refiner.blend=0.0",
    "refiner.adversarial_weight=0.0",
    "refiner.input_side=16",
    "refiner.scale=2",
    "refiner.views_per_avatar=2",
    "refiner.samples=4",
    "generate.num=1",
    "generate.base_steps=2",
    "generate.upsampler_steps=2",
    "generate.latent_steps=2",
    "generate.frontal_steps=2",
    "generate.head_steps=2",
    "generate.views=4",
    "generate.image_side=16",
    "generate.samples=4",
    "evaluate.images_per_avatar=2",
    "evaluate.kid_subsets=2",
    "evaluate.kid_subset_size=2",
)
"""Over the preset ``demo``. ``fit.min_psnr`` is 0, since a few steps make no good fit."""


def tiny_config(blender: str, *more: str) -> RunConfig:
    """The configuration of the tiny run; ``blender`` is for ``render.python``, ``more`` are further settings."""
    return load_config(preset="demo", settings=[*SETTINGS, f"render.python={blender}", *more])


def arguments(blender: str, *more: str) -> list[str]:
    """The same as options of the command line."""
    chosen = [*SETTINGS, f"render.python={blender}", *more]
    return ["--preset", "demo", *(word for setting in chosen for word in ("--set", setting))]


def recording_blender(folder: Path, *, wait_for: tuple[int, Path] | None = None, **faults: Any) -> str:
    """A stand-in for Blender that keeps each job it is given; :func:`recorded_jobs` reads them.

    With ``wait_for`` (shard, path), the process of that shard begins once something stands at the path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inner, script, jobs = make_fake_blender(folder, **faults), folder / "recording-blender", folder / "jobs"
    jobs.mkdir(exist_ok=True)
    lines = ["#!/bin/sh", f'[ "$3" = --check ] || cp "$3" {shlex.quote(str(jobs))}/"$(date +%s%N)-$$.json"']
    if wait_for is not None:
        shard, path = wait_for
        lines.append(
            f"""if grep -q '"shard": *{shard},' "$3"; then i=0; while [ $i -lt 1000 ] && """
            f"""[ ! -e {shlex.quote(str(path))} ]; do sleep 0.1; i=$((i + 1)); done; fi"""
        )
    script.write_text("\n".join([*lines, f'exec {shlex.quote(inner)} "$@"', ""]))
    script.chmod(0o755)
    return str(script)


def recorded_jobs(blender: str) -> list[tuple[int, ...]]:
    """The avatars of each job that a :func:`recording_blender` was given, in the order of time."""
    jobs = sorted((Path(blender).parent / "jobs").glob("*.json"))
    return [tuple(avatar["avatar"] for avatar in json.loads(job.read_text())["avatars"]) for job in jobs]


def tree_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every published file below ``folder``, by relative path; what was left half written is no part."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.endswith(".partial") for part in path.parts)
    }
