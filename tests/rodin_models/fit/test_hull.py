import numpy as np
import pytest
import torch
from support.textured_ellipsoid import contains, make_views

from rodin_models.field import occupancy as O
from rodin_models.fit import hull as H


@pytest.fixture(scope="module")
def views():
    return make_views(12, size=40)


def test_the_hull_contains_the_true_shape_and_little_else(views):
    side = 32
    hull = H.visual_hull(views.masks(), views.cam2world, views.intrinsics, side)
    points = np.random.default_rng(0).random((20000, 3)) * 2 - 1
    inside, points = torch.from_numpy(contains(points)), torch.from_numpy(points).float()
    in_hull = hull.reshape(-1)[O.cell_index(points, side)]
    assert in_hull[inside].all()
    assert in_hull.float().mean() < 3 * inside.float().mean()


def test_carving_from_coarse_to_fine_loses_no_cell(views):
    fine = H.visual_hull(views.masks(), views.cam2world, views.intrinsics, 64)
    coarse = H.visual_hull(views.masks(), views.cam2world, views.intrinsics, 16)
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
        ball = H._project_balls(O.cell_centres(cells, side), 3**0.5 / side, matrix, pinhole, 40, 40)
        keep &= ~ball.whole | H.dilate_mask(mask, ball.reach)[ball.row.clamp(0, 39), ball.column.clamp(0, 39)]
    hull = H.visual_hull(masks, views.cam2world, views.intrinsics, side)
    assert torch.equal(hull.reshape(-1), keep)
    assert 0 < keep.float().mean() < 1


def test_surface_cells_are_where_the_surface_is():
    views = make_views(12, size=80, depth=True)
    surface = H.surface_cells(views.depth, views.cam2world, views.intrinsics, 16)
    corners = (torch.ones(16, 16, 16).nonzero()[:, None] + torch.ones(2, 2, 2).nonzero()) / 8 - 1
    inside = torch.from_numpy(contains(corners.double().numpy()))
    crossed = (inside.any(-1) & ~inside.all(-1)).reshape(16, 16, 16)
    assert (crossed & surface).sum() > 0.9 * crossed.sum()
    assert (surface <= O.dilate(crossed)).all()


def test_what_photographs_look_through_is_empty_and_nothing_else_is():
    views = make_views(12, size=80, depth=True)
    side = 32
    full = torch.ones(side, side, side, dtype=torch.bool)
    surface = H.surface_cells(views.depth, views.cam2world, views.intrinsics, side)
    through = H.seen_through(views.depth, views.cam2world, views.intrinsics, full, surface)
    inside = torch.from_numpy(contains(O.cell_centres(full.nonzero(), side).double().numpy())).reshape(full.shape)
    assert not (through & inside).any()
    assert not (through & O.dilate(surface)).any()
    assert not H.seen_through(views.depth, views.cam2world, views.intrinsics, inside, surface).any()

    # One wall at z = 0, seen from (0, 0, 3): what stands before it is empty, what lies behind it may be anything.
    wall = torch.full((1, 80, 80), 3.0)
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None]
    camera[0, 2, 3] = 3.0
    pinhole = torch.tensor([[80.0, 80.0, 40.0, 40.0]])
    surface = H.surface_cells(wall, camera, pinhole, side)
    through = H.seen_through(wall, camera, pinhole, full, surface)
    x, y, z = O.cell_centres(full.nonzero(), side).reshape(side, side, side, 3).unbind(-1)
    shown = torch.maximum(x.abs(), y.abs()) < 0.45 * (3 - z)
    assert through[shown & (z > 4 / side + 2 * 3**0.5 / side)].all()
    assert not through[z < 0].any()


def test_what_no_view_shows_is_kept(views):
    aside = views.intrinsics.clone()
    aside[:, 2] = -1000.0  # the whole cube lies beyond the images' left border
    empty = torch.zeros_like(views.masks())
    assert H.visual_hull(empty, views.cam2world, aside, 16).all()
    assert not H.visual_hull(empty, views.cam2world, views.intrinsics, 16).any()


def test_a_mask_grows_to_its_diagonals():
    mask = torch.zeros(7, 7, dtype=torch.bool)
    mask[3, 3] = True
    assert H.dilate_mask(mask, 2).sum() == 25
