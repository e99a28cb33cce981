"""3D-aware convolution on tri-planes (Rodin, section 3.2), factored so that nothing is broadcast.

A texel of one plane stands for a whole line of 3D points, and that line crosses each of the other two planes in
a row or a column. The 3D-aware convolution therefore concatenates to every plane the other two, each averaged
over the axis that this plane lacks and broadcast back along the axis it does not share, and convolves the 3 C
channels with one 3x3 kernel shared by the planes.

Write plane p in (a, b), a along its columns and b along its rows. Of the other two, one shares a and one shares
b, so the broadcast maps are A(i, j) = u(j) and B(i, j) = v(i). A zero-padded convolution of A is

    (K * A)(i, j) = sum over kernel rows d that stay inside at row i of (K_d * u)(j)                          (1)

with K_d the kernel's row d: three 1D convolutions of u, weighted by a 0/1 mask that is 1 everywhere but at the
two border rows. B is the same, transposed. Over one output channel both are therefore a matrix of rank six,

    K * A + K' * B = [mask | V] [U; mask^T],                                                                  (2)

which one batched product adds to the ordinary convolution of the plane's own channels. Nothing is left out:
forward and gradients equal the plain form's to rounding (a test holds the plain form).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.field.triplane import PLANE_AXES

KERNEL = 3


def roll_out(planes: Float[Tensor, "batch 3 channel row column"]) -> Float[Tensor, "batch channel row three_columns"]:
    """The three planes side by side in one image, in order."""
    return rearrange(planes, "batch plane channel row column -> batch channel row (plane column)")


def roll_in(image: Float[Tensor, "batch channel row three_columns"]) -> Float[Tensor, "batch 3 channel row column"]:
    """The inverse of :func:`roll_out`."""
    return rearrange(image, "batch channel row (plane column) -> batch plane channel row column", plane=3)


def line_means(
    planes: Float[Tensor, "batch 3 channel side side"],
) -> tuple[Float[Tensor, "batch 3 channel side"], Float[Tensor, "batch 3 channel side"]]:
    """What each plane sees of the other two: u, running along its columns, and v, running along its rows.

    u at column j is the mean of the plane that shares a, over every texel whose a-coordinate is column j's;
    v at row i likewise of the plane that shares b. Planes are square, so that an axis has one resolution.
    """
    # Dividing the sums, not `mean`: its gradient divides whole planes instead of lines.
    side = planes.shape[-1]
    over_columns, over_rows = planes.sum(-1) / side, planes.sum(-2) / side
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
        """Rolled-out planes in, rolled-out planes out, equation (2)."""
        batch = image.shape[0]
        planes = roll_in(image)
        own, shares_a, shares_b = self.weight.chunk(3, dim=1)
        convolved = F.conv2d(planes.flatten(0, 1), own, self.bias, padding=1)

        u, v = line_means(planes)
        u_kernels = rearrange(shares_a, "out channel row column -> (row out) channel column")
        v_kernels = rearrange(shares_b, "out channel row column -> (column out) channel row")
        u_lines = F.conv1d(u.flatten(0, 1), u_kernels, padding=1)
        v_lines = F.conv1d(v.flatten(0, 1), v_kernels, padding=1)
        mask = _inside(convolved.shape[-1], like=u_lines)

        maps = rearrange(convolved, "n out row column -> (n out) row column")
        count = maps.shape[0]
        left = torch.cat(
            (mask.expand(count, -1, -1), rearrange(v_lines, "n (d out) row -> (n out) row d", d=KERNEL)), dim=2
        )
        right = torch.cat(
            (rearrange(u_lines, "n (d out) column -> (n out) d column", d=KERNEL), mask.T.expand(count, -1, -1)), dim=1
        )
        summed = torch.baddbmm(maps, left, right)
        return rearrange(summed, "(batch plane out) row column -> batch out row (plane column)", batch=batch, plane=3)


def _inside(side: int, like: Tensor) -> Float[Tensor, "side 3"]:
    """1 where kernel row d, centred on texel i, falls on a texel, 0 where it falls on the padding."""
    mask = torch.ones(side, KERNEL, dtype=like.dtype, device=like.device)
    mask[0, 0] = 0.0
    mask[-1, -1] = 0.0
    return mask
