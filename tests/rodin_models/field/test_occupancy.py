import pytest
import torch
from torch.nn import functional as F

from rodin_models.field import occupancy as O


def test_cell_index_and_centres_agree():
    cells = torch.tensor([[0, 0, 0], [3, 1, 2], [7, 7, 7]])
    index = O.cell_index(O.cell_centres(cells, 8), 8)
    assert index.tolist() == [0, 3 * 64 + 1 * 8 + 2, 511]
    assert torch.allclose(O.cell_centres(cells, 8)[1], torch.tensor([-1 + 7 / 8, -1 + 3 / 8, -1 + 5 / 8]))


def test_what_floats_beside_a_body_is_left_out():
    """A solid ball, a wisp beside it, a wisp close to it, and a second ball that is large enough."""
    side = 64
    density = torch.zeros(side, side, side)
    centres = O.cell_centres(torch.ones_like(density).nonzero(), side).reshape(side, side, side, 3)

    def ball(x, radius):
        return (centres - torch.tensor([x, 0.0, 0.0])).norm(dim=-1) < radius

    body, second = ball(-0.4, 0.3), ball(0.8, 0.15)
    far, near = ball(0.3, 0.05), ball(-0.04, 0.03)
    density[body | second] = 50.0
    density[far | near] = 2.0  # a twentieth of a cell is covered
    occupancy = O.make_occupancy(density > 0, density)
    kept = O.attached(occupancy)
    assert kept.grid[body].all() and kept.grid[second].all() and kept.grid[near].any()
    assert not kept.grid[far].any() and (kept.density[far] < 0).all()
    alone = O.attached(occupancy, share=0.5)
    assert alone.grid[body].all() and not alone.grid[second].any()
    faint = O.make_occupancy(density > 0, density / 100)
    assert torch.equal(O.attached(faint).grid, faint.grid), "nothing is solid"


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


@pytest.mark.parametrize("cells", [0, 1, 2, 7])
def test_dilation_is_the_maximum_over_a_window(cells):
    grid = torch.rand(6, 8, 5, generator=torch.Generator().manual_seed(cells)) > 0.97
    before = grid.clone()
    wide = F.max_pool3d(grid[None, None].float(), 2 * cells + 1, stride=1, padding=cells)[0, 0] > 0
    assert torch.equal(O.dilate(grid, cells), wide)
    assert torch.equal(grid, before)


def test_a_fields_occupancy_surrounds_its_matter():
    found = O.field_occupancy(lambda p: 50.0 * (p.norm(dim=-1) < 0.5), 32, 0.01, torch.device("cpu"))
    centres = O.cell_centres(torch.ones(32, 32, 32).nonzero(), 32).reshape(32, 32, 32, 3)
    assert found.grid[centres.norm(dim=-1) < 0.5].all()
    assert not found.grid[centres.norm(dim=-1) > 0.5 + 2 * found.cell * 3**0.5].any()
