"""3D-aware convolution against its plain form, and against what the geometry of the planes asks of it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.contracts import conventions
from rodin_models.diffusion.conv3d_aware import PLANE_AXES, Conv3DAware, line_means, roll_in, roll_out


def field_means(planes: Tensor) -> tuple[Tensor, Tensor]:
    """``line_means`` the long way: each plane as a function of (x, y, z), constant along the axis it lacks."""
    volumes = []
    for p, (a, b) in enumerate(PLANE_AXES):
        rows_columns = planes[:, p]
        # [batch, channel, b, a] to [batch, channel, x, y, z] with one missing axis of length 1.
        missing = 3 - a - b
        ordered = rows_columns if b < a else rows_columns.transpose(-1, -2)
        volumes.append(ordered.unsqueeze(2 + missing))
    along_columns, along_rows = [], []
    for p, (a, b) in enumerate(PLANE_AXES):
        missing = 3 - a - b
        # A plane that varies along the missing axis and along one of ours: the mean leaves that one axis.
        averaged = {q: volumes[q].mean(2 + missing).flatten(2) for q in range(3) if q != p}
        (shares_a,) = (q for q in averaged if a in PLANE_AXES[q])
        (shares_b,) = (q for q in averaged if b in PLANE_AXES[q])
        along_columns.append(averaged[shares_a])
        along_rows.append(averaged[shares_b])
    return torch.stack(along_columns, 1), torch.stack(along_rows, 1)


def plain(conv: Conv3DAware, planes: Tensor) -> Tensor:
    """Average, broadcast, concatenate to 3 C channels, convolve each plane: the definition."""
    u, v = field_means(planes)
    own_and_others = torch.cat((planes, u[..., None, :].expand_as(planes), v[..., :, None].expand_as(planes)), dim=2)
    return F.conv2d(own_and_others.flatten(0, 1), conv.weight, conv.bias, padding=1).unflatten(0, planes.shape[:2])


def conv_and_planes(side: int = 6, channels: int = 2, out: int = 3, batch: int = 2) -> tuple[Conv3DAware, Tensor]:
    generator = torch.Generator().manual_seed(side)
    conv = Conv3DAware(channels, out).double()
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return conv, torch.randn(batch, 3, channels, side, side, generator=generator, dtype=torch.float64)


def apply(conv: Conv3DAware, planes: Tensor) -> Tensor:
    return roll_in(conv(roll_out(planes)))


def test_plane_axes_are_the_contract() -> None:
    assert PLANE_AXES == conventions.PLANE_AXES


def test_roll_in_inverts_roll_out_and_planes_stand_in_order() -> None:
    planes = torch.arange(2 * 3 * 4 * 5 * 5.0).view(2, 3, 4, 5, 5)
    image = roll_out(planes)
    assert image.shape == (2, 4, 5, 15)
    assert torch.equal(image[..., 5:10], planes[:, 1])
    assert torch.equal(roll_in(image), planes)


@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_factored_equals_plain(side: int) -> None:
    conv, planes = conv_and_planes(side)
    torch.testing.assert_close(apply(conv, planes), plain(conv, planes), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_gradients_equal_plain(side: int) -> None:
    conv, planes = conv_and_planes(side)
    planes.requires_grad_()
    weights = torch.randn(2, 3, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = (planes, conv.weight, conv.bias)
    factored = torch.autograd.grad((apply(conv, planes) * weights).sum(), inputs)
    reference = torch.autograd.grad((plain(conv, planes) * weights).sum(), inputs)
    for ours, theirs in zip(factored, reference, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_line_means_are_means_of_the_right_lines() -> None:
    _, planes = conv_and_planes(4)
    for ours, reference in zip(line_means(planes), field_means(planes), strict=True):
        torch.testing.assert_close(ours, reference)


def test_a_texel_reaches_exactly_the_lines_that_share_its_coordinate() -> None:
    side = 7
    at = {0: 1, 1: 3, 2: 5}  # texels of x, y, z: all different, none at a border
    conv, _ = conv_and_planes()
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.bias.zero_()
    for p, (a, b) in enumerate(PLANE_AXES):
        planes = torch.zeros(1, 3, 2, side, side, dtype=torch.float64)
        planes[0, p, :, at[b], at[a]] = 1.0
        reached = apply(conv, planes)[0, :, 0] > 0
        for q, (c, d) in enumerate(PLANE_AXES):
            expected = torch.zeros(side, side, dtype=torch.bool)
            near = {axis: slice(texel - 1, texel + 2) for axis, texel in at.items()}
            if q == p:
                expected[near[b], near[a]] = True
            elif c in (a, b):
                expected[:, near[c]] = True
            else:
                expected[near[d], :] = True
            assert torch.equal(reached[q], expected), (p, q)


def transformed(planes: Tensor, order: tuple[int, int, int]) -> Tensor:
    """Planes of the field f'(x'_0, x'_1, x'_2) = f(x) where x'_i = x_order[i]: world axes renamed."""
    new_axis = {old: new for new, old in enumerate(order)}
    result = torch.empty_like(planes)
    for p, (a, b) in enumerate(PLANE_AXES):
        pair = (new_axis[a], new_axis[b])
        if pair in PLANE_AXES:
            result[:, PLANE_AXES.index(pair)] = planes[:, p]
        else:
            result[:, PLANE_AXES.index(pair[::-1])] = planes[:, p].transpose(-1, -2)
    return result


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1)])
def test_renaming_axes_cyclically_commutes(order: tuple[int, int, int]) -> None:
    conv, planes = conv_and_planes()
    torch.testing.assert_close(apply(conv, transformed(planes, order)), transformed(apply(conv, planes), order))


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_swapping_two_axes_transposes_the_kernel_and_swaps_the_others(order: tuple[int, int, int]) -> None:
    conv, planes = conv_and_planes()
    mirrored, _ = conv_and_planes()
    own, shares_a, shares_b = conv.weight.detach().transpose(-1, -2).chunk(3, dim=1)
    with torch.no_grad():
        mirrored.weight.copy_(torch.cat((own, shares_b, shares_a), dim=1))
    torch.testing.assert_close(apply(mirrored, transformed(planes, order)), transformed(apply(conv, planes), order))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipping_an_axis_commutes_with_a_symmetric_kernel(axis: int) -> None:
    conv, planes = conv_and_planes()
    with torch.no_grad():
        conv.weight.add_(conv.weight.flip(-1))
        conv.weight.add_(conv.weight.flip(-2))

    def flipped(values: Tensor) -> Tensor:
        result = values.clone()
        for p, (a, b) in enumerate(PLANE_AXES):
            for dim, along in ((-1, a), (-2, b)):
                if along == axis:
                    result[:, p] = result[:, p].flip(dim)
        return result

    assert not torch.allclose(flipped(planes), planes)
    torch.testing.assert_close(apply(conv, flipped(planes)), flipped(apply(conv, planes)))


