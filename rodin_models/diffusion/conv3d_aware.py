"""3D-aware convolution on tri-planes (Rodin, section 3.2), factored so that nothing is broadcast.

A texel of one plane stands for a whole line of 3D points, and that line crosses each of the other two planes in
a row or a column. The 3D-aware convolution therefore concatenates to every plane the other two, each averaged
over the axis that this plane lacks and broadcast back along the axis it does not share, and convolves the 3 C
channels with one 3x3 kernel shared by the planes.

Write plane p in (a, b), a along its columns and b along its rows. Of the other two, one shares a and one shares
b, so the broadcast maps are A(i, j) = u(j) and B(i, j) = v(i). A zero-padded convolution of A is

    (K * A)(i, j) = sum over kernel rows d that stay inside at row i of (K_d * u)(j)                          (1)

with K_d the kernel's row d: three 1D convolutions of u. Their sum is the same in every row but the two border rows,
which lack one of them each. B is the same, transposed. To the ordinary convolution of the plane's own channels both
are therefore added as a line broadcast along rows, one along columns, and what is missing at the four edges.

That convolution runs over the rolled-out image as it lies, so that no plane is copied; at the two seams its kernel
reaches into the next plane, and what it sees there is taken off again: a 1D convolution of the column beyond the seam.

All this is linear, so the gradient is written out: it sums into one image in place, and keeps the input alone for the
backward pass. Nothing is left out: forward and gradients equal the plain form's to rounding (a test holds the plain
form).
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight

from rodin_models.field.triplane import PLANE_AXES

KERNEL = 3


def roll_out(planes: Float[Tensor, "batch plane channel row column"]) -> Float[Tensor, "batch channel row columns"]:
    """The planes side by side in one image, in order."""
    return rearrange(planes, "batch plane channel row column -> batch channel row (plane column)")


def roll_in(
    image: Float[Tensor, "batch channel row columns"], planes: int = 3
) -> Float[Tensor, "batch plane channel row column"]:
    """The inverse of :func:`roll_out`, of so many ``planes``."""
    return rearrange(image, "batch channel row (plane column) -> batch plane channel row column", plane=planes)


def unrolled(
    image: Float[Tensor, "batch channel row three_columns"],
) -> Float[Tensor, "batch channel row 3 column"]:
    """A view of a rolled-out image, plane by plane."""
    return image.unflatten(-1, (3, -1))


def line_means(
    planes: Float[Tensor, "batch 3 channel side side"],
) -> tuple[Float[Tensor, "batch 3 channel side"], Float[Tensor, "batch 3 channel side"]]:
    """What each plane sees of the other two: u, running along its columns, and v, running along its rows.

    u at column j is the mean of the plane that shares a, over every texel whose a-coordinate is column j's;
    v at row i likewise of the plane that shares b. Planes are square, so that an axis has one resolution.
    """
    return _lines(planes.mean(-1), planes.mean(-2))


def _lines(
    over_columns: Float[Tensor, "batch 3 channel side"], over_rows: Float[Tensor, "batch 3 channel side"]
) -> tuple[Float[Tensor, "batch 3 channel side"], Float[Tensor, "batch 3 channel side"]]:
    """:func:`line_means` of planes that were averaged over their columns and over their rows."""
    along_columns, along_rows = [], []
    for a, b in PLANE_AXES:
        along_columns.append(_mean_keeping(a, b, over_columns, over_rows))
        along_rows.append(_mean_keeping(b, a, over_columns, over_rows))
    return torch.stack(along_columns, 1), torch.stack(along_rows, 1)


def _mean_keeping(
    shared: int,
    not_shared: int,
    over_columns: Float[Tensor, "batch 3 channel side"],
    over_rows: Float[Tensor, "batch 3 channel side"],
) -> Float[Tensor, "batch channel side"]:
    """Mean along the axis that is neither, of the one plane that has ``shared`` and lacks ``not_shared``."""
    (plane,) = (p for p, axes in enumerate(PLANE_AXES) if shared in axes and not_shared not in axes)
    column_axis, _ = PLANE_AXES[plane]
    return over_rows[:, plane] if column_axis == shared else over_columns[:, plane]


class Conv3DAware(nn.Module):
    """A 3x3 convolution of rolled-out planes that sees, at each texel, the other planes' texels on its line.

    ``weight`` is (out, 3 in, 3, 3): the first block of input channels for the plane itself, the second for the
    plane that shares its columns' axis, the third for the one that shares its rows'. It can be used as the kernel
    of the plain form.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        plain = nn.Conv2d(3 * in_channels, out_channels, KERNEL, padding=1)
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, image: Float[Tensor, "batch in row columns"]) -> Float[Tensor, "batch out row columns"]:
        """Rolled-out planes in, rolled-out planes out."""
        weight, bias, kind = self.weight, self.bias, image.device.type
        assert bias is not None
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            image, weight, bias = image.to(dtype), weight.to(dtype), bias.to(dtype)
        convolved: Tensor = _Convolution.apply(image, weight, bias)
        return convolved


