import math

import torch

from benchmarks.plain_fit import stratified_samples
from rodin_models.field.rays import Rays, RaySamples
from rodin_models.field.volume import composite, render_samples


def test_two_samples_by_hand():
    samples = RaySamples(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 1.0]]))
    density = torch.tensor([[2 * math.log(2), math.log(4)]])
    rgb = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    pixels = composite(density, rgb, samples)
    # Thickness ln 2 lets half through; ln 4 a quarter of that.
    assert torch.allclose(pixels.weights, torch.tensor([[1 / 2, 1 / 2 * 3 / 4]]))
    assert torch.allclose(pixels.alpha, torch.tensor([7 / 8]))
    assert torch.allclose(pixels.rgb, torch.tensor([[1 / 2, 3 / 8, 0]]))
    assert torch.allclose(pixels.distance, torch.tensor([1 / 2 * 1 + 3 / 8 * 2]))
    assert torch.allclose(pixels.over(1.0), torch.tensor([[1 / 2 + 1 / 8, 3 / 8 + 1 / 8, 1 / 8]]))


def test_weights_sum_to_opacity():
    generator = torch.Generator().manual_seed(0)
    density = torch.rand(50, 20, generator=generator, dtype=torch.float64) * 30
    lengths = torch.rand(50, 20, generator=generator, dtype=torch.float64)
    samples = RaySamples(lengths.cumsum(-1), lengths)
    pixels = composite(density, torch.ones(50, 20, 3, dtype=torch.float64), samples)
    assert torch.allclose(pixels.weights.sum(-1), pixels.alpha)
    assert torch.allclose(pixels.alpha, 1 - torch.exp(-(density * lengths).sum(-1)))
    assert torch.allclose(pixels.rgb, pixels.alpha[:, None].expand(50, 3))
    assert (pixels.weights >= 0).all()


def test_samples_without_length_weigh_nothing():
    samples = RaySamples(torch.ones(1, 3), torch.zeros(1, 3))
    assert float(composite(torch.full((1, 3), 1e6), torch.ones(1, 3, 3), samples).alpha) == 0


def _ball(points, directions):
    """A dense ball of radius 0.5 whose colour is its height."""
    density = 200.0 * (points.norm(dim=-1) < 0.5)
    return density, (points[..., 1:2] * 0.5 + 0.5).expand(*points.shape[:-1], 3)


def test_any_callable_is_a_field():
    rays = Rays(
        torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.8, 3.0]]), torch.tensor([[0.0, 0, -1]]).expand(2, 3), torch.ones(2)
    )
    near, far = torch.full((2,), 2.0), torch.full((2,), 4.0)
    many = render_samples(_ball, rays, stratified_samples(near, far, 2000, None))
    assert torch.allclose(many.alpha, torch.tensor([1.0, 0.0]))
    assert math.isclose(float(many.distance[0]), 2.5, abs_tol=0.01)
