"""Estimates as the figures of a table."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.contracts.report.results import Figure
from rodin_models.image.bootstrap import Estimate, bootstrap_mean, bootstrap_means, bootstrap_ratio


def figure(name: str, estimate: Estimate, *, digits: int = 2) -> Figure:
    """An estimate under a name; one that is no number is withheld."""
    if not math.isfinite(estimate.value):
        return Figure(name=name, value=None, n=estimate.n, digits=digits, withheld="no finite figure")
    return Figure(name=name, value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n, digits=digits)


def mean(name: str, values: Sequence[float] | Tensor, generator: torch.Generator, *, digits: int = 2) -> Figure:
    """The mean of one number an avatar."""
    known = torch.as_tensor(values, dtype=torch.float64)
    if not len(known[~known.isnan()]):
        return Figure(name=name, value=None, n=0, digits=digits, withheld="nothing to measure")
    return figure(name, bootstrap_mean(known, generator), digits=digits)


def ratio(
    name: str,
    over: Sequence[float] | Tensor,
    under: Sequence[float] | Tensor,
    generator: torch.Generator,
    *,
    digits: int = 2,
) -> Figure:
    """The mean of one group over that of another, drawn apart."""
    first, second = (torch.as_tensor(values, dtype=torch.float64) for values in (over, under))
    if not min(len(first), len(second)):
        return Figure(name=name, value=None, n=0, digits=digits, withheld="nothing to measure")
    return figure(name, bootstrap_ratio(first, second, generator), digits=digits)


def paired(
    name: str,
    values: Sequence[Sequence[float] | Tensor],
    of: Callable[..., float],
    generator: torch.Generator,
    *,
    digits: int = 2,
) -> Figure:
    """A figure of the means of several numbers an avatar, the same avatars drawn for all."""
    columns = [torch.as_tensor(column, dtype=torch.float64) for column in values]
    if not len(columns[0]):
        return Figure(name=name, value=None, n=0, digits=digits, withheld="nothing to measure")
    return figure(name, bootstrap_means([torch.stack(columns)], of, generator), digits=digits)
