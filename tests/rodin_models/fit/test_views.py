"""Photographs of an avatar as tensors."""

import itertools

import pytest
import torch

from rodin_models.fit.views import Views


def _views() -> Views:
    generator = torch.Generator().manual_seed(0)
    rgba = torch.randint(256, (2, 3, 4, 4), generator=generator).to(torch.uint8)
    return Views(rgba, torch.eye(4).repeat(2, 1, 1), torch.tensor([4.0, 4, 2, 1.5]).repeat(2, 1))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_recolouring_moves_channels_and_can_be_undone(order):
    views = _views()
    other = views.recoloured(order)
    for place, channel in enumerate(order):
        assert torch.equal(other.rgba[..., place], views.rgba[..., channel])
    assert torch.equal(other.masks(), views.masks()) and torch.equal(other.rgba[..., 3], views.rgba[..., 3])
    back = [order.index(channel) for channel in range(3)]
    assert torch.equal(other.recoloured(back).rgba, views.rgba)


def test_an_order_has_each_channel_once():
    with pytest.raises(ValueError, match=r"\(0, 1, 1\) is no order of the channels 0, 1, 2"):
        _views().recoloured((0, 1, 1))
