"""Eigen-planes and the linear model, against what they are defined as."""

import pytest
import torch

from rodin_models.checkpoint import load_state, save_state
from rodin_models.diffusion import eigen_planes
from rodin_models.diffusion.eigen_planes import principal_components
from rodin_models.diffusion.linear import LinearModel, fit_linear
from rodin_models.field.triplane import downsample, mirrored, resized, sample_planes_reference

SHAPE = (3, 2, 4, 4)


def people(num, dim=3, noise=0.05, seed=0):
    """Planes that follow latents linearly, but for some noise."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn((num, dim), generator=generator)
    way = torch.randn((dim, *SHAPE), generator=generator)
    planes = torch.tensordot(latents, way, dims=1) + 0.7 + noise * torch.randn((num, *SHAPE), generator=generator)
    return planes, latents


def reader(planes):
    """Planes read in blocks."""
    return lambda first, last: planes[first:last]


@pytest.mark.parametrize("block", [2, 5, 128])
def test_components_are_the_singular_vectors_of_the_centred_planes(monkeypatch, block):
    monkeypatch.setattr(eigen_planes, "BLOCK", block)
    planes, _ = people(7)
    eigen, coefficients = principal_components(reader(planes), 7, 4)
    centred = (planes - planes.mean(0)).double().flatten(1)
    _, singular, right = torch.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(eigen.spread.double(), singular[:4] / 6**0.5, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        (eigen.components.double().flatten(1) @ right[:4].T).abs(), torch.eye(4).double(), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(eigen.coefficients(planes).double(), coefficients, rtol=1e-4, atol=1e-4)


def test_all_components_give_the_planes_back_and_no_more_are_kept_than_there_are():
    planes, _ = people(6)
    eigen, coefficients = principal_components(reader(planes), 6, 50)
    assert eigen.components.shape == (5, *SHAPE), "six avatars less their mean span five dimensions"
    torch.testing.assert_close(eigen.planes(coefficients.float()), planes, rtol=1e-4, atol=1e-4)


def test_one_avatar_has_no_components():
    planes, _ = people(1)
    with pytest.raises(ValueError, match="of 1 avatars"):
        principal_components(reader(planes), 1, 4)


def test_a_gaussian_has_the_people_s_mean_and_spread():
    planes, _ = people(40)
    eigen, _ = principal_components(reader(planes), 40, 50)
    drawn = eigen.gaussian(20_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), planes.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(drawn.std(0), planes.std(0), rtol=0.1, atol=0.02)


def test_what_is_predicted_without_an_avatar_is_what_a_fit_on_the_others_predicts():
    planes, latents = people(12, noise=0.5)
    fit = fit_linear(reader(planes), latents, 50)
    z = fit.model.latents.normalise(latents).double()
    for left_out in (0, 7):
        others = [i for i in range(12) if i != left_out]
        known, mean = z[others], planes[others].double().mean(0)
        centred = known - known.mean(0)
        square = centred.T @ centred + fit.ridge * torch.eye(z.shape[1]).double()
        weight = torch.linalg.solve(square, centred.T @ (planes[others].double() - mean).flatten(1))
        expected = mean.flatten() + (z[left_out] - known.mean(0)) @ weight
        found = fit.model.eigen.planes(fit.unseen[left_out : left_out + 1])[0].double().flatten()
        # Both lie in the span of the avatars only up to what the left-out one adds to it.
        torch.testing.assert_close(
            fit.model.eigen.coefficients(expected.view(1, *SHAPE).float()),
            fit.model.eigen.coefficients(found.view(1, *SHAPE).float()),
            rtol=1e-3,
            atol=1e-3,
        )


def test_a_mirror_image_does_not_give_its_person_away():
    generator = torch.Generator().manual_seed(3)
    planes = torch.randn((8, *SHAPE), generator=generator)
    latents = torch.randn((8, 20), generator=generator)
    twice, both = torch.cat((planes, planes)), torch.cat((latents, latents + 0.01))
    assert fit_linear(reader(twice), both, 50).explained > 0.9, "each is there a second time"
    fit = fit_linear(reader(twice), both, 50, mirrored=True)
    assert fit.explained < 0.1
    z = fit.model.latents.normalise(both).double()
    others = [i for i in range(16) if i % 8 != 2]
    known = z[others] - z[others].mean(0)
    mean = twice[others].double().mean(0)
    square = known.T @ known + fit.ridge * torch.eye(20).double()
    weight = torch.linalg.solve(square, known.T @ (twice[others].double() - mean).flatten(1))
    for row in (2, 10):
        expected = mean.flatten() + (z[row] - z[others].mean(0)) @ weight
        coefficients = fit.model.eigen.coefficients(expected.view(1, *SHAPE).float())
        torch.testing.assert_close(coefficients[0], fit.unseen[row], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="as many mirror images"):
        fit_linear(reader(planes[:7]), latents[:7], 50, mirrored=True)


def test_it_predicts_strangers_that_follow_the_same_law(tmp_path):
    planes, latents = people(60)
    strangers, unknown = planes[40:], latents[40:]
    fit = fit_linear(reader(planes[:40]), latents[:40], 50)
    assert fit.explained > 0.95
    error = (fit.model.predict(unknown) - strangers).square().mean()
    assert error < 0.02 * (strangers - planes[:40].mean(0)).square().mean()
    torch.testing.assert_close(error.sqrt(), fit.model.residual.square().mean().sqrt(), rtol=0.3, atol=0)
    save_state(tmp_path, {"linear": fit.model.tree()})
    again = LinearModel.from_tree(load_state(tmp_path)["linear"])
    assert torch.equal(again.predict(unknown), fit.model.predict(unknown))


def test_latents_that_say_nothing_are_not_believed():
    planes, _ = people(30)
    fit = fit_linear(reader(planes), torch.randn((30, 3), generator=torch.Generator().manual_seed(5)), 50)
    assert fit.explained < 0.1 and fit.model.weight.abs().max() < 0.2


def test_mirrored_planes_are_read_at_mirrored_points():
    planes, _ = people(1)
    points = 2 * torch.rand((50, 3), generator=torch.Generator().manual_seed(2)) - 1
    expected = sample_planes_reference(planes[0], points * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(sample_planes_reference(mirrored(planes)[0], points), expected)
    assert torch.equal(mirrored(mirrored(planes)), planes)


def test_full_planes_are_the_mean_where_it_is_predicted_and_move_with_the_prediction():
    planes, latents = people(12)
    model = fit_linear(reader(planes), latents, 5).model
    mean = torch.randn((3, 2, 8, 8), generator=torch.Generator().manual_seed(3))
    side = SHAPE[-1]
    expected = model.eigen.mean.clone()
    model.eigen.mean.copy_(downsample(mean, side))
    average = latents.mean(0, keepdim=True)
    torch.testing.assert_close(model.full_planes(average, mean)[0], mean, rtol=0, atol=1e-4)
    model.eigen.mean.copy_(expected)
    full = model.full_planes(latents[:2], mean)
    moved = torch.stack([resized(step, 8) for step in model.predict(latents[:2]) - downsample(mean, side)])
    torch.testing.assert_close(full - mean, moved)
    assert full.shape == (2, 3, 2, 8, 8) and not torch.allclose(full[0], full[1], atol=0.1)