@pytest.mark.parametrize("side", [1, 2, 4])
def test_gradients_are_those_of_finite_differences(side: int) -> None:
    conv, planes = conv_and_planes(side, out=2, batch=1)
    image = roll_out(planes).requires_grad_()
    inputs = (image, conv.weight, conv.bias)

    def convolved(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, image)

    assert torch.autograd.gradcheck(convolved, inputs)


def test_weights_learn_where_no_gradient_of_the_planes_is_asked_for() -> None:
    conv, planes = conv_and_planes()
    (apply(conv, planes) ** 2).sum().backward()
    of_weight, of_bias = conv.weight.grad, conv.bias.grad
    conv.zero_grad()
    (plain(conv, planes) ** 2).sum().backward()
    torch.testing.assert_close((of_weight, of_bias), (conv.weight.grad, conv.bias.grad), rtol=0, atol=1e-9)


def test_under_autocast_it_is_taken_in_that_type_and_gradients_come_back_in_their_own() -> None:
    conv, planes = conv_and_planes(8)
    conv, planes = conv.float(), planes.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        made = apply(conv, planes)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), plain(conv, planes), rtol=0.05, atol=0.2)
    made.float().square().sum().backward()
    assert planes.grad is not None and conv.weight.grad is not None
    assert planes.grad.dtype == conv.weight.grad.dtype == torch.float32
