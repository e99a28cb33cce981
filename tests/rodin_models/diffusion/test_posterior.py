"""Planes that a picture makes most probable, against the closed form that there is where rendering is linear."""

import pytest
import torch

from rodin_models.diffusion.linear import LinearModel, fit_linear
from rodin_models.diffusion.posterior import Evidence, left_share, most_probable

SHAPE = (3, 2, 4, 4)
PIXELS = 5


@pytest.fixture(scope="module")
def linear() -> LinearModel:
    """Of 30 people whose planes follow three numbers for a part."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((30, 3), generator=generator)
    planes = torch.tensordot(latents, torch.randn((3, *SHAPE), generator=generator), dims=1)
    planes = planes + torch.randn((30, *SHAPE), generator=generator)
    return fit_linear(lambda first, last: planes[first:last], latents, 6).model


def evidence(weight: torch.Tensor, error: float = 0.5) -> tuple[Evidence, torch.Tensor]:
    """A picture whose pixels are linear in planes, and the matrix that makes it."""
    generator = torch.Generator().manual_seed(1)
    matrix = 0.2 * torch.randn((3 * PIXELS, torch.Size(SHAPE).numel()), generator=generator)
    pixels = torch.randn((PIXELS, 3), generator=generator)
    return Evidence(lambda planes: (matrix @ planes.flatten()).view(PIXELS, 3), pixels, weight, error), matrix


@pytest.mark.parametrize("known", [PIXELS, 3])
def test_with_a_linear_picture_they_are_those_of_the_normal_equations(linear, known):
    weight = (torch.arange(PIXELS) < known).float()
    seen, matrix = evidence(weight)
    predicted = linear.eigen.mean
    basis = (left_share(linear) ** 0.5 * linear.eigen.spread)[:, None] * linear.eigen.components.flatten(1)
    way = matrix @ basis.T
    each = weight.repeat_interleave(3)[:, None] / seen.error**2
    rest = seen.pixels.flatten() - matrix @ predicted.flatten()
    deviations = torch.linalg.solve(way.T @ (each * way) + torch.eye(6), way.T @ (each[:, 0] * rest))
    expected = predicted + (deviations @ basis).view(SHAPE)
    found = most_probable(linear, predicted, seen, 40)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3 * float(expected.std()))
    assert not found.requires_grad


def test_with_free_texels_they_are_those_of_the_normal_equations_of_both(linear):
    seen, matrix = evidence(torch.ones(PIXELS))
    predicted = linear.eigen.mean
    basis = (left_share(linear) ** 0.5 * linear.eigen.spread)[:, None] * linear.eigen.components.flatten(1)
    both = torch.cat((basis, torch.diag(0.3 * linear.residual.flatten())))
    way = matrix @ both.T / seen.error
    rest = (seen.pixels.flatten() - matrix @ predicted.flatten()) / seen.error
    expected = predicted + (torch.linalg.solve(way.T @ way + torch.eye(len(both)), way.T @ rest) @ both).view(SHAPE)
    found = most_probable(linear, predicted, seen, 40, detail=0.3, detail_steps=60)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3 * float(expected.std()))
    eigen = most_probable(linear, predicted, seen, 40)
    assert seen.misfit(found) < seen.misfit(eigen) and not torch.allclose(found, eigen)
    assert torch.equal(most_probable(linear, predicted, seen, 40, detail=0.0, detail_steps=60), eigen)


def test_a_picture_of_which_nothing_is_known_changes_nothing(linear):
    seen, _ = evidence(torch.zeros(PIXELS))
    torch.testing.assert_close(most_probable(linear, linear.eigen.mean, seen, 5), linear.eigen.mean)


def test_a_few_steps_come_nearer_and_a_picture_less_believed_moves_planes_less(linear):
    moves = []
    for error in (0.3, 3.0):
        seen, _ = evidence(torch.ones(PIXELS), error)
        with torch.no_grad():
            found = most_probable(linear, linear.eigen.mean, seen, 30)
            assert seen.misfit(found) < seen.misfit(linear.eigen.mean)
        moves.append(float((found - linear.eigen.mean).norm()))
    assert moves[1] < 0.7 * moves[0]


def test_what_is_left_over_is_a_share_of_the_variance(linear):
    assert 0.1 < left_share(linear) < 1
    linear = LinearModel(linear.settings)
    assert left_share(linear) == 1, "nothing is known of people"
