"""Section ``steps``: what each part of generation gains over doing without, and what it costs.

The upsampler against bicubic enlargement of the base planes of held-out fits; the refiner against bicubic enlargement
of their pictures; sampling steps and guidance of the base model by quality and seconds; seconds and memory by part.
"""

from copy import copy
from dataclasses import replace
from functools import partial
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.contracts.report.results import Row, Table
from pipeline.evaluation.features import Judge
from pipeline.evaluation.figures import mean
from pipeline.evaluation.found import Found
from pipeline.evaluation.sections.consistency import PEOPLE as REFITTED
from pipeline.evaluation.sections.consistency import refits
from pipeline.evaluation.sections.costs import Spent, costs, timed
from pipeline.evaluation.sections.portrait import COLUMNS, DB, PERCEPTUAL, Likeness
from pipeline.evaluation.subject import CPU, Subject, Tally
from pipeline.stages.sampling.sampler import Sampler
from pipeline.stages.views import rgb_tensor
from rodin_models.diffusion.process import Diffusion
from rodin_models.diffusion.upsampler import enlarge
from rodin_models.image.refiner import enlarged, refine
from rodin_models.image.resize import at_side

PEOPLE: Final = 32
"""Most held-out people for the parts."""
SAMPLED: Final = 16
"""Most held-out people for steps and guidance."""
REFINED_VIEWS: Final = 3
STEPS: Final = (10, 25, 50)
GUIDANCE: Final = (1.0, 1.5, 2.0, 3.0)
LEFT_OVER: Final = (0.5, 0.7, 1.0)


class Way(NamedTuple):
    """How the base model is sampled."""

    kind: Literal["ddim", "dpm"]
    steps: int
    guidance: float
    left_over: float

    def __str__(self) -> str:
        return f"{self.kind}, {self.steps} steps, guidance {self.guidance:g}, left over {self.left_over:g}"

    def of(self, sampler: Sampler) -> Sampler:
        """A sampler that goes this way."""
        changed = {"base_steps": self.steps, "guidance": self.guidance, "left_over": self.left_over}
        generate = sampler.sampling.generate.model_copy(update=changed)
        model = copy(sampler.base)
        model.diffusion = Diffusion(replace(model.diffusion.settings, sampler=self.kind))
        return replace(sampler, base=model, sampling=sampler.sampling.model_copy(update={"generate": generate}))


def measure_steps(subject: Subject) -> Found:
    """Measure."""
    people, sampled, refitted = (subject.held_out[:most] for most in (PEOPLE, SAMPLED, REFITTED))
    ways = _ways(subject)
    tally = Tally(subject.progress, 2 * len(people) + len(ways) * len(sampled) + len(refitted) + 1)
    judge = Judge()
    tables = (
        _of_upsampler(subject, people, judge, tally),
        _of_refiner(subject, people, judge, tally),
        refits(subject, refitted, tally),
        _of_ways(subject, sampled, ways, judge, tally),
        costs(subject, tally),
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
    side = subject.store.spec.resolution
    truths, ways = [], {"bicubic": [], "upsampler": [], "full planes of the fit": []}  # type: ignore[var-annotated]
    for avatar in people:
        name = f"{avatar:06d}-{subject.planes_name((avatar,))}"

        def seen(planes: Tensor, avatar: int = avatar) -> Tensor:
            return subject.seen(planes, subject.cameras(avatar), subject.decoder)[:, :3]

        def bicubic(avatar: int = avatar) -> Tensor:
            return seen(enlarge(subject.planes(avatar, "base_planes")[None], side)[0].clamp(-1, 1))

        def upsampled(avatar: int = avatar) -> Tensor:
            low = subject.planes(avatar, "base_planes")[None]
            latents = subject.latents((avatar,)).to(low)
            return seen(subject.sampler.full_planes(low, latents, subject.generator(avatar, "upsampler"))[0])

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
        truths.append(torch.stack([at_side(picture, large) for picture in photographs]))
        ways["refiner"].append(subject.generated.pictures(f"refined/{name}", refined))
        small = subject.of_fit(avatar)[:REFINED_VIEWS]
        ways["bicubic"].append(enlarged(small, network.settings.scale).clamp(0, 1))
        tally.step()
    return Table(title=f"Pictures of {subject.side} pixels to {large}", rows=_rows(subject, ways, truths, judge))


def _ways(subject: Subject) -> list[Way]:
    """Steps by both samplers as generation is set otherwise, then other guidance and shares of what is left over."""
    settings, process = subject.sampler.sampling.generate, subject.sampler.base.diffusion.settings
    now = Way(process.sampler, settings.base_steps, settings.guidance, settings.left_over)
    kinds: tuple[Literal["ddim", "dpm"], ...] = ("ddim", "dpm")
    ways = [now._replace(kind=kind, steps=steps) for kind in kinds for steps in STEPS]
    ways += [now._replace(guidance=guidance) for guidance in GUIDANCE]
    if subject.sampler.linear is not None:
        ways += [now._replace(left_over=left_over) for left_over in LEFT_OVER]
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
        pictures, spent = _sampled(subject, people, way, tally)
        like = Likeness.of([picture[None] for picture in pictures], truths, judge)
        rows.append(
            Row(
                name=str(way),
                figures=(
                    *spent.figures(len(people), len(people)),
                    *(
                        mean(column, like.values[column], subject.generator(0, f"{way} {column}"), digits=digits)
                        for column, digits in ((DB, 2), (PERCEPTUAL, 3))
                    ),
                ),
            )
        )
    note = (
        "Single samples from portraits of held-out people, from the front, base planes enlarged bicubically; seconds "
        "are of the base planes of one avatar. What is left over: the share of a sample's difference from what is "
        "expected that is kept."
    )
    return Table(title="Steps and guidance of the base model", rows=tuple(rows), note=note)


def _sampled(subject: Subject, people: tuple[int, ...], way: Way, tally: Tally) -> tuple[list[Tensor], Spent]:
    """Frontal pictures of one sample a person, and what sampling them took."""
    kept, name = subject.generated, f"steps/{way.kind}-{way.steps}-{way.guidance:g}-{way.left_over:g}"
    names = [f"{name}/{avatar:06d}" for avatar in people]

    def measured() -> dict[str, float]:
        sampler = way.of(subject.sampler)
        latents, generator = subject.latents(people).to(sampler.device), subject.generator(0, "steps")
        size, spent, front = sampler.sampling.generate.batch, Spent(0.0, 0.0), (subject.frontal_camera(),)
        for first in range(0, len(people), size):
            low, seconds = timed(partial(sampler.base_planes, latents[first : first + size], generator))
            spent = Spent(spent.seconds + seconds.seconds, spent.processor + seconds.processor)
            for offset, planes in enumerate(enlarge(low, subject.store.spec.resolution).clamp(-1, 1)):
                kept.keep(names[first + offset], subject.seen(planes, front, sampler.decoder)[:, :3])
        return spent._asdict()

    spent = Spent(**kept.numbers(name, measured, names))
    tally.step(len(people))
    return [kept.read(each)[0] for each in names], spent


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
