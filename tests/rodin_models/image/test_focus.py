"""Changes of a picture: the large ones stay, the small ones go, by hand."""

import torch

from rodin_models.image.focus import WHOLE, focused


def changes() -> torch.Tensor:
    """A garment's change of one half of a picture, and a twentieth of it in the other half."""
    change = torch.full((2, 3, 64, 64), 0.02)
    change[:, :, 32:] = -0.4
    return change * torch.tensor([1.0, 0.1])[:, None, None, None]


def test_a_small_change_goes_and_a_large_one_stays_whole_however_large_it_is_in_all():
    change = changes()
    kept = focused(change, 0.2)
    assert (kept[:, :, :28] == 0).all()
    torch.testing.assert_close(kept[:, :, 36:], change[:, :, 36:])
    torch.testing.assert_close(kept[1], 0.1 * kept[0])
    assert focused(change, 0.0) is change


def test_between_the_two_changes_are_weighed_by_their_size():
    change = torch.ones(1, 3, 64, 64)
    share = 0.2 * (1 + WHOLE) / 2
    change[:, :, :, :32] = share
    kept = focused(change, 0.2)
    torch.testing.assert_close(kept[:, :, :, :26], torch.full((1, 3, 64, 26), share / 2))


def test_one_pixel_is_not_the_largest_change_and_nothing_stays_nothing():
    change = changes()[:1]
    change[0, :, 3, 3] = 1.0
    torch.testing.assert_close(focused(change, 0.2)[:, :, 36:], change[:, :, 36:])
    assert (focused(torch.zeros(1, 3, 32, 32), 0.2) == 0).all()
