import pytest
import torch
from support.textured_ellipsoid import make_views

from benchmarks.plain_fit import intersect_cube, stratified_samples
from rodin_models.field import occupancy as O
from rodin_models.field.march import march
from rodin_models.field.rays import Rays, image_rays
from rodin_models.fit.hull import visual_hull


@pytest.fixture(scope="module")
def views():
    return make_views(12, size=40)


def _rays(count):
    generator = torch.Generator().manual_seed(0)
    origins = torch.tensor([0.3, 0.2, 4.0]).expand(count, 3)
    targets = torch.rand(count, 3, generator=generator) - 0.5
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1), torch.ones(count))


def test_samples_lie_in_occupied_cells_and_their_lengths_add_up(views):
    hull = O.make_occupancy(visual_hull(views.masks(), views.cam2world, views.intrinsics, 32))
    rays = image_rays(views.cam2world[0], views.intrinsics[0], 40, 40)
    placed = march(rays, hull, 12, torch.Generator().manual_seed(0))
    hit = placed.lengths[:, 0] > 0
    assert hit[views.masks()[0].reshape(-1)].all()
    assert not hit.all()
    points = rays.origins[:, None] + placed.distances[..., None] * rays.directions[:, None]
    occupied = hull.grid.reshape(-1)[O.cell_index(points, 32)]
    # A piece is judged by its middle, so a sample near its end may lie just across a cell's face.
    assert occupied[hit].float().mean() > 0.95
    assert O.dilate(hull.grid).reshape(-1)[O.cell_index(points, 32)][hit].all()
    assert (placed.distances.diff(dim=-1)[hit] >= 0).all()


def test_a_slab_is_as_long_as_it_is():
    grid = torch.zeros(16, 16, 16, dtype=torch.bool)
    grid[:, :, 4:8] = True
    grid[:, :, 12] = True
    rays = Rays(torch.tensor([[0.1, 0.1, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]), torch.ones(1))
    placed = march(rays, O.make_occupancy(grid), 10, None)
    # Five cells of 1/8 along the ray: one near z = 1/2 to 5/8, four from -1/2 to 0.
    assert torch.allclose(placed.lengths.sum(), torch.tensor(5 / 8), atol=0.07)
    z = 3 - placed.distances[0]
    assert (((z > 0.49) & (z < 0.64)) | ((z > -0.51) & (z < 0.01))).all()
    assert ((z > 0.4).sum(), (z < 0.1).sum()) == (2, 8)


def test_nothing_occupied_gives_samples_without_length():
    placed = march(_rays(5), O.make_occupancy(torch.zeros(8, 8, 8, dtype=torch.bool)), 4, None)
    assert placed.distances.isfinite().all()
    assert (placed.lengths == 0).all()


def test_the_whole_cube_is_stratified_sampling():
    rays = _rays(50)
    placed = march(rays, O.make_occupancy(torch.ones(32, 32, 32, dtype=torch.bool)), 8, None)
    expected = stratified_samples(*intersect_cube(rays), 8, None)
    assert torch.allclose(placed.distances, expected.distances, atol=1e-5)
    assert torch.allclose(placed.lengths, expected.lengths, atol=1e-6)
