import numpy as np
import pytest
import torch
from support.textured_ellipsoid import contains, make_views
from torch.nn import functional as F

from rodin_models.field import occupancy as O
from rodin_models.field.rays import Rays, image_rays, intersect_cube, stratified_samples


@pytest.fixture(scope="module")
def views():
    return make_views(12, size=40)


def test_the_hull_contains_the_true_shape_and_little_else(views):
    side = 32
    hull = O.visual_hull(views.masks(), views.cam2world, views.intrinsics, side)
    points = np.random.default_rng(0).random((20000, 3)) * 2 - 1
    inside, points = torch.from_numpy(contains(points)), torch.from_numpy(points).float()
    in_hull = hull.reshape(-1)[O.cell_index(points, side)]
    assert in_hull[inside].all()
    assert in_hull.float().mean() < 3 * inside.float().mean()


def test_carving_from_coarse_to_fine_loses_no_cell(views):
    fine = O.visual_hull(views.masks(), views.cam2world, views.intrinsics, 64)
    coarse = O.visual_hull(views.masks(), views.cam2world, views.intrinsics, 16)
    parents = coarse.repeat_interleave(4, 0).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert (fine <= parents).all()
    assert fine.float().mean() < coarse.float().mean()


def test_carving_asks_every_pixel_that_a_cell_may_touch():
    """On masks of scattered pixels, against dilated masks: the plain way to say the same."""
    views = make_views(6, size=40, seed=3)
    masks = torch.rand(views.masks().shape, generator=torch.Generator().manual_seed(0)) < 0.01
    side = 16
    cells = torch.ones(side, side, side, dtype=torch.bool).nonzero()
    keep = torch.ones(len(cells), dtype=torch.bool)
    for mask, matrix, pinhole in zip(masks, views.cam2world, views.intrinsics, strict=True):
        ball = O._project_balls(O.cell_centres(cells, side), 3**0.5 / side, matrix, pinhole, 40, 40)
        keep &= ~ball.whole | O.dilate_mask(mask, ball.reach)[ball.row.clamp(0, 39), ball.column.clamp(0, 39)]
    hull = O.visual_hull(masks, views.cam2world, views.intrinsics, side)
    assert torch.equal(hull.reshape(-1), keep)
    assert 0 < keep.float().mean() < 1


def test_surface_cells_are_where_the_surface_is():
    views = make_views(12, size=80, depth=True)
    surface = O.surface_cells(views.depth, views.cam2world, views.intrinsics, 16)
    corners = (torch.ones(16, 16, 16).nonzero()[:, None] + torch.ones(2, 2, 2).nonzero()) / 8 - 1
    inside = torch.from_numpy(contains(corners.double().numpy()))
    crossed = (inside.any(-1) & ~inside.all(-1)).reshape(16, 16, 16)
    assert (crossed & surface).sum() > 0.9 * crossed.sum()
    assert (surface <= O.dilate(crossed)).all()


def test_what_photographs_look_through_is_empty_and_nothing_else_is():
    views = make_views(12, size=80, depth=True)
    side = 32
    full = torch.ones(side, side, side, dtype=torch.bool)
    surface = O.surface_cells(views.depth, views.cam2world, views.intrinsics, side)
    through = O.seen_through(views.depth, views.cam2world, views.intrinsics, full, surface)
    inside = torch.from_numpy(contains(O.cell_centres(full.nonzero(), side).double().numpy())).reshape(full.shape)
    assert not (through & inside).any()
    assert not (through & O.dilate(surface)).any()
    assert not O.seen_through(views.depth, views.cam2world, views.intrinsics, inside, surface).any()

    # One wall at z = 0, seen from (0, 0, 3): what stands before it is empty, what lies behind it may be anything.
    wall = torch.full((1, 80, 80), 3.0)
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None]
    camera[0, 2, 3] = 3.0
    pinhole = torch.tensor([[80.0, 80.0, 40.0, 40.0]])
    surface = O.surface_cells(wall, camera, pinhole, side)
    through = O.seen_through(wall, camera, pinhole, full, surface)
    x, y, z = O.cell_centres(full.nonzero(), side).reshape(side, side, side, 3).unbind(-1)
    shown = torch.maximum(x.abs(), y.abs()) < 0.45 * (3 - z)
    assert through[shown & (z > 4 / side + 2 * 3**0.5 / side)].all()
    assert not through[z < 0].any()


