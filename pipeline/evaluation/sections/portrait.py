"""Section ``portrait``: how like a held-out person the avatar is that the models make of its frontal photograph.

Beside it, from the same latent: the mean avatar, the nearest training avatar, ridge regressions on eigen-planes; and
the person's own fit, which is the ceiling. A sample of a perfect model has twice the squared error of the conditional
mean, so the mean of the pictures of several samples is compared by PSNR, single samples by perceptual distance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Figure, Row, Table
from pipeline.evaluation.baselines import Baselines
from pipeline.evaluation.features import Judge
from pipeline.evaluation.figures import mean, paired
from pipeline.evaluation.found import Found
from pipeline.evaluation.sheet import published_sheet
from pipeline.evaluation.subject import Subject, Tally
from rodin_models.fit.evaluation import MOST_DB
from rodin_models.image.metrics import psnr, ssim

SAMPLES: Final = 8
"""Samples of each person."""
SHOWN: Final = 8
"""People in the picture."""
ONE, REFINED, MEAN, NEAREST = "one sample", "one sample, refined", "mean of 8 samples", "nearest training avatar"
RIDGE_BASE, RIDGE_FULL, FIT = "ridge, base planes enlarged", "ridge, full planes", "the fit itself"
RIDGES: Final = (RIDGE_BASE, RIDGE_FULL)
FITTED: Final = "eigen-planes fitted to the photograph"
DB, DB_ALL, SSIM, SSIM_ALL = "dB, front", "dB, all views", "SSIM, front", "SSIM, all views"
PERCEPTUAL, PERCEPTUAL_ALL = "perceptual, front", "perceptual, all views"
COLUMNS: Final = {DB: 2, DB_ALL: 2, SSIM: 3, SSIM_ALL: 3, PERCEPTUAL: 3, PERCEPTUAL_ALL: 3}
"""Decimals of each column."""


@dataclass(frozen=True)
class Likeness:
    """How like the truth the pictures of one way are: one number a person, by column."""

    values: dict[str, list[float]]

    @classmethod
    def of(cls, pictures: list[Tensor], truths: list[Tensor], judge: Judge) -> "Likeness":
        """Of pictures and photographs of the same people (view, 3, side, side), the frontal view first."""
        values: dict[str, list[float]] = {column: [] for column in COLUMNS}
        for made, truth in zip(pictures, truths, strict=True):
            by_view = {
                "dB": psnr(made, truth).clamp(max=MOST_DB),
                "SSIM": ssim(made, truth),
                "perceptual": judge.distance(made, truth),
            }
            for kind, views in by_view.items():
                values[f"{kind}, front"].append(float(views[0]))
                values[f"{kind}, all views"].append(float(views[1:].mean()))
        return cls(values)


def measure_portrait(subject: Subject) -> Found:
    """Measure; writes ``portrait.png``."""
    people = subject.held_out
    tally = Tally(subject.progress, (SAMPLES + 6 + subject.sampler.fits_portraits) * len(people))
    truths = [subject.renders(avatar) for avatar in people]
    ways = _ways(subject, tally)
    judge = Judge()
    found = {}
    for name, pictures in ways.items():
        found[name] = Likeness.of(pictures, truths, judge)
    rows = tuple(
        Row(
            name=name,
            figures=tuple(
                mean(column, like.values[column], subject.generator(0, f"{name} {column}"), digits=digits)
                for column, digits in COLUMNS.items()
            ),
        )
        for name, like in found.items()
    )
    views = len(truths[0]) - 1
    return Found(
        title="Portrait to avatar",
        notes=(
            f"{len(people)} held-out people, from the latent of their frontal photograph: the front, and {views} other "
            f"views, at {subject.side} pixels over white.",
            "The perceptual distance is one of features of a fixed random network, which no loss of ours used.",
            f"What is measured over ridge is measured over the better of '{RIDGE_BASE}' and '{RIDGE_FULL}'.",
        ),
        tables=(Table(title="Against the photographs", rows=rows),),
        bars=tuple(_bars(subject, found)),
        pictures=(_shown(subject, truths, ways),),
    )


def _ways(subject: Subject, tally: Tally) -> dict[str, list[Tensor]]:
    """Pictures of every held-out person by way (view, 3, side, side)."""
    people = subject.held_out
    latents = subject.latents(people)
    samples = [
        subject.samples_of(
            f"portrait-{number}",
            latents,
            lambda row: subject.cameras(people[row]),
            tally,
            refined=number == 0,
            fitted=lambda rows: subject.fitted_to([people[row] for row in rows]),
        )
        for number in range(SAMPLES)
    ]
    baselines = Baselines.of(subject)
    name = f"{subject.planes_name(subject.training)}-{subject.models_sha256[:8]}"

    def seen(kind: str, planes: Callable[[], Tensor]) -> list[Tensor]:
        """``planes`` are one for all, or one a person; they are made only where a picture is missing."""
        names = [f"{kind}-{name}/{avatar:06d}" for avatar in people]
        made = None if subject.fitted.has(*names) else planes()
        pictures = []
        for row, avatar in enumerate(people):

            def draw(row: int = row, avatar: int = avatar) -> Tensor:
                assert made is not None
                return subject.seen(made[row % len(made)], subject.cameras(avatar), subject.decoder)[:, :3]

            pictures.append(subject.fitted.pictures(names[row], draw))
            tally.step()
        return pictures

    def nearest() -> Tensor:
        return torch.stack([subject.planes(avatar) for avatar in baselines.nearest(latents)])

    def fits() -> list[Tensor]:
        pictures = [subject.of_fit(avatar) for avatar in people]
        tally.step(2 * len(people))
        return pictures

    def expected() -> Tensor:
        fitted = subject.fitted_to(people)
        assert fitted is not None
        return subject.sampler.upsampler.expected(fitted)

    given = {FITTED: seen("fitted", expected)} if subject.sampler.fits_portraits else {}
    return {
        ONE: [plain for plain, _ in samples[0]],
        REFINED: [refined for _, refined in samples[0]],
        MEAN: [torch.stack([made[row][0] for made in samples]).mean(0) for row in range(len(people))],
        **given,
        RIDGE_BASE: seen("ridge-base", lambda: baselines.ridge_base(latents)),
        RIDGE_FULL: seen("ridge-full", lambda: baselines.ridge_full(latents)),
        NEAREST: seen("nearest", nearest),
        "mean avatar": seen("mean-of", lambda: baselines.mean_planes()[None]),
        FIT: fits(),
    }


def _bars(subject: Subject, found: dict[str, Likeness]) -> list[Bar]:
    def average(name: str, column: str) -> float:
        values = found[name].values[column]
        return sum(values) / len(values)

    ridge_db = max(RIDGES, key=lambda name: average(name, DB))
    ridge_near = min(RIDGES, key=lambda name: average(name, PERCEPTUAL))

    def beyond(way: str, other: str, bound: float) -> Bar:
        return Bar(
            text=f"Portrait, from the front: {way} over {other}, in dB",
            figure=_difference(subject, found[way].values[DB], found[other].values[DB]),
            bound=bound,
            at_least=True,
        )

    return [
        beyond(MEAN, ridge_db, 1.0),
        beyond(MEAN, NEAREST, 5.0),
        beyond(ONE, ridge_db, -1.5),
        Bar(
            text=f"Portrait, from the front: perceptual distance of {ONE} over that of {ridge_near}",
            figure=paired(
                "ratio",
                (found[ONE].values[PERCEPTUAL], found[ridge_near].values[PERCEPTUAL]),
                lambda ours, theirs: ours / theirs,
                subject.generator(0, "portrait perceptual"),
            ),
            bound=0.7,
            at_least=False,
        ),
    ]


def _difference(subject: Subject, ours: list[float], theirs: list[float]) -> Figure:
    generator = subject.generator(0, "portrait difference")
    return paired("difference", (ours, theirs), lambda first, second: first - second, generator)


def _shown(subject: Subject, truths: list[Tensor], ways: dict[str, list[Tensor]]) -> Picture:
    """A column a person: the photograph, then each way, from the front."""
    shown = min(SHOWN, len(truths))
    rows = {"photograph": truths, **ways}
    return published_sheet(
        subject,
        "portrait",
        [rows[name][i][0] for name in rows for i in range(shown)],
        columns=shown,
        tile=subject.side,
        label="portraits",
        labels=[name if i == 0 else "" for name in rows for i in range(shown)],
        caption="The first held-out people: the photograph, then each way, from the front",
    )
