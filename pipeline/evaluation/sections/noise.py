"""Section ``noise``: whether avatars from noise are like people that nothing has learned from.

FID and KID of equally many avatars and views, against held-out renders and against renders of training avatars that
are in no row. Against training renders alone a model that copies would look best.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Figure, Row, Table
from pipeline.evaluation.baselines import Baselines
from pipeline.evaluation.features import Judge, extractors, features_of
from pipeline.evaluation.figures import figure
from pipeline.evaluation.found import Found
from pipeline.evaluation.sheet import published_sheet
from pipeline.evaluation.subject import Subject, Tally
from rodin_models.image.bootstrap import bootstrap
from rodin_models.image.metrics import fid, kid

RESAMPLES = 200
GENERATED, REFINED, GAUSSIAN, FLOOR = "generated, rendered", "generated, refined", "Gaussian in eigen-planes", "floor"
SHOWN = 8
"""Avatars a row of the picture."""
Distance = Callable[[Tensor, Tensor], tuple[float, str]]
"""Of two sets of features (image, number): the figure, or why it is withheld."""


def measure_noise(subject: Subject) -> Found:
    """Measure; writes ``noise.png``."""
    held_out = subject.held_out
    num = min(len(held_out), subject.samples, len(subject.training) // 2)
    order = torch.randperm(len(subject.training), generator=subject.generator(0, "training sets")).tolist()
    floor, others = ([subject.training[row] for row in order[i * num : (i + 1) * num]] for i in range(2))
    tally = Tally(subject.progress, 7 * num)
    references = {
        "held-out": _stacked([subject.renders(a) for a in held_out[:num]], tally),
        "training": _stacked([subject.renders(a) for a in others], tally),
    }
    sets = _sets(subject, floor, num, tally)
    tables, bars = [], []
    for encoder, extractor in extractors(subject, Judge()).items():
        real = {name: features_of(extractor, pictures) for name, pictures in references.items()}
        made = {name: features_of(extractor, pictures) for name, pictures in sets.items()}
        rows = [Row(name=name, figures=_distances(subject, real, features)) for name, features in made.items()]
        tables.append(Table(title=f"Features of {encoder}", rows=tuple(rows)))
        bars += [
            Bar(
                text=f"FID of '{REFINED}' against held-out renders, features of {encoder}, over that of '{other}'",
                figure=_ratio(subject, real["held-out"], made[REFINED], made[other]),
                bound=bound,
                at_least=False,
            )
            for other, bound in ((GAUSSIAN, 0.5), (FLOOR, 2.0))
        ]
    views = references["held-out"].shape[1]
    return Found(
        title="From noise",
        notes=(
            f"Each row and each reference is of {num} avatars and {views} views, the first of them frontal.",
            f"'{FLOOR}' are renders of training avatars, fits the planes fitted to these renders; the training renders "
            "that rows are compared with are of other avatars.",
            "The random network is fixed and was trained on nothing: no package that is kept ships weights of another.",
        ),
        tables=tuple(tables),
        bars=tuple(bars),
        pictures=(_shown(subject, sets),),
    )


def _sets(subject: Subject, floor: list[int], num: int, tally: Tally) -> dict[str, Tensor]:
    """Pictures by row, (avatar, view, 3, side, side)."""
    generated = subject.from_noise(num, tally)
    baselines = Baselines.of(subject)
    mean = baselines.mean_planes()

    def counted(pictures: Tensor) -> Tensor:
        tally.step()
        return pictures

    return {
        GENERATED: torch.stack([plain for plain, _ in generated]),
        REFINED: torch.stack([refined for _, refined in generated]),
        FLOOR: _stacked([subject.renders(avatar) for avatar in floor], tally),
        "fits": _stacked([subject.of_fit(avatar) for avatar in floor], tally),
        "mean avatar": torch.stack([counted(baselines.mean_seen(mean, index)) for index in range(num)]),
        GAUSSIAN: torch.stack([counted(baselines.gaussian_seen(index)) for index in range(num)]),
    }


def _stacked(pictures: list[Tensor], tally: Tally) -> Tensor:
    tally.step(len(pictures))
    return torch.stack(pictures)


def _fid(real: Tensor, generated: Tensor) -> tuple[float, str]:
    found = fid(real, generated)
    return (float("nan") if found.value is None else found.value), found.withheld


def _kid(real: Tensor, generated: Tensor) -> tuple[float, str]:
    most = max(len(real), len(generated))
    found = kid(real, generated, num_subsets=1, subset_size=most, generator=torch.Generator())
    return (float("nan") if found.value is None else 1000 * found.value), found.withheld


def _distances(subject: Subject, real: dict[str, Tensor], made: Tensor) -> tuple[Figure, ...]:
    """FID and KID of features (avatar, view, number) against each reference, with intervals over avatars of both."""
    return tuple(
        _distance(subject, f"{kind}, {against}", distance, reference, made)
        for against, reference in real.items()
        for kind, distance in (("FID", _fid), ("KID x 1000", _kid))
    )


def _distance(subject: Subject, name: str, distance: Distance, real: Tensor, made: Tensor) -> Figure:
    withheld = distance(real.flatten(0, 1), made.flatten(0, 1))[1]
    if withheld:
        return Figure(name=name, value=None, n=min(len(real), len(made)), withheld=withheld)
    estimate = bootstrap(
        lambda rows, others: distance(real[rows].flatten(0, 1), made[others].flatten(0, 1))[0],
        (len(real), len(made)),
        subject.generator(0, f"bootstrap {name}"),
        resamples=RESAMPLES,
    )
    return figure(name, estimate)


def _ratio(subject: Subject, real: Tensor, ours: Tensor, theirs: Tensor) -> Figure:
    """The FID of one row over that of another, against the same reference."""
    withheld = next((why for made in (ours, theirs) if (why := _fid(real.flatten(0, 1), made.flatten(0, 1))[1])), "")
    if withheld:
        return Figure(name="ratio", value=None, n=len(ours), withheld=withheld)

    def ratio(rows: Tensor, first: Tensor, second: Tensor) -> float:
        drawn = real[rows].flatten(0, 1)
        below = _fid(drawn, theirs[second].flatten(0, 1))[0]
        return _fid(drawn, ours[first].flatten(0, 1))[0] / below if below else float("nan")

    counts = (len(real), len(ours), len(theirs))
    return figure("ratio", bootstrap(ratio, counts, subject.generator(0, "bootstrap ratio"), resamples=RESAMPLES))


def _shown(subject: Subject, sets: dict[str, Tensor]) -> Picture:
    """Frontal views of the first avatars of each row."""
    shown = min(SHOWN, min(map(len, sets.values())))
    return published_sheet(
        subject,
        "noise",
        [pictures[i, 0] for pictures in sets.values() for i in range(shown)],
        columns=shown,
        tile=subject.side,
        label="avatars by row",
        labels=[name if i == 0 else "" for name in sets for i in range(shown)],
        caption="The first avatars of each row, unpicked, from the front",
    )
