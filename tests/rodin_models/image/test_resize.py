"""Pictures at another size."""

import pytest
import torch

from rodin_models.image.resize import at_side, resized_square, squared


@pytest.mark.parametrize(("height", "width"), [(4, 4), (6, 3), (3, 8)])
def test_a_padded_picture_stands_in_the_middle_of_white(height: int, width: int) -> None:
    square = squared(torch.zeros(1, 3, height, width))
    side = max(height, width)
    assert square.shape == (1, 3, side, side)
    rows, columns = (square[0, 0] == 0).any(1).nonzero(), (square[0, 0] == 0).any(0).nonzero()
    assert (len(rows), len(columns)) == (height, width)
    assert int(square[0, 0].sum()) == side * side - height * width
    assert int(rows[0]) == (side - height) // 2 and int(columns[0]) == (side - width) // 2


def test_areas_keep_the_mean() -> None:
    picture = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(resized_square(picture, 4), picture.reshape(2, 3, 4, 2, 4, 2).mean((3, 5)))


def test_another_side_stays_in_range_and_keeps_what_is_smooth() -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
    smaller = at_side(ramp, 16)
    assert torch.allclose(smaller[:, :, 2:-2], ramp.reshape(3, 16, 4, 16, 4).mean((2, 4))[:, :, 2:-2], atol=1e-4)
    checks = torch.kron(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(4, 4), torch.ones(4, 4)).expand(3, 32, 32)
    enlarged = at_side(checks, 48)  # a cubic overshoots there
    assert float(enlarged.min()) == 0 and float(enlarged.max()) == 1
    assert at_side(ramp, 64) is ramp
