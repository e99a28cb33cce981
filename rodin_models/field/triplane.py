"""Tri-planes: where texels lie, how a point reads them, how planes are rescaled, and what keeps them tidy.

A point's feature is the sum of one bilinear sample from each of three planes (Rodin, section 3.1). There are
two ways to the same numbers and gradients: :func:`sample_planes_reference`, three ``grid_sample`` calls that
say what is meant, and :func:`sample_table`, which reads a sample's twelve corners from a channel-last table
in one gather and is what fitting and rendering use.

A point outside the cube reads the nearest texel of the border (``padding_mode="border"``): a feature is
defined everywhere, and it is the field's part to say that nothing exists outside the cube.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

try:
    from scipy import sparse
except ImportError:  # only speed depends on it
    sparse = None

PLANE_NAMES: Final = ("uv", "wu", "vw")
"""Order of the three planes: front, bottom, side."""

PLANE_AXES: Final = ((0, 1), (2, 0), (1, 2))
"""World axes (a, b) of each plane, x = 0, y = 1, z = 2: a runs along columns, b along rows, both increasing."""

TEXEL_RULE: Final = "texel i of N is centred at (2 i + 1) / N - 1 (grid_sample with align_corners=False)"
"""Where a plane's texels sit in [-1, 1], at every resolution."""