class _Convolution(torch.autograd.Function):
    """The convolution of rolled-out planes and its gradient; in the type of what is given, autocast or not."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            image = image.contiguous()
            seen = _Seen.of(image)
            ctx.save_for_backward(image, weight, *seen)
            own = weight[:, : image.shape[1]]
            convolved = F.conv2d(image, own, bias, padding=1)
            _add(unrolled(convolved), _additions(seen, weight))
            return convolved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        image, weight, *seen = ctx.saved_tensors
        channels = image.shape[1]
        with torch.autocast(image.device.type, enabled=False):
            gradient = gradient.contiguous()
            of_additions = _gradient_of_additions(unrolled(gradient))
            with torch.enable_grad():
                inputs = [tensor.detach().requires_grad_() for tensor in (*seen, weight)]
                added = _additions(_Seen(*inputs[:-1]), inputs[-1])
            *of_seen, of_weight = torch.autograd.grad(added, inputs, of_additions)
            of_weight[:, :channels] += conv2d_weight(
                image, (len(weight), channels, KERNEL, KERNEL), gradient, padding=1
            )
            of_image = None
            if ctx.needs_input_grad[0]:
                of_image = conv2d_input(image.shape, weight[:, :channels], gradient, padding=1)
                _add_gradient_of_seen(unrolled(of_image), _Seen(*of_seen))
            return of_image, of_weight, of_additions.along_columns.sum((0, 2, 3))


class _Seen(NamedTuple):
    """What of rolled-out planes is seen beyond a texel's own neighbourhood: small beside them."""

    over_columns: Float[Tensor, "batch channel row 3"]
    """Sums."""
    over_rows: Float[Tensor, "batch channel 3 column"]
    """Sums."""
    first: Float[Tensor, "batch channel row 2"]
    """The columns right of the seams."""
    last: Float[Tensor, "batch channel row 2"]
    """The columns left of the seams."""

    @staticmethod
    def of(image: Tensor) -> "_Seen":
        planes = unrolled(image)
        # Copies: a view of an edge would keep the image twice where gradients are taken of it.
        edges = planes[:, :, :, 1:, 0].clone(), planes[:, :, :, :-1, -1].clone()
        return _Seen(planes.sum(4), planes.sum(2), *edges)


class _Additions(NamedTuple):
    """What is added to the ordinary convolution, whose own borders are padded with zeros."""

    along_columns: Float[Tensor, "batch out 3 column"]
    """To each row."""
    along_rows: Float[Tensor, "batch out row 3"]
    """To each column."""
    top: Float[Tensor, "batch out 3 column"]
    """To the first row; the following three are the other edges."""
    bottom: Float[Tensor, "batch out 3 column"]
    left: Float[Tensor, "batch out row 3"]
    right: Float[Tensor, "batch out row 3"]


def _additions(seen: _Seen, weight: Tensor) -> _Additions:
    """Equation (1) for both other planes, and what the seams take off again."""
    own, shares_a, shares_b = weight.chunk(3, dim=1)
    side = seen.over_rows.shape[-1]
    # Dividing the sums, not `mean`: its gradient divides whole planes instead of lines.
    over_columns = rearrange(seen.over_columns, "batch channel row plane -> batch plane channel row") / side
    over_rows = rearrange(seen.over_rows, "batch channel plane column -> batch plane channel column") / side
    u, v = _lines(over_columns, over_rows)
    u_lines = _line_convolution(u, rearrange(shares_a, "out channel row column -> (row out) channel column"))
    v_lines = _line_convolution(v, rearrange(shares_b, "out channel row column -> (column out) channel row"))
    upper, middle, lower = rearrange(u_lines, "batch plane (d out) column -> d batch out plane column", d=KERNEL)
    nearer, centre, farther = rearrange(v_lines, "batch plane (d out) row -> d batch out row plane", d=KERNEL)
    beyond_left = _line_convolution(
        rearrange(seen.last, "batch channel row seam -> batch seam channel row"), own[..., 0]
    )
    beyond_right = _line_convolution(
        rearrange(seen.first, "batch channel row seam -> batch seam channel row"), own[..., -1]
    )
    return _Additions(
        along_columns=upper + middle + lower,
        along_rows=nearer + centre + farther,
        top=-upper,
        bottom=-lower,
        left=-nearer - F.pad(rearrange(beyond_left, "batch seam out row -> batch out row seam"), (1, 0)),
        right=-farther - F.pad(rearrange(beyond_right, "batch seam out row -> batch out row seam"), (0, 1)),
    )


def _line_convolution(lines: Tensor, kernels: Tensor) -> Tensor:
    """Lines (batch, line, channel, texel) by kernels (out, channel, 3), zeros beyond the ends."""
    return F.conv1d(lines.flatten(0, 1), kernels, padding=1).unflatten(0, lines.shape[:2])


def _add(planes: Tensor, additions: _Additions) -> None:
    """Add to (batch, out, row, plane, column), in place."""
    planes += additions.along_columns[:, :, None]
    planes += additions.along_rows[..., None]
    planes[:, :, 0] += additions.top
    planes[:, :, -1] += additions.bottom
    planes[..., 0] += additions.left
    planes[..., -1] += additions.right


def _gradient_of_additions(gradient: Tensor) -> _Additions:
    """The adjoint of :func:`_add`."""
    return _Additions(
        along_columns=gradient.sum(2),
        along_rows=gradient.sum(4),
        top=gradient[:, :, 0],
        bottom=gradient[:, :, -1],
        left=gradient[..., 0],
        right=gradient[..., -1],
    )


def _add_gradient_of_seen(of_image: Tensor, of_seen: _Seen) -> None:
    """The adjoint of :meth:`_Seen.of`, added in place."""
    of_image += of_seen.over_rows[:, :, None]
    of_image += of_seen.over_columns[..., None]
    of_image[:, :, :, 1:, 0] += of_seen.first
    of_image[:, :, :, :-1, -1] += of_seen.last
