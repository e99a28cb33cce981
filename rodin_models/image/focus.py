"""What an edit changes in a picture, where it changes much: the rest is what drawing twice makes of a moved latent."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.image.augment import blur

REACH: Final = 1 / 43
"""Deviation of the blur by which a change is seen, as a share of the side."""
CUT_OFF: Final = 1.75
"""Deviations after which the blur ends: what is farther away is another change."""
MOST: Final = 0.98
"""Quantile of a picture's changes that is its largest: single pixels are passed over."""
WHOLE: Final = 2.5
"""Times the least share, from where on a change is taken whole."""


def focused(change: Float[Tensor, "b c h w"], least: float) -> Float[Tensor, "b c h w"]:
    """Changes of pictures without those that are small beside their largest.

    With s the size of a change around a pixel over the picture's largest, it is multiplied by
    (s / least - 1) / (``WHOLE`` - 1), kept within 0 and 1. ``least`` 0 leaves all as it is.
    """
    if least <= 0:
        return change
    size = change.abs().amax(1, keepdim=True)
    size = blur(size, torch.full((len(size),), REACH * size.shape[-1], device=size.device), CUT_OFF)
    largest = size.flatten(1).quantile(MOST, dim=1).clamp(min=1e-6)[:, None, None, None]
    return change * ((size / largest / least - 1) / (WHOLE - 1)).clamp(0, 1)
