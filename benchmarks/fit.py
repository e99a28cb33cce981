"""How much faster the fast fit reaches 32 dB than the plain one: a ratio, measured in one process.

    python -m benchmarks.fit FOLDER [--avatars 3] [--threads 2] [--depth] [--fast samples=16]
                                    [--plain learning_rate=0.03]

FOLDER comes from ``python -m benchmarks.fit_views FOLDER``; measuring needs torch, numpy, einops and jaxtyping only.
Both ways fit the same views with the same frozen decoder from the same mean planes, planes of the same size, equally
many rays a step and learning rates tuned for each; the plain one is ``benchmarks/plain_fit.py``. At fixed steps the
planes, rounded as they are stored, render the held-out views; the seconds until their mean whole-image PSNR over white
first reaches ``--psnr`` count everything but that: hull, rays, steps. ``speedup`` is the geometric mean of the avatars'
ratios, a lower bound where the plain way had not reached it after all its steps (``reference_reached`` counts the
avatars in which it had). Printed beside it: what the plain step takes over its own bare ``grid_sample`` calls and
matrix products, and how far the fast step is from the floor that its multiply-adds and bytes set on this machine.
Without SciPy the fast way is slower on a CPU; which it was is printed. The last line is one JSON object.

Where FOLDER has what a linear model predicts of the avatars (``benchmarks.fit_views --run RUN``), the fast fit is
measured from there too, and ``seconds_predicted`` stands beside ``seconds_fast``; ``--only start`` leaves the plain way
out. Predicting takes a picture through an encoder and a product with a matrix, which is not counted.

With ``--batch 1 4 16`` it measures instead what fitting several at once costs (:mod:`benchmarks.fit_batch`), on a CPU
or with ``--device cuda``, up to the PSNRs of ``--reach``.
"""

import argparse
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from typing import TypeVar

import torch

from benchmarks import fit_batch
from benchmarks.plain_fit import COARSE, FINE, PlainFit
from benchmarks.subject import Subject, load_subjects, quality_of
from rodin_models.field import triplane
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.optimiser import learning_rate_share
from rodin_models.fit.plane_fit import PlaneFit
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.shading import Shading
from rodin_models.fit.views import RayPool

FAST = FitSettings(resolution=128, steps=300, rays=2048, samples=12)
PLAIN = FitSettings(resolution=128, steps=1200, rays=2048)


@dataclass(frozen=True)
class Reached:
    """When a fit first reached the wanted PSNR."""

    step: int
    """Steps done when it was measured."""
    seconds: float
    """Wall time of hull, rays and steps."""
    cpu_seconds: float
    """The same in CPU time of this process."""
    psnr_db: float
    """Mean over the held-out views, whole images over white: what was reached, or the best that was."""
    at_all: bool
    """False: its steps were done and it had not; then the seconds are those of all its steps."""


def fast_steps(
    subject: Subject, settings: FitSettings, seed: int, start: torch.Tensor | None = None
) -> Iterator[PlaneFit]:
    """The fast fit after each step, and before the first, with the hull carved; without a start, from the mean."""
    generator = torch.Generator(subject.mean_planes.device).manual_seed(seed)
    fit = PlaneFit.around(subject.train, subject.mean_planes if start is None else start, settings)
    pool = RayPool.around(subject.train, fit.hull)
    yield fit
    for step in range(settings.steps):
        loss = fit.loss(pool, subject.decoder, generator)
        (grad,) = torch.autograd.grad(loss, (fit.table,))
        fit.step(grad, learning_rate_share(step, settings.steps, settings.learning_rate_end))
        yield fit


def plain_steps(subject: Subject, settings: FitSettings, seed: int) -> Iterator[PlainFit]:
    """The plain fit after each step, and before the first."""
    generator = torch.Generator(subject.mean_planes.device).manual_seed(seed)
    fit = PlainFit(subject.mean_planes, subject.train, subject.decoder, settings)
    yield fit
    for step in range(settings.steps):
        fit.step(generator, learning_rate_share(step, settings.steps, settings.learning_rate_end))
        yield fit


