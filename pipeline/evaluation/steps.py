"""Section ``steps``: what each part of generation gains over doing without, and what it costs.

The upsampler against bicubic enlargement of the base planes of held-out fits; the refiner against bicubic enlargement
of their pictures; sampling steps and guidance of the base model by quality and seconds; seconds and memory by part.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from pipeline.contracts.results import Figure, Row, Table
from pipeline.evaluation.features import Judge
from pipeline.evaluation.figures import mean
from pipeline.evaluation.found import Found
from pipeline.evaluation.portrait import COLUMNS, DB, PERCEPTUAL, Likeness
from pipeline.evaluation.subject import CPU, Subject, Tally
from pipeline.io.files import exists, read_text
from pipeline.io.publish import publish_text
from pipeline.machine import forget_peak_memory, peak_memory
from pipeline.stages.views import rgb_tensor
from rodin_models.diffusion import base, upsampler
from rodin_models.diffusion.process import Diffusion
from rodin_models.image.refiner import enlarged, refine

PEOPLE: Final = 32
"""Most held-out people for the parts."""
SAMPLED: Final = 16
"""Most held-out people for steps and guidance."""
REFINED_VIEWS: Final = 3
STEPS: Final = (10, 25, 50)
GUIDANCE: Final = (1.0, 1.5, 2.0, 3.0)
SECONDS: Final = "seconds of the base model"
Made = TypeVar("Made")


class Way(NamedTuple):
    """How the base model is sampled."""

    kind: Literal["ddim", "dpm"]
    steps: int
    guidance: float

    def __str__(self) -> str:
        return f"{self.kind}, {self.steps} steps, guidance {self.guidance:g}"


def measure_steps(subject: Subject) -> Found:
    """Measure."""
    people, sampled = subject.held_out[:PEOPLE], subject.held_out[:SAMPLED]
    ways = _ways(subject)
    tally = Tally(subject.progress, 2 * len(people) + len(ways) * len(sampled) + 1)
    judge = Judge()
    tables = (
        _of_upsampler(subject, people, judge, tally),
        _of_refiner(subject, people, judge, tally),
        _of_ways(subject, sampled, ways, judge, tally),
        _costs(subject, tally),
    )
    return Found(
        title="Parts, steps and costs",
        notes=(
            "Upsampler and refiner are given fits of held-out people, so that nothing else is measured; the perceptual "
            "distance is one of features of a fixed random network.",
        ),
        tables=tables,
    )


def _of_upsampler(subject: Subject, people: tuple[int, ...], judge: Judge, tally: Tally) -> Table:
    side, steps = subject.store.spec.resolution, subject.sampler.sampling.generate.upsampler_steps
    truths, ways = [], {"bicubic": [], "upsampler": [], "full planes of the fit": []}  # type: ignore[var-annotated]
    for avatar in people:
        name = f"{avatar:06d}-{subject.planes_name((avatar,))}"

        def seen(planes: Tensor, avatar: int = avatar) -> Tensor:
            return subject.seen(planes, subject.cameras(avatar), subject.decoder)[:, :3]

        def bicubic(avatar: int = avatar) -> Tensor:
            return seen(upsampler.enlarge(subject.planes(avatar, "base_planes")[None], side)[0].clamp(-1, 1))

        def upsampled(avatar: int = avatar) -> Tensor:
            low = subject.planes(avatar, "base_planes")[None]
            latents = subject.latents((avatar,)).to(low)
            generator = subject.generator(avatar, "upsampler")
            full = upsampler.sample(
                subject.sampler.upsampler, low, latents, num_steps=steps, guidance=1.0, generator=generator
            )
            return seen(full[0].clamp(-1, 1))

        truths.append(subject.renders(avatar))
        ways["bicubic"].append(subject.fitted.pictures(f"bicubic/{name}", bicubic))
        ways["upsampler"].append(subject.generated.pictures(f"upsampled/{name}", upsampled))
        ways["full planes of the fit"].append(subject.of_fit(avatar))
        tally.step()
    return Table(title="Base planes to full planes", rows=_rows(subject, ways, truths, judge))


def _of_refiner(subject: Subject, people: tuple[int, ...], judge: Judge, tally: Tally) -> Table:
    """At the refiner's own size."""
    network = subject.sampler.refiner
    large = subject.side * network.settings.scale
    truths, ways = [], {"bicubic": [], "refiner": []}  # type: ignore[var-annotated]
    for avatar in people:
        name = f"{avatar:06d}-{subject.planes_name((avatar,))}"

        def refined(avatar: int = avatar) -> Tensor:
            seen = subject.seen(subject.planes(avatar), subject.cameras(avatar)[:REFINED_VIEWS], subject.decoder)
            latents = subject.latents((avatar,)).expand(len(seen), -1)
            device = subject.sampler.device
            return refine(network, seen.to(device), latents.to(device))[:, :3].cpu()

        photographs = [rgb_tensor(sample, CPU) for sample in subject.photographs(avatar)[:REFINED_VIEWS]]
        truths.append(torch.stack([_sized(picture, large) for picture in photographs]))
        ways["refiner"].append(subject.generated.pictures(f"refined/{name}", refined))
        small = subject.of_fit(avatar)[:REFINED_VIEWS]
        ways["bicubic"].append(enlarged(small, network.settings.scale).clamp(0, 1))
        tally.step()
    return Table(title=f"Pictures of {subject.side} pixels to {large}", rows=_rows(subject, ways, truths, judge))


