"""What each part of a fit is worth: the same fit with and without it, under the shared frozen decoder.

    python -m benchmarks.fit_ablation FOLDER [--avatars 2] [--steps 500] [--threads 1] [--only NAME ...] [--depth]

FOLDER comes from ``python -m benchmarks.fit_views FOLDER``. A row changes one thing of ``benchmarks.fit.FAST``; what is
written as NAME=VALUE behind ``--base`` holds for all rows. Beside the CPU seconds of the fit stand means over avatars,
of planes rounded as they are stored and rendered without the hull:

- held-out PSNR over white, of the whole image and of the foreground (true alpha above 0);
- floaters: mean opacity outside the masks widened by 2 pixels, in parts of a thousand;
- small: the whole-image PSNR of planes made four times smaller a side and large again.

The equations of the regularisers (sparse, smooth, compact) stand in ``rodin_models/field/triplane.py``. Without the
hull every ray that meets the cube is drawn, samples may lie anywhere in it, and compactness knows no empty point;
without the guide samples are spread evenly over occupied cells. The last line is one JSON object.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.fit import FAST, changed
from benchmarks.held_out import Quality, as_stored, first_views, mean, measure, through_side
from benchmarks.subject import Subject, load_subjects
from rodin_models.fit.optimiser import learning_rate_share
from rodin_models.fit.plane_fit import PlaneFit
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import RayPool
from rodin_models.image.features import RandomFeatures

SMALLER = 4


@dataclass(frozen=True)
class Try:
    """What a row changes."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the fit's settings, and their values here."""
    hull: bool = True
    """Whether the masks' hull is carved; else the whole cube is taken."""
    guide: bool = True
    """Whether the coarse density guides samples."""
    depth: bool | None = None
    """Whether the fit is given depth; None as the command line says."""


TRIES = {
    "as shipped": Try(),
    "no sparse": Try({"sparse_weight": 0.0}),
    "sparse x 10": Try({"sparse_weight": 1e-3}),
    "no smooth": Try({"tv_weight": 0.0}),
    "smooth x 3": Try({"tv_weight": 1.0}),
    "no compact": Try({"compact_weight": 0.0}),
    "none of the three": Try({"sparse_weight": 0.0, "tv_weight": 0.0, "compact_weight": 0.0}),
    "no rescaling": Try({"rescale_probability": 0.0}),
    "no noise": Try({"plane_noise": 0.0}),
    "no guide": Try(guide=False),
    "no hull, no guide": Try(hull=False, guide=False),
    "no hull": Try(hull=False),
    "not coarse to fine": Try({"coarse": ()}),
    "depth": Try(depth=True),
    "perceptual 0.001": Try({"perceptual_weight": 0.001}),
    "perceptual 0.01": Try({"perceptual_weight": 0.01}),
}


@dataclass(frozen=True)
class Row:
    """What one avatar gave."""

    cpu_seconds: float
    """Of the fit."""
    full: Quality
    """Of the planes as they are stored."""
    small: Quality
    """Of the planes made 64 texels a side and large again."""


def fit(subject: Subject, settings: FitSettings, change: Try, seed: int) -> tuple[torch.Tensor, float]:
    """Planes as they are stored, and the CPU seconds that they took."""
    generator = torch.Generator().manual_seed(seed)
    features = RandomFeatures(torch.Generator().manual_seed(0))
    started = time.process_time()
    if change.hull:
        fitting = PlaneFit.around(subject.train, subject.mean_planes, settings, features=features)
    else:
        whole = torch.ones((settings.hull_resolution,) * 3, dtype=torch.bool)
        fitting = PlaneFit(subject.mean_planes, whole, settings, features=features)
    pool = RayPool.around(subject.train, fitting.hull)
    for step in range(settings.steps):
        loss = fitting.loss(pool, subject.decoder, generator)
        (grad,) = torch.autograd.grad(loss, (fitting.table,))
        fitting.step(grad, learning_rate_share(step, settings.steps, settings.learning_rate_end))
        if not change.guide:
            fitting.occupancy.density.clamp_(max=0)  # negative still says: not occupied
    return as_stored(fitting.planes), time.process_time() - started


def row(subject: Subject, settings: FitSettings, change: Try, given: argparse.Namespace) -> Row:
    """Fit and measure one avatar."""
    depth = given.depth if change.depth is None else change.depth
    train = subject.train if depth else replace(subject.train, depth=None)
    planes, seconds = fit(replace(subject, train=train), replace(settings, **change.settings), change, given.seed)
    views = first_views(subject.held_out, given.views)
    small = through_side(planes, planes.shape[-1] // SMALLER)
    full, less = (measure(p, subject.decoder, views, given.render_samples) for p in (planes, small))
    return Row(seconds, full, less)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    numbers = {"avatars": 2, "first": 0, "steps": 500, "threads": 1, "views": 8, "render-samples": 64, "seed": 0}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--depth", action="store_true", help="give depth to all rows")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="names of rows")
    parser.add_argument("--base", nargs="*", default=[], metavar="NAME=VALUE", help="settings of all rows")
    given = parser.parse_args()
    unknown = set(given.only) - set(TRIES)
    if unknown:
        raise SystemExit(f"no rows named {sorted(unknown)}; there are {', '.join(TRIES)}")
    torch.set_num_threads(given.threads)
    settings = changed(replace(FAST, steps=given.steps), given.base)
    subjects = load_subjects(given.folder, given.first + given.avatars, torch.device("cpu"), depth=True)
    print("| try | CPU s | whole image dB | foreground dB | floaters 1e-3 | small dB |\n|---|---|---|---|---|---|")
    table: dict[str, dict[str, float]] = {}
    for name, change in TRIES.items():
        if given.only and name not in given.only:
            continue
        rows = [row(subject, settings, change, given) for subject in subjects[given.first :]]
        table[name] = {
            "cpu_seconds": mean([r.cpu_seconds for r in rows]),
            "whole_db": mean([r.full.whole_db for r in rows]),
            "foreground_db": mean([r.full.foreground_db for r in rows]),
            "floaters": mean([r.full.floaters for r in rows]),
            "small_db": mean([r.small.whole_db for r in rows]),
        }
        seconds, whole, foreground, floating, small = table[name].values()
        print(
            f"| {name} | {seconds:.1f} | {whole:.2f} | {foreground:.2f} | {floating * 1e3:.2f} | {small:.2f} |",
            flush=True,
        )
    rounded = {name: {key: round(value, 5) for key, value in found.items()} for name, found in table.items()}
    facts = {"settings": asdict(settings), "avatars": given.avatars, "depth": given.depth, "load": os.getloadavg()[0]}
    print(json.dumps({"tries": rounded, **facts}))


if __name__ == "__main__":
    main()
