"""Fits whose results lie in a folder: a benchmark that was killed goes on with the next one.

A fit is its planes and decoder (``NAME.npz``), and what was asked for and measured (``NAME.json``, which comes last).
What is asked for otherwise is fitted again.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.held_out import Quality, as_stored, measure, through_side
from benchmarks.subject import Subject
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.joint_fit import JointFit
from rodin_models.fit.plane_fit import fit_planes
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import Views

SMALL_SIDE = 64
"""Texels a side of what the base diffusion learns."""


@dataclass(frozen=True)
class Fitted:
    """Planes as they are stored, under their decoder, and how well they show held-out views."""

    planes: torch.Tensor
    """(3, channel, height, width), rounded as they are stored."""
    decoder: Decoder
    """That reads them, frozen."""
    seconds: float
    """Of CPU that the fit took."""
    full: Quality
    """Of the planes as they are."""
    small: Quality
    """Of the planes made 64 texels a side and large again."""


@dataclass(frozen=True)
class Recipe:
    """How a benchmark fits and measures."""

    settings: FitSettings
    """Of the fit."""
    decoder: DecoderSettings
    """Of a decoder of its own."""
    samples: int
    """Samples a ray when views are measured."""
    depth: bool
    """Whether fits are given the rendered depth."""
    seed: int
    """Of a fit under a shared decoder, and of a decoder of its own, whose fit has the next one."""


def own_fit(folder: Path, name: str, subject: Subject, recipe: Recipe) -> Fitted:
    """Planes with a decoder of their own: the joint fit of one avatar."""

    def fit(subject: Subject) -> tuple[torch.Tensor, Decoder]:
        decoder = Decoder(recipe.decoder, torch.Generator().manual_seed(recipe.seed))
        generator = torch.Generator().manual_seed(recipe.seed + 1)
        joint = JointFit(lambda _: subject.train, 1, decoder, recipe.settings, generator)
        joint.run(joint.total_steps, _teller(name, recipe.settings.steps))
        return joint.planes[0], decoder

    return _cached(folder, f"own-{name}", {"recipe": asdict(recipe)}, subject, recipe, fit)


def shared_fit(folder: Path, name: str, subject: Subject, recipe: Recipe) -> Fitted:
    """Planes under the subject's frozen decoder, from its mean planes."""

    def fit(subject: Subject) -> tuple[torch.Tensor, Decoder]:
        generator, tell = torch.Generator().manual_seed(recipe.seed), _teller(name, recipe.settings.steps)
        start = subject.mean_planes
        found = fit_planes(subject.train, subject.decoder, recipe.settings, generator, initial=start, on_step=tell)
        return found.planes, subject.decoder

    asked = {"recipe": asdict(replace(recipe, decoder=subject.decoder.settings)), "decoder": digest(subject.decoder)}
    return _cached(folder, f"shared-{name}", asked, subject, recipe, fit)


def digest(decoder: Decoder) -> float:
    """A number that another decoder hardly has."""
    return round(sum(float(tensor.double().abs().sum()) for tensor in decoder.state_dict().values()), 6)


def pixel_sum(views: Views) -> int:
    """A number that other photographs hardly have."""
    return int(views.rgba.long().sum())


def read_json(path: Path) -> dict[str, Any]:
    """What a file holds; empty where there is none."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write_json(path: Path, tree: dict[str, Any]) -> None:
    """Write by rename."""
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps(tree, indent=1) + "\n")
    staged.rename(path)


def _cached(
    folder: Path,
    name: str,
    asked: dict[str, Any],
    subject: Subject,
    recipe: Recipe,
    fit: Callable[[Subject], tuple[torch.Tensor, Decoder]],
) -> Fitted:
    record, arrays = folder / f"{name}.json", folder / f"{name}.npz"
    views = [pixel_sum(views) for views in (subject.train, subject.held_out)]
    asked = json.loads(json.dumps(asked | {"views": views}))
    known = read_json(record)
    if known.get("asked") != asked:
        started = time.process_time()
        depth = subject.train.depth if recipe.depth else None
        planes, decoder = fit(replace(subject, train=replace(subject.train, depth=depth)))
        decoder.requires_grad_(False)
        seconds, planes = time.process_time() - started, as_stored(planes)
        full = measure(planes, decoder, subject.held_out, recipe.samples)
        small = measure(through_side(planes, SMALL_SIDE), decoder, subject.held_out, recipe.samples)
        weights = {f"weight_{key}": tensor.numpy() for key, tensor in decoder.state_dict().items()}
        settings = json.dumps(asdict(decoder.settings))
        np.savez(arrays, planes=planes.half().numpy(), settings=settings, **weights)
        known = {"asked": asked, "cpu_seconds": seconds, "full": asdict(full), "small": asdict(small)}
        write_json(record, known)
    saved = np.load(arrays)
    decoder = Decoder(DecoderSettings(**json.loads(str(saved["settings"]))), torch.Generator())
    weights = {n.removeprefix("weight_"): torch.from_numpy(saved[n]) for n in saved.files if n.startswith("weight_")}
    decoder.load_state_dict(weights)
    decoder.requires_grad_(False)
    planes = torch.from_numpy(saved["planes"]).float()
    found = Fitted(planes, decoder, known["cpu_seconds"], Quality(**known["full"]), Quality(**known["small"]))
    print(
        f"{name}: {found.full.whole_db:.2f} dB, foreground {found.full.foreground_db:.2f}, "
        f"{found.seconds:.0f} s of CPU",
        flush=True,
    )
    return found


def _teller(name: str, steps: int) -> Callable[[int, float], None]:
    def tell(step: int, loss: float) -> None:
        if (step + 1) % 500 == 0 and step + 1 < steps:
            print(f"  {name}: step {step + 1} of {steps}, loss {loss:.5f}", flush=True)

    return tell