def _ways(subject: Subject) -> list[Way]:
    """Steps by both samplers at the guidance that generation has, then other guidance at its steps."""
    settings, process = subject.sampler.sampling.generate, subject.sampler.base.diffusion.settings
    ways = [Way(kind, steps, settings.guidance) for kind in ("ddim", "dpm") for steps in STEPS]
    ways += [Way(process.sampler, settings.base_steps, guidance) for guidance in GUIDANCE]
    possible = [
        way
        for way in dict.fromkeys(ways)
        if way.steps <= process.timesteps and (way.kind == "dpm" or process.timesteps % way.steps == 0)
    ]
    # DDIM's noise means nothing to the other sampler.
    return [way for way in possible if way.kind == process.sampler or process.eta in (0, None)]


def _of_ways(subject: Subject, people: tuple[int, ...], ways: list[Way], judge: Judge, tally: Tally) -> Table:
    truths = [subject.renders(avatar)[:1] for avatar in people]
    rows = []
    for way in ways:
        pictures, seconds = _sampled(subject, people, way, tally)
        like = Likeness.of([picture[None] for picture in pictures], truths, judge)
        rows.append(
            Row(
                name=str(way),
                figures=(
                    Figure(name=SECONDS, value=seconds, n=len(people), digits=2),
                    *(
                        mean(column, like.values[column], subject.generator(0, f"{way} {column}"), digits=digits)
                        for column, digits in ((DB, 2), (PERCEPTUAL, 3))
                    ),
                ),
            )
        )
    note = "Single samples from portraits of held-out people, from the front; seconds are of one avatar."
    return Table(title="Steps and guidance of the base model", rows=tuple(rows), note=note)


def _sampled(subject: Subject, people: tuple[int, ...], way: Way, tally: Tally) -> tuple[list[Tensor], float]:
    """Frontal pictures of one sample a person, and seconds of the base model for each."""
    kept, name = subject.generated, f"steps/{way.kind}-{way.steps}-{way.guidance:g}"
    names = [f"{name}/{avatar:06d}" for avatar in people]
    timed = kept.folder / name / "seconds.json"
    if not kept.has(*names) or not exists(timed):
        sampler = subject.sampler
        latents, generator = subject.latents(people).to(sampler.device), subject.generator(0, "steps")
        size, spent, front = sampler.sampling.generate.batch, 0.0, (subject.frontal_camera(),)
        for first in range(0, len(people), size):
            batch = latents[first : first + size]
            low, seconds = _timed(lambda batch=batch: _base(subject, batch, way, generator))  # type: ignore[misc]
            spent += seconds
            full = upsampler.sample(
                sampler.upsampler,
                low,
                batch,
                num_steps=sampler.sampling.generate.upsampler_steps,
                guidance=1.0,
                generator=generator,
            ).clamp(-1, 1)
            for offset, planes in enumerate(full):
                kept.keep(names[first + offset], subject.seen(planes, front, sampler.decoder)[:, :3])
                tally.step()
        publish_text(timed, json.dumps({"seconds": spent / len(people)}) + "\n")
    else:
        tally.step(len(people))
    return [kept.read(each)[0] for each in names], float(json.loads(read_text(timed))["seconds"])