def sample_planes_reference(
    planes: Float[Tensor, "3 channel height width"], points: Float[Tensor, "point 3"]
) -> Float[Tensor, "point channel"]:
    """Features of world points in [-1, 1]^3 by three ``grid_sample`` calls: the definition."""
    features = [
        F.grid_sample(
            plane[None],
            torch.stack((points[:, a], points[:, b]), -1)[None, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        for plane, (a, b) in zip(planes, PLANE_AXES, strict=True)
    ]
    return rearrange(sum(features[1:], features[0]), "1 channel 1 point -> point channel")


def to_table(planes: Float[Tensor, "3 channel height width"]) -> Float[Tensor, "3 height width channel"]:
    """Planes with their channels last: a texel is one run of memory."""
    return rearrange(planes, "plane channel height width -> plane height width channel").contiguous()


def to_planes(table: Float[Tensor, "3 height width channel"]) -> Float[Tensor, "3 channel height width"]:
    """The inverse of :func:`to_table`."""
    return rearrange(table, "plane height width channel -> plane channel height width").contiguous()


class Corners(NamedTuple):
    """The twelve texels that a point reads, four in each plane, and their bilinear weights."""

    texel: Int[Tensor, "point 12"]
    """Row of the flattened table, ``(plane * height + row) * width + column``."""
    weight: Float[Tensor, "point 12"]
    """Those of one plane sum to 1."""


def find_corners(points: Float[Tensor, "point 3"], height: int, width: int) -> Corners:
    """Corners of world points in planes of ``height`` x ``width`` texels; weights keep the points' gradients."""
    first, second = zip(*PLANE_AXES, strict=True)
    column, column_part = _split(points[:, list(first)], width)
    row, row_part = _split(points[:, list(second)], height)
    offset = torch.arange(3, device=points.device, dtype=torch.int32) * (height * width)
    origin = row * width + column + offset
    # A side of one texel has no neighbour: its second corner is the first again, with weight zero.
    right, below = int(width > 1), width * int(height > 1)
    index = torch.cat((origin, origin + right, origin + below, origin + (right + below)), 1)
    left_part, upper_part = 1 - column_part, 1 - row_part
    weight = torch.cat(
        (upper_part * left_part, upper_part * column_part, row_part * left_part, row_part * column_part), 1
    )
    return Corners(index, weight)


def sample_table(
    table: Float[Tensor, "plane height width channel"],
    points: Float[Tensor, "point 3"],
    avatar: Int[Tensor, " point"] | None = None,
) -> Float[Tensor, "point channel"]:
    """The numbers and gradients of :func:`sample_planes_reference` from a channel-last table.

    A table of several avatars has their planes one after another, three each, and ``avatar`` says whose each point is.
    """
    _, height, width, channels = table.shape
    corners = find_corners(points, height, width)
    texel = corners.texel
    if avatar is not None:
        texel = texel + avatar.to(texel.dtype)[:, None] * (3 * height * width)
    gathered: Tensor = _GatherCorners.apply(table.reshape(-1, channels), texel, corners.weight)
    return gathered


def _split(coordinate: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The lower texel and the share of the upper one, for coordinates in [-1, 1]."""
    position = ((coordinate + 1) * (side / 2) - 0.5).clamp(0, side - 1)
    lower = position.detach().floor().clamp(max=max(side - 2, 0))
    return lower.to(torch.int32), position - lower


class _GatherCorners(torch.autograd.Function):
    """``out[n] = sum_k weight[n, k] * table[index[n, k]]``.

    ``embedding_bag`` computes it without an intermediate of twelve features a point. Its own backward sorts
    all indices; see :func:`scatter_rows` for what is faster.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weight)
        if index.shape[0] == 0:
            return table.new_zeros(0, table.shape[1])
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, index, weight = ctx.saved_tensors
        grad_table = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_table = scatter_rows(index, weight, grad, len(table))
        if ctx.needs_input_grad[2]:
            corners = [(table[corner] * grad).sum(1) for corner in index.t().contiguous()]
            grad_weight = torch.stack(corners, 1)
        return grad_table, None, grad_weight


def scatter_rows(
    index: Int[Tensor, "point corner"],
    weight: Float[Tensor, "point corner"],
    rows: Float[Tensor, "point channel"],
    count: int,
) -> Float[Tensor, "{count} channel"]:
    """``out[index[n, k]] += weight[n, k] * rows[n]``, from zeros; points in order, whatever the number of threads.

    On a CPU with SciPy it is one product with a sparse matrix that stands in columns already: eleven times faster
    than ``index_add_``, which spends its time between rows. Elsewhere each corner of all points is one ``index_add_``.
    """
    if sparse is not None and rows.device.type == "cpu":
        starts = np.arange(0, index.numel() + 1, index.shape[1], dtype=np.int32)
        columns = (weight.detach().reshape(-1).numpy(), index.reshape(-1).numpy(), starts)
        return torch.from_numpy(sparse.csc_array(columns, shape=(count, len(index))) @ rows.contiguous().numpy())
    out = rows.new_zeros(count, rows.shape[1])
    for corner, share in zip(index.t().contiguous(), weight.t().contiguous(), strict=True):
        out.index_add_(0, corner, share[:, None] * rows)
    return out


@lru_cache(maxsize=256)
def _resize_matrix(side: int, to_side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The antialiased bicubic resize of one axis as a matrix ``[to_side, side]``."""
    with torch.inference_mode(False), torch.no_grad():
        identity = torch.eye(side, dtype=dtype, device=device)[None, None]
        return F.interpolate(identity, size=(to_side, side), mode="bicubic", align_corners=False, antialias=True)[0, 0]


def rescale_table(
    table: Float[Tensor, "3 side side channel"], through_side: int
) -> Float[Tensor, "3 side side channel"]:
    """Planes resized (bicubic, antialiased) to ``through_side`` and back: what a coarser plane can still say.

    Resizing is linear and separable, so both steps together are one matrix on each axis.
    """
    side = table.shape[1]
    down = _resize_matrix(side, through_side, table.dtype, table.device)
    matrix = _resize_matrix(through_side, side, table.dtype, table.device) @ down
    rows = torch.matmul(matrix, rearrange(table, "plane row column channel -> plane row (column channel)"))
    rows = rearrange(rows, "plane row (column channel) -> plane row column channel", column=side)
    return torch.matmul(matrix, rows)


def random_rescale(
    table: Float[Tensor, "3 side side channel"], smallest_side: int, generator: torch.Generator
) -> Float[Tensor, "3 side side channel"]:
    """:func:`rescale_table` through a side drawn from ``[smallest_side, side]`` (RodinHD, section 3.1).

    Fitted through random scales, planes mean the same at every resolution, which the upsampler relies on.
    """
    side = table.shape[1]
    through = int(torch.randint(smallest_side, side + 1, (), generator=generator, device=generator.device))
    return table if through == side else rescale_table(table, through)


def resized(planes: Float[Tensor, "3 channel _ _"], side: int) -> Float[Tensor, "3 channel {side} {side}"]:
    """Planes at another side, bicubic and antialiased; themselves if they have it."""
    if planes.shape[-2:] == (side, side):
        return planes
    return F.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False, antialias=True)


def downsample(
    planes: Float[Tensor, "*batch 3 channel height width"], side: int
) -> Float[Tensor, "*batch 3 channel {side} {side}"]:
    """Planes at a smaller side, bicubic and antialiased; texel rule unchanged."""
    flat = planes.reshape(-1, *planes.shape[-3:])
    small = F.interpolate(flat, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    return small.reshape(*planes.shape[:-2], side, side)


def mirrored(planes: Float[Tensor, "*batch 3 channel side side"]) -> Float[Tensor, "*batch 3 channel side side"]:
    """The planes of the mirror image, x -> -x: what x runs along is reversed, vw is left as it is.

    Exactly the mirror image for a decoder that sees no directions.
    """
    uv, wu, vw = planes.unbind(-4)
    return torch.stack((uv.flip(-1), wu.flip(-2), vw), dim=-4)


def smoothness(table: Float[Tensor, "3 height width channel"]) -> Float[Tensor, ""]:
    """Total variation, squared: mean |P[r+1, c] - P[r, c]|^2 + mean |P[r, c+1] - P[r, c]|^2."""
    value: Tensor = _Smoothness.apply(table)
    return value


class _Smoothness(torch.autograd.Function):
    """Forward makes the gradient too: differences are taken once, and no copy of the planes is kept for each."""

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        grad, value = torch.zeros_like(table), table.new_zeros(())
        for axis in (1, 2):
            side = table.shape[axis]
            if side < 2:
                continue
            difference = table.narrow(axis, 1, side - 1) - table.narrow(axis, 0, side - 1)
            value = value + torch.dot(difference.reshape(-1), difference.reshape(-1)) / difference.numel()
            share = 2 / difference.numel()
            grad.narrow(axis, 1, side - 1).add_(difference, alpha=share)
            grad.narrow(axis, 0, side - 1).sub_(difference, alpha=share)
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (of_table,) = ctx.saved_tensors
        return of_table * grad


def sparsity(table: Float[Tensor, "3 height width channel"]) -> Float[Tensor, ""]:
    """Mean |P|: features are zero where nothing needs them, so planes of all avatars rest at one value."""
    return table.abs().mean()


def compactness(density: Float[Tensor, " point"], length: float) -> Float[Tensor, ""]:
    """Mean 1 - exp(-density * length) over points known to be empty: matter stays inside the hull.

    The term is the opacity of a stretch of ``length`` world units, so it weighs what would be seen of a
    floater and saturates where density is far off.
    """
    return (1 - torch.exp(-density * length)).mean()
