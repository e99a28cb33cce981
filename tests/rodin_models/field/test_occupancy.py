import pytest
import torch
from torch.nn import functional as F

from rodin_models.field import occupancy as O


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