def test_what_no_view_shows_is_kept(views):
    aside = views.intrinsics.clone()
    aside[:, 2] = -1000.0  # the whole cube lies beyond the images' left border
    empty = torch.zeros_like(views.masks())
    assert O.visual_hull(empty, views.cam2world, aside, 16).all()
    assert not O.visual_hull(empty, views.cam2world, views.intrinsics, 16).any()


def test_cell_index_and_centres_agree():
    cells = torch.tensor([[0, 0, 0], [3, 1, 2], [7, 7, 7]])
    index = O.cell_index(O.cell_centres(cells, 8), 8)
    assert index.tolist() == [0, 3 * 64 + 1 * 8 + 2, 511]
    assert torch.allclose(O.cell_centres(cells, 8)[1], torch.tensor([-1 + 7 / 8, -1 + 3 / 8, -1 + 5 / 8]))


def test_the_box_around_a_grid():
    grid = torch.zeros(8, 8, 8, dtype=torch.bool)
    grid[2:4, 5, 6] = True
    box = O.make_occupancy(grid)
    assert torch.allclose(box.low, torch.tensor([-0.5, 0.25, 0.5]))
    assert torch.allclose(box.high, torch.tensor([0.0, 0.5, 0.75]))
    assert box.cell == 0.25


def test_dilation_reaches_diagonals():
    grid = torch.zeros(5, 5, 5, dtype=torch.bool)
    grid[2, 2, 2] = True
    assert O.dilate(grid).sum() == 27
    mask = torch.zeros(7, 7, dtype=torch.bool)
    mask[3, 3] = True
    assert O.dilate_mask(mask, 2).sum() == 25


@pytest.mark.parametrize("cells", [0, 1, 2, 7])
def test_dilation_is_the_maximum_over_a_window(cells):
    grid = torch.rand(6, 8, 5, generator=torch.Generator().manual_seed(cells)) > 0.97
    before = grid.clone()
    wide = F.max_pool3d(grid[None, None].float(), 2 * cells + 1, stride=1, padding=cells)[0, 0] > 0
    assert torch.equal(O.dilate(grid, cells), wide)
    assert torch.equal(grid, before)


def _rays(count):
    generator = torch.Generator().manual_seed(0)
    origins = torch.tensor([0.3, 0.2, 4.0]).expand(count, 3)
    targets = torch.rand(count, 3, generator=generator) - 0.5
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1), torch.ones(count))


def test_samples_lie_in_occupied_cells_and_their_lengths_add_up(views):
    hull = O.make_occupancy(O.visual_hull(views.masks(), views.cam2world, views.intrinsics, 32))
    rays = image_rays(views.cam2world[0], views.intrinsics[0], 40, 40)
    placed = O.march(rays, hull, 12, torch.Generator().manual_seed(0))
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
    placed = O.march(rays, O.make_occupancy(grid), 10, None)
    # Five cells of 1/8 along the ray: one near z = 1/2 to 5/8, four from -1/2 to 0.
    assert torch.allclose(placed.lengths.sum(), torch.tensor(5 / 8), atol=0.07)
    z = 3 - placed.distances[0]
    assert (((z > 0.49) & (z < 0.64)) | ((z > -0.51) & (z < 0.01))).all()
    assert ((z > 0.4).sum(), (z < 0.1).sum()) == (2, 8)


def test_nothing_occupied_gives_samples_without_length():
    placed = O.march(_rays(5), O.make_occupancy(torch.zeros(8, 8, 8, dtype=torch.bool)), 4, None)
    assert placed.distances.isfinite().all()
    assert (placed.lengths == 0).all()


def test_the_whole_cube_is_stratified_sampling():
    rays = _rays(50)
    placed = O.march(rays, O.full_occupancy(torch.device("cpu")), 8, None)
    expected = stratified_samples(*intersect_cube(rays), 8, None)
    assert torch.allclose(placed.distances, expected.distances, atol=1e-5)
    assert torch.allclose(placed.lengths, expected.lengths, atol=1e-6)


def test_a_fields_occupancy_surrounds_its_matter():
    found = O.field_occupancy(lambda p: 50.0 * (p.norm(dim=-1) < 0.5), 32, 0.01, torch.device("cpu"))
    centres = O.cell_centres(torch.ones(32, 32, 32).nonzero(), 32).reshape(32, 32, 32, 3)
    assert found.grid[centres.norm(dim=-1) < 0.5].all()
    assert not found.grid[centres.norm(dim=-1) > 0.5 + 2 * found.cell * 3**0.5].any()