def reach(
    steps: Iterator[PlaneFit] | Iterator[PlainFit], quality: Callable[[torch.Tensor], float], wanted: float, every: int
) -> Reached:
    """Step until the wanted PSNR; only what is spent in ``steps`` counts."""
    wall = cpu = 0.0
    best = -math.inf
    for step in itertools.count():
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        fit = next(steps, None)
        wall, cpu = wall + time.perf_counter() - wall_before, cpu + time.process_time() - cpu_before
        if fit is None:
            print(f"    {wanted} dB not reached: the best was {best:.2f} dB", flush=True)
            return Reached(step - 1, wall, cpu, best, at_all=False)
        if step and step % every == 0:
            best = max(best, quality(fit.planes))
            print(f"    step {step}: {wall:.2f} s, {cpu:.2f} s of CPU, best so far {best:.2f} dB", flush=True)
            if best >= wanted:
                return Reached(step, wall, cpu, best, at_all=True)
    raise AssertionError("unreachable")


def shortest(call: Callable[[], object], rounds: int) -> float:
    """The least wall time of some rounds, after one to warm up."""
    call()
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return min(spent)


def plain_step_ratio(subject: Subject, settings: FitSettings) -> tuple[float, float]:
    """Seconds of a plain step, and their ratio to its bare ``grid_sample`` calls and matrix products."""
    generator = torch.Generator().manual_seed(0)
    fit = PlainFit(subject.mean_planes, subject.train, subject.decoder, settings)
    points = [fit.points(samples, generator) for samples in (COARSE, COARSE + FINE)]

    def steps() -> None:
        for _ in range(settings.regularise_every):
            fit.step(generator, 0.0)

    step, bare = math.inf, math.inf
    for _ in range(5):  # in turn, so that whatever else the machine does strikes both
        step = min(step, shortest(steps, 1) / settings.regularise_every)
        bare = min(bare, shortest(lambda: fit.bare_products(*points), 1))
    return step, step / bare


