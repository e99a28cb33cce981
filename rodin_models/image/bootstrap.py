"""Intervals by bootstrap (Efron 1979): how much a figure would move with other avatars of the same kind.

Avatars are drawn with replacement, never single images: an avatar's images are no independent witnesses of it.
Distances between sets, such as FID, are biased upwards by repeated avatars, so the spread of the resampled figures is
laid around the figure itself:

    [t + q_2.5(t* - mean t*), t + q_97.5(t* - mean t*)],    t the figure, t* the resampled ones               (1)

For means and shares, which resampling does not bias, this is the usual percentile interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval."""

    value: float
    """Over everything as it is."""
    low: float
    """Lower end of the interval of 95 %."""
    high: float
    """Upper end."""
    n: int
    """Avatars that it rests on; of several groups, those of the smallest."""


def bootstrap(
    statistic: Callable[..., float],
    counts: Sequence[int],
    generator: torch.Generator,
    *,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The estimate of ``statistic`` over groups of ``counts`` avatars, with the interval of equation (1).

    ``statistic`` is given a tensor of indices (int64, drawn with replacement) for each group and returns the figure
    over these avatars. Resamples for which it is no finite number are left out. Raises ``ValueError`` for an empty
    group.
    """
    if not counts or min(counts) < 1:
        raise ValueError(f"a bootstrap over groups of {tuple(counts)}: each needs at least one avatar")
    value = statistic(*(torch.arange(count) for count in counts))
    drawn = torch.tensor(
        [
            statistic(*(torch.randint(count, (count,), generator=generator) for count in counts))
            for _ in range(resamples)
        ],
        dtype=torch.float64,
    )
    drawn = drawn[drawn.isfinite()]
    if not len(drawn):
        return Estimate(value, value, value, min(counts))
    ends = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    low, high = (value + torch.quantile(drawn - drawn.mean(), ends)).tolist()
    return Estimate(value, low, high, min(counts))


def bootstrap_mean(values: Tensor, generator: torch.Generator) -> Estimate:
    """The mean of one number an avatar, values that are no number left out; raises ``ValueError`` for none."""
    known = values.double().flatten()
    known = known[~known.isnan()]
    return bootstrap(lambda rows: float(known[rows].mean()), (len(known),), generator)


def bootstrap_ratio(over: Tensor, under: Tensor, generator: torch.Generator) -> Estimate:
    """The mean of the one group over the mean of the other, one number an avatar each, drawn apart."""
    numerator, denominator = over.double().flatten(), under.double().flatten()

    def ratio(rows: Tensor, others: Tensor) -> float:
        below = float(denominator[others].mean())
        return float(numerator[rows].mean()) / below if below else float("nan")

    return bootstrap(ratio, (len(numerator), len(denominator)), generator)