def _base(subject: Subject, latents: Tensor, way: Way, generator: torch.Generator) -> Tensor:
    """Base planes, sampled that way."""
    sampler = subject.sampler
    own = sampler.base.diffusion
    sampler.base.diffusion = Diffusion(replace(own.settings, sampler=way.kind))
    try:
        return base.sample(
            sampler.base,
            latents,
            num_samples=len(latents),
            num_steps=way.steps,
            guidance=way.guidance,
            generator=generator,
            predicted=None if sampler.linear is None else sampler.linear.predict(latents),
        )
    finally:
        sampler.base.diffusion = own


def _costs(subject: Subject, tally: Tally) -> Table:
    """Seconds and memory of one avatar by part, as generation is set."""
    sampler, settings = subject.sampler, subject.sampler.sampling.generate
    generator, num = subject.generator(0, "costs"), settings.batch
    latents = sampler.latents(num, None, generator)
    way = Way(sampler.base.diffusion.settings.sampler, settings.base_steps, settings.guidance)
    low = _base(subject, latents, way, generator)

    def full() -> Tensor:
        return upsampler.sample(
            sampler.upsampler, low, latents, num_steps=settings.upsampler_steps, guidance=1.0, generator=generator
        )

    planes = full().clamp(-1, 1)[0]
    front = (subject.frontal_camera(),)
    picture = subject.seen(planes, front, sampler.decoder)
    parts: dict[str, tuple[int, Callable[[], object]]] = {
        "latent": (num, lambda: sampler.latents(num, None, generator)),
        "base planes": (num, lambda: _base(subject, latents, way, generator)),
        "full planes": (num, full),
        f"a picture of {subject.side} pixels": (1, lambda: subject.seen(planes, front, sampler.decoder)),
        "a refined picture": (1, lambda: subject.refined(picture, latents[0])),
    }
    rows = []
    for name, (count, work) in parts.items():
        forget_peak_memory()
        _, seconds = _timed(work)
        peak = peak_memory()
        memory = None if peak is None else peak / 2**30
        rows.append(
            Row(
                name=name,
                figures=(
                    Figure(name="seconds", value=seconds / count, n=count, digits=3),
                    Figure(name="process's peak, GiB", value=memory, n=count, withheld="not told here"),
                ),
            )
        )
    tally.step()
    note = f"{num} avatars at once; seconds of one. On {sampler.device.type}, {torch.get_num_threads()} threads."
    return Table(title="Time and memory by part", rows=tuple(rows), note=note)


def _timed(work: Callable[[], Made]) -> tuple[Made, float]:
    started = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - started


def _rows(subject: Subject, ways: dict[str, list[Tensor]], truths: list[Tensor], judge: Judge) -> tuple[Row, ...]:
    rows = []
    for name, pictures in ways.items():
        like = Likeness.of(pictures, truths, judge)
        figures = [
            mean(column, like.values[column], subject.generator(0, f"{name} {column}"), digits=digits)
            for column, digits in COLUMNS.items()
        ]
        rows.append(Row(name=name, figures=tuple(figures)))
    return tuple(rows)


def _sized(picture: Tensor, side: int) -> Tensor:
    if picture.shape[-1] == side:
        return picture
    size = (side, side)
    resized = torch.nn.functional.interpolate(picture[None], size, mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1)
