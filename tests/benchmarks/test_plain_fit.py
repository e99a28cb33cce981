import math

import torch

from benchmarks.plain_fit import importance_samples, render_hierarchical, stratified_samples
from rodin_models.field.rays import Rays


def test_importance_samples_go_where_the_weight_is():
    near, far = torch.zeros(1), torch.ones(1)
    coarse = stratified_samples(near, far, 10, None)
    weights = torch.zeros(1, 10)
    weights[0, 3] = 1.0
    both = importance_samples(near, far, coarse, weights, 40, torch.Generator().manual_seed(0))
    assert both.distances.shape == (1, 50)
    assert (both.distances.diff(dim=-1) >= 0).all()
    inside = ((both.distances >= 0.3) & (both.distances <= 0.4)).sum()
    assert inside >= 40
    assert torch.allclose(both.lengths.sum(1), torch.ones(1))
    assert (both.lengths >= 0).all()


def _ball(points, directions):
    """A dense ball of radius 0.5 whose colour is its height."""
    density = 200.0 * (points.norm(dim=-1) < 0.5)
    return density, (points[..., 1:2] * 0.5 + 0.5).expand(*points.shape[:-1], 3)


def test_few_samples_find_a_ball_where_they_weigh_most():
    rays = Rays(
        torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.8, 3.0]]), torch.tensor([[0.0, 0, -1]]).expand(2, 3), torch.ones(2)
    )
    near, far = torch.full((2,), 2.0), torch.full((2,), 4.0)
    few = render_hierarchical(_ball, rays, near, far, 32, 32, torch.Generator().manual_seed(0))
    assert torch.allclose(few.alpha, torch.tensor([1.0, 0.0]), atol=1e-3)
    assert math.isclose(float(few.distance[0]), 2.5, abs_tol=0.05)
    assert torch.allclose(few.rgb[0], torch.full((3,), 0.5), atol=1e-3)


def test_stratified_samples_fill_the_interval():
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 6.0])
    middle = stratified_samples(near, far, 4, None)
    assert torch.allclose(middle.distances[1], torch.tensor([2.5, 3.5, 4.5, 5.5]))
    assert torch.allclose(middle.lengths.sum(1), far - near)
    drawn = stratified_samples(near, far, 4, torch.Generator().manual_seed(0))
    assert ((drawn.distances - middle.distances).abs() <= middle.lengths / 2).all()
    assert not torch.equal(drawn.distances, middle.distances)
