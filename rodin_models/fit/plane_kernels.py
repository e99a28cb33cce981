"""Reading planes in one Triton kernel, and adding to them in another: an option on CUDA that nothing needs.

:func:`rodin_models.field.triplane.sample_table` is the reference. It writes down twelve texel numbers and weights a
point, and its gradient adds one corner of all points after another; here both stay in registers, and a point's place is
found again on the way back. Gradients are summed in no fixed order, as the reference's are on CUDA.

Importing this module needs Triton. With ``TRITON_INTERPRET=1`` in the environment before that, kernels run on a CPU, as
slowly as only a test bears. :func:`rodin_models.fit.shading.probe_kernels` tells whether they work.
"""

from typing import Any, Final

import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor
from triton import language as tl

from rodin_models.field.triplane import PLANE_AXES

POINTS: Final = 32
"""Points of one program."""


def sample_table_fused(
    table: Float[Tensor, "plane height width channel"],
    points: Float[Tensor, "point 3"],
    avatar: Int[Tensor, " point"] | None = None,
) -> Float[Tensor, "point channel"]:
    """Numbers of :func:`rodin_models.field.triplane.sample_table` in float32, and the gradient to the table.

    Raises ``ValueError`` for another precision and for points that want a gradient.
    """
    if points.requires_grad:
        raise ValueError("points want a gradient, which the fused kernels do not have; use sample_table")
    if table.dtype != torch.float32 or points.dtype != torch.float32:
        raise ValueError(f"table is {table.dtype} and points {points.dtype}; the fused kernels know float32 alone")
    sampled: Tensor = _SampleTable.apply(table, points, avatar)
    return sampled


class _SampleTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, points: Tensor, avatar: Tensor | None) -> Tensor:
        points, avatar = points.contiguous(), None if avatar is None else avatar.contiguous()
        ctx.save_for_backward(points, avatar)
        ctx.table_shape = table.shape
        out = table.new_empty(len(points), table.shape[-1])
        _launch(table.contiguous(), points, avatar, out, adding=False)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        points, avatar = ctx.saved_tensors
        of_table = grad.new_zeros(ctx.table_shape)
        _launch(of_table, points, avatar, grad.contiguous(), adding=True)
        return of_table, None, None


def _launch(table: Tensor, points: Tensor, avatar: Tensor | None, rows: Tensor, *, adding: bool) -> None:
    if len(points):
        _visit_corners[(triton.cdiv(len(points), POINTS),)](
            table,
            points,
            points if avatar is None else avatar,  # not read then
            rows,
            len(points),
            *table.shape[1:],
            AXES=PLANE_AXES,
            ADDING=adding,
            ALONE=avatar is None,
            POINTS=POINTS,
            CHANNELS=triton.next_power_of_2(table.shape[-1]),
        )


@triton.jit
def _visit_corners(
    table,
    points,
    avatar,
    rows,
    count,
    height,
    width,
    channels,
    AXES: tl.constexpr,
    ADDING: tl.constexpr,
    ALONE: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Over the twelve corners k of each point n: ``rows[n] = sum_k weight[n, k] * table[texel[n, k]]``.

    Adding, it is the way back: ``table[texel[n, k]] += weight[n, k] * rows[n]``.
    """
    point = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    channel = tl.arange(0, CHANNELS)
    valid = point < count
    mask = valid[:, None] & (channel < channels)[None, :]
    row_of_point = rows + point[:, None] * channels + channel[None, :]
    first = tl.zeros((POINTS,), tl.int64)
    if not ALONE:
        first = tl.load(avatar + point, mask=valid, other=0).to(tl.int64) * 3 * height * width
    value = tl.zeros((POINTS, CHANNELS), tl.float32)
    if ADDING:
        value = tl.load(row_of_point, mask=mask, other=0.0)
    for plane in tl.static_range(3):
        column, right = _split(points, point, valid, AXES[plane][0], width)
        row, below = _split(points, point, valid, AXES[plane][1], height)
        for corner in tl.static_range(4):
            texel, weight = _corner(row, column, below, right, height, width, corner)
            start = (first + plane * height * width + texel) * channels
            here = table + start[:, None] + channel[None, :]
            if ADDING:
                tl.atomic_add(here, weight[:, None] * value, mask=mask, sem="relaxed")
            else:
                value += weight[:, None] * tl.load(here, mask=mask, other=0.0)
    if not ADDING:
        tl.store(row_of_point, value, mask=mask)


@triton.jit
def _split(points, point, valid, axis: tl.constexpr, side):
    """The lower texel and the share of the upper one along an axis, as in ``triplane``."""
    coordinate = tl.load(points + point * 3 + axis, mask=valid, other=0.0)
    position = (coordinate + 1) * (side / 2) - 0.5
    position = tl.minimum(tl.maximum(position, 0.0), side - 1.0)
    lower = tl.minimum(tl.floor(position), tl.maximum(side - 2.0, 0.0))
    return lower.to(tl.int64), position - lower


@triton.jit
def _corner(row, column, below, right, height, width, corner: tl.constexpr):
    """Texel number within a plane, and weight, of one of a point's four corners.

    A side of one texel has no neighbour: its second corner is the first again, with weight zero.
    """
    texel = row * width + column
    weight = 1 - below
    if corner // 2:
        texel += width * (height > 1)
        weight = below
    if corner % 2:
        texel += width > 1
        weight *= right
    else:
        weight *= 1 - right
    return texel, weight