def floor_seconds(decoder: Decoder, settings: FitSettings) -> tuple[float, float]:
    """Least seconds of a fast step by its multiply-adds and by its bytes, at this machine's measured rates.

    A sample needs each weight once forward and once backward, and twelve texels read, then read and written again
    for the gradient. The rates are those of a large matrix product and of a copy as large as the planes.
    """
    samples, channels = settings.rays * settings.samples, decoder.settings.channels
    layers = (decoder.trunk, decoder.density, decoder.colour_feature, decoder.colour)
    multiply_adds = 2 * samples * sum(layer.weight.numel() for layer in layers)
    moved = 3 * samples * 12 * channels * 4
    square, table = torch.rand(1024, 1024), torch.rand(3 * settings.resolution**2 * channels)
    other = torch.empty_like(table)
    rate = 1024**3 / shortest(lambda: square @ square, 10)
    bandwidth = 2 * table.numel() * 4 / shortest(lambda: other.copy_(table), 10)
    return multiply_adds / rate, moved / bandwidth


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--avatars", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--psnr", type=float, default=32.0)
    parser.add_argument("--every", type=int, default=10, help="steps between two evaluations")
    parser.add_argument("--render-samples", type=int, default=32, help="samples a ray of the evaluation")
    parser.add_argument("--depth", action="store_true", help="give the fast fit the rendered depth as well")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; the speedup over the plain way is for CPUs")
    parser.add_argument("--batch", type=int, nargs="+", help="measure the fast fit with so many avatars at once")
    parser.add_argument("--reach", type=float, nargs="+", default=[32.0, 35.0], help="PSNRs that batches are timed to")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of a batch's products")
    parser.add_argument("--compile", action="store_true", help="compile a batch's decoder")
    parser.add_argument("--fused", action="store_true", help="read a batch's planes by Triton kernels")
    parser.add_argument(
        "--only", choices=("fast", "plain", "start"), help="one way, or the fast one from both starts: no speedup then"
    )
    parser.add_argument("--first", type=int, default=0, help="the first avatar")
    parser.add_argument("--seed", type=int, default=0)
    for way in ("fast", "plain"):
        parser.add_argument(f"--{way}", nargs="*", default=[], metavar="NAME=VALUE", help=f"settings of the {way} fit")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.device != "cpu" and not given.batch:
        parser.error(f"--device {given.device} needs --batch: the plain way is measured on a CPU")
    print("gradients of planes scattered by", "SciPy" if triplane.sparse is not None else "index_add: no SciPy here")
    fast, plain = changed(FAST, given.fast), changed(PLAIN, given.plain)
    subjects = load_subjects(given.folder, given.first + given.avatars, torch.device(given.device), depth=given.depth)
    if given.batch:
        shading = Shading(getattr(torch, given.precision), given.compile, given.fused)
        more = dict(wanted=given.reach, every=given.every, render_samples=given.render_samples, seed=given.seed)
        fit_batch.run(subjects[given.first :], fast, shading, given.batch, **more)
        return
    reached: dict[str, list[Reached]] = {"fast": [], "predicted": [], "plain": []}
    wanted_ways = {None: tuple(reached), "start": ("fast", "predicted")}.get(given.only, (given.only,))
    for number, subject in enumerate(subjects[given.first :], given.first):
        quality = quality_of(subject, given.render_samples)
        for way, steps in (
            ("fast", fast_steps(subject, fast, given.seed)),
            ("predicted", fast_steps(subject, fast, given.seed, subject.predicted)),
            ("plain", plain_steps(subject, plain, given.seed)),
        ):
            if way in wanted_ways and (way != "predicted" or subject.predicted is not None):
                print(f"avatar {number}, {way}", flush=True)
                reached[way].append(reach(steps, quality, given.psnr, given.every))
    for way, found in reached.items():
        if found:
            told = ", ".join(
                f"{'' if r.at_all else 'more than '}{r.seconds:.2f} s (CPU {r.cpu_seconds:.2f}) in {r.step} steps"
                for r in found
            )
            print(f"{way}: {given.psnr} dB after {told}")
    starts = {f"seconds_{way}": seconds_of(reached[way]) for way in ("fast", "predicted") if reached[way]}
    if given.only:
        print(json.dumps(starts))
        return
    if not all(r.at_all for r in reached["fast"]):
        raise SystemExit(f"the fast way did not reach {given.psnr} dB everywhere: there is no speedup to tell")
    step, ratio = plain_step_ratio(subjects[0], plain)
    print(f"a plain step: {step * 1e3:.0f} ms, {ratio:.2f} times its bare grid_samples and matrix products")
    fast_step = sum(r.seconds for r in reached["fast"]) / sum(r.step for r in reached["fast"])
    arithmetic, transport = floor_seconds(subjects[0].decoder, fast)
    rate = fast.rays * fast.samples / fast_step
    print(
        f"a fast step with its share of the hull: {fast_step * 1e3:.1f} ms, {rate / 1e6:.2f} M samples/s, "
        f"{fast_step / (arithmetic + transport):.1f} times the floor "
        f"({arithmetic * 1e3:.1f} ms of multiply-adds, {transport * 1e3:.1f} ms of bytes)"
    )
    wall, cpu = ratios(reached, "seconds"), ratios(reached, "cpu_seconds")
    print("speedup by avatar:", ", ".join(f"{x:.1f}" for x in wall), f"; by CPU seconds {geometric_mean(cpu):.1f}")
    summary = {
        "speedup": round(geometric_mean(wall), 3),
        **starts,
        "seconds_reference": seconds_of(reached["plain"]),
        "samples_per_s": round(rate),
        "floor_ratio": round(fast_step / (arithmetic + transport), 2),
        "reference_step_over_bare": round(ratio, 3),
        "speedup_cpu": round(geometric_mean(cpu), 3),
        "reference_reached": sum(r.at_all for r in reached["plain"]),
        "depth": given.depth,
        "threads": given.threads,
        "load": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(summary))


Settings = TypeVar("Settings", FitSettings, DecoderSettings)


def changed(settings: Settings, assignments: list[str]) -> Settings:
    """Settings with some fields given as NAME=VALUE."""
    values = dict(assignment.split("=", 1) for assignment in assignments)
    return replace(settings, **{name: type(getattr(settings, name))(value) for name, value in values.items()})


def ratios(reached: dict[str, list[Reached]], field: str) -> list[float]:
    """Plain over fast, by avatar."""
    return [getattr(p, field) / getattr(f, field) for f, p in zip(reached["fast"], reached["plain"], strict=True)]


def seconds_of(reached: list[Reached]) -> float:
    """Geometric mean over the avatars."""
    return round(geometric_mean([r.seconds for r in reached]), 3)


if __name__ == "__main__":
    main()
