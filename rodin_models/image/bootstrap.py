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
    drawn = [
        statistic(*(torch.randint(count, (count,), generator=generator) for count in counts)) for _ in range(resamples)
    ]
    return _estimate(value, drawn, min(counts))


def bootstrap_means(
    groups: Sequence[Tensor], of: Callable[..., float], generator: torch.Generator, *, resamples: int = RESAMPLES
) -> Estimate:
    """:func:`bootstrap` of a figure of means, all resamples at once.

    Each group is (number, avatar): the numbers of one avatar stay together. ``of`` is given the mean of each number of
    each group, in order; where it divides by 0 there is no figure. Raises ``ValueError`` for an empty group.
    """
    if not groups or min(group.shape[1] for group in groups) < 1:
        raise ValueError(f"a bootstrap over groups of {[group.shape[1] for group in groups]}: each needs an avatar")

    def figure(means: Sequence[float]) -> float:
        try:
            return of(*means)
        except ZeroDivisionError:
            return float("nan")

    whole = [float(mean) for group in groups for mean in group.double().mean(1)]
    columns = []
    for group in groups:
        rows = torch.randint(group.shape[1], (resamples, group.shape[1]), generator=generator)
        columns.append(group.double()[:, rows].mean(-1))
    drawn = [figure(means) for means in torch.cat(columns).T.tolist()]
    return _estimate(figure(whole), drawn, min(group.shape[1] for group in groups))


def bootstrap_mean(values: Tensor, generator: torch.Generator) -> Estimate:
    """The mean of one number an avatar, values that are no number left out; raises ``ValueError`` for none."""
    known = values.flatten()
    return bootstrap_means([known[~known.isnan()][None]], lambda mean: mean, generator)


def bootstrap_ratio(over: Tensor, under: Tensor, generator: torch.Generator) -> Estimate:
    """The mean of the one group over the mean of the other, one number an avatar each, drawn apart."""
    return bootstrap_means([over.flatten()[None], under.flatten()[None]], lambda a, b: a / b, generator)


def _estimate(value: float, drawn: Sequence[float], n: int) -> Estimate:
    """Equation (1)."""
    known = torch.tensor(drawn, dtype=torch.float64)
    known = known[known.isfinite()]
    if not len(known):
        return Estimate(value, value, value, n)
    ends = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    low, high = (value + torch.quantile(known - known.mean(), ends)).tolist()
    return Estimate(value, low, high, n)
