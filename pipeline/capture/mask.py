"""Masks as people store them, read as how much of each pixel shows the object. numpy only.

A mask is black and white, at its edges in between. It may hold 0 and 1, or any two levels from 0 on, be a palette of
two colours, or have its object in its alpha (a cut-out, a white picture with alpha). What is something else is refused
by what was seen: a picture, ids of parts, depth, three areas. Whether white is the object or what lies around it
cannot be seen in one mask: :func:`looks_inverted` asks all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contracts.errors import DataError
from pipeline.picture_file import Picture, Pixels

FEW: Final = 32
"""Levels that end at this one or below are ids, unless there are two of them."""
THICK: Final = 0.25
"""A mask in which such a share of what is not black lies in areas between black and white is none."""
COLOURED: Final = 24
"""Levels by which the channels of a black and white picture differ at most, stored as JPEG."""
_GIVE: Final = "give masks that are black and white"


def read_mask(picture: Picture, tolerance: int, where: str) -> Pixels:
    """(height, width): 0 where the object is not, 255 where it fills the pixel. ``where`` begins the error.

    ``tolerance`` is by how many levels black and white may be off. Raises ``DataError`` for what is no mask.
    """
    if picture.alpha is not None and (picture.alpha < 255).any():
        return _from_alpha(picture.rgb, picture.alpha, where)
    levels = picture.rgb.max(-1)
    spread = levels - picture.rgb.min(-1)
    if spread.max() > COLOURED:
        colours = len(np.unique(picture.rgb.reshape(-1, 3)[:: max(1, levels.size // 100_000)], axis=0))
        if colours > 2:
            raise DataError(f"{where} is in {colours} colours, a picture or a map of parts: {_GIVE}")
    found = np.unique(levels)
    if len(found) == 1:
        return np.full(levels.shape, 255 if found[0] else 0, np.uint8)
    if len(found) == 2 and found[0] <= tolerance and (found[0] == 0 or found[1] > FEW):
        return np.where(levels == found[1], 255, 0).astype(np.uint8)
    if found[-1] <= FEW:
        raise DataError(f"{where} has levels from {found[0]} to {found[-1]} only, ids of parts or depths: {_GIVE}")
    # A mask kept as JPEG is neither quite black nor quite white.
    covered = np.where(levels <= tolerance, 0, levels)
    covered = np.where(covered >= 255 - tolerance, 255, covered).astype(np.uint8)
    between = _core((covered > 0) & (covered < 255)).sum()
    if between > THICK * (covered > 0).sum():
        raise DataError(
            f"{where} is grey in whole areas, {between / (covered > 0).sum():.0%} of what is not black: a picture, "
            "depths or "
            f"three areas; {_GIVE}, grey at edges only"
        )
    return covered


@dataclass(frozen=True)
class Coverage:
    """What one mask covers."""

    where: str
    border: float
    """Share of the picture's border."""
    middle: float
    """Share of the middle third of the picture each way."""
    all: float
    """Share of the picture."""

    @classmethod
    def of(cls, where: str, covered: Pixels) -> "Coverage":
        """Of a mask."""
        on = covered > 127
        border = np.concatenate((on[0], on[-1], on[:, 0], on[:, -1]))
        rows, columns = (slice(side // 3, side - side // 3) for side in on.shape)
        return cls(where, float(border.mean()), float(on[rows, columns].mean()), float(on.mean()))


def looks_inverted(coverages: Sequence[Coverage]) -> bool:
    """Whether masks cover most of the pictures' borders and leave something in the middle out, in most pictures."""
    inverted = [
        (mask.border > 0.85 and mask.middle < 0.5) or (mask.border > 0.995 and mask.all < 0.995) for mask in coverages
    ]
    return 2 * sum(inverted) > len(inverted)


def _from_alpha(rgb: Pixels, alpha: Pixels, where: str) -> Pixels:
    """A cut-out's alpha; refused where its colours are a mask too, and another one."""
    shown = rgb.max(-1)[alpha > 127]
    is_mask = len(shown) > 0 and np.isin(shown, (0, 255)).all()
    if is_mask and (shown == 0).mean() > 0.02:
        raise DataError(
            f"{where} says two things: it is black and white, and its alpha has other edges; take its alpha out, or "
            "give "
            "the object's alpha alone"
        )
    return alpha


def _core(area: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels all of whose neighbours are of the area too."""
    inside = np.pad(area, 1, constant_values=True)
    core = area.copy()
    for row in range(3):
        for column in range(3):
            core &= inside[row : row + area.shape[0], column : column + area.shape[1]]
    return core
