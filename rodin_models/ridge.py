"""Ridge regression with exact predictions for what was left out.

With Z the standardised inputs of N rows, A their targets less their mean and H = Z (Z^T Z + l I)^-1 Z^T + 1/N,

    W = (Z^T Z + l I)^-1 Z^T A,    predicted A^ = Z W,    without rows g:  A_g - (I - H_gg)^-1 (A_g - A^_g)          (1)

The last is what a fit on all others predicts for the rows g, exactly (Allen 1974, PRESS, for one row). Rows that belong
together, a person and the mirror image, are left out together: left in, one would give the other away. l is the one of
a grid with the smallest such error.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float64
from torch import Tensor

RIDGES = tuple(10.0 ** (power / 2) for power in range(-4, 13))
"""The grid of l, 0.01 to 10^6: a standardised input of N rows has a sum of squares of N in each coordinate."""


class Ridge(NamedTuple):
    """A fit by equation (1)."""

    weight: Tensor
    """(input, target), W."""
    unseen: Tensor
    """(row, target), what is predicted for each row without it and those that belong to it."""
    ridge: float
    """The chosen l."""
    explained: float
    """Share of the targets' variance that ``unseen`` explains; may be negative."""


class Regression(NamedTuple):
    """A ridge regression in the units of its inputs and targets: (inputs - mean) @ weight + centre."""

    weight: Tensor
    """(input, target)."""
    mean: Tensor
    """(input,), of the inputs."""
    centre: Tensor
    """(target,), of the targets."""
    left: Tensor
    """(row, target), what a target is beside what all others make one expect of it."""
    explained: float
    """Share of the targets' variance that is explained of those left out; may be negative."""


def regress(
    inputs: Float64[Tensor, "n input"], targets: Float64[Tensor, "row target"], units: Float64[Tensor, "target"]
) -> Regression:
    """Fit targets to inputs: rows of the n inputs first, then of each again where there are more rows.

    Inputs are standardised. ``units`` are what 1 of each target is worth: by errors so weighed the ridge is chosen,
    since of principal components in units of their deviations most are hardly anything.
    """
    mean, deviation = inputs.mean(0), inputs.std(0, correction=0).clamp(min=1e-3)
    z = ((inputs - mean) / deviation).repeat(len(targets) // len(inputs), 1)
    centred = targets - targets.mean(0)
    found = fit_ridge(z, centred * units, len(inputs))
    weight = found.weight / deviation[:, None] / units
    return Regression(weight, mean, targets.mean(0), centred - found.unseen / units, found.explained)


def fit_ridge(z: Float64[Tensor, "row input"], targets: Float64[Tensor, "row target"], groups: int) -> Ridge:
    """Fit ``targets`` to standardised inputs ``z``, both of mean 0.

    There are as many ``groups`` of rows that belong together as rows, or fewer: row, row + groups, row + 2 groups ...
    Raises ``ValueError`` where they are not equally large.
    """
    if len(z) % groups:
        raise ValueError(f"{len(z)} rows are no whole number of {groups} groups")
    total = float(targets.square().sum())
    tried = [(float((targets - _unseen(z, targets, ridge, groups)).square().sum()), ridge) for ridge in RIDGES]
    error, ridge = min(tried)
    explained = 1 - error / total if total > 0 else 0.0
    return Ridge(_weight(z, targets, ridge), _unseen(z, targets, ridge, groups), ridge, explained)


def _weight(
    z: Float64[Tensor, "row input"], targets: Float64[Tensor, "row target"], ridge: float
) -> Float64[Tensor, "input target"]:
    square = z.T @ z + ridge * torch.eye(z.shape[1], dtype=z.dtype)
    return torch.linalg.solve(square, z.T @ targets)


def _unseen(
    z: Float64[Tensor, "row input"], targets: Float64[Tensor, "row target"], ridge: float, groups: int
) -> Float64[Tensor, "row target"]:
    square = z.T @ z + ridge * torch.eye(z.shape[1], dtype=z.dtype)
    rest = rearrange(targets - z @ _weight(z, targets, ridge), "(row group) c -> group row c", group=groups)
    own = rearrange(z, "(row group) d -> group row d", group=groups)
    hat = own @ torch.linalg.solve(square, own.mT) + 1 / len(z)
    unexplained = torch.linalg.solve((1 + 1e-9) * torch.eye(hat.shape[-1], dtype=z.dtype) - hat, rest)
    return targets - rearrange(unexplained, "group row c -> (row group) c")
