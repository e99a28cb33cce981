"""Alpha where a file has none: keyed from a background of one colour, or taken from a mask. numpy only.

Keying says "background" of every pixel within a tolerance of the colour, wherever it lies, so that what shows through
a handle or between arm and body is background too; and so is a part of the object that has that very colour. The
pixels beside the background mix both colours: their object's colour is guessed from neighbours farther in, and how
much of it they hold follows. Over the same background, the result is the photograph again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

BAND_PIXELS: Final = 2**18
"""About how many pixels are computed on at a time."""
_REACH: Final = 3
"""Rows away that a pixel's alpha may depend on: the colour of inner ones within 2, and theirs on the next."""
NAMED_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}


def parse_colour(text: str) -> tuple[int, int, int]:
    """``white``, ``black`` or ``#rrggbb`` in levels of 255."""
    if text in NAMED_COLOURS:
        return NAMED_COLOURS[text]
    red, green, blue = (int(text[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue


def in_bands(height: int, width: int, factor: int) -> Iterator[tuple[int, int]]:
    """First and last row (not included) of bands of a picture, in whole blocks of ``factor`` rows.

    Numbers take many times the memory of pixels: what is computed band by band takes it for a few rows only.
    """
    rows = max(1, BAND_PIXELS // (width * factor)) * factor
    for first in range(0, height, rows):
        yield first, min(height, first + rows)


def key_background(rgb: Pixels, background: tuple[int, int, int], tolerance: int) -> Pixels:
    """Straight RGBA (height, width, 4) of a photograph (height, width, 3) before a background of one colour."""
    bands = [
        key_rows(rgb, first, last, background, tolerance) for first, last in in_bands(rgb.shape[0], rgb.shape[1], 1)
    ]
    return np.concatenate(bands)


def key_rows(rgb: Pixels, first: int, last: int, background: tuple[int, int, int], tolerance: int) -> Pixels:
    """:func:`key_background` of some of a photograph's rows."""
    above, below = max(0, first - _REACH), min(rgb.shape[0], last + _REACH)
    return _keyed(rgb[above:below], background, tolerance)[first - above : last - above]


def _keyed(rgb: Pixels, background: tuple[int, int, int], tolerance: int) -> Pixels:
    colour, behind = rgb.astype(np.float64), np.array(background, np.float64)
    off = colour - behind
    empty = np.abs(off).max(-1) <= tolerance
    inner = ~_grown(empty, 1)
    guess = _mean_around(colour, inner, 2)
    towards = guess - behind
    length = (towards**2).sum(-1)
    mixed = ~empty & ~inner & (length > 0)
    share = np.where(mixed, (off * towards).sum(-1) / np.where(length > 0, length, 1), 1.0)
    # No alpha may be so small that the object's colour would have to lie outside of what 8 bits hold.
    room = np.where(off > 0, 255 - behind, behind)
    least = (np.abs(off) / np.maximum(room, 1)).max(-1)
    alpha = np.where(empty, 0, np.round(np.clip(np.maximum(share, least), 1 / 255, 1) * 255)) / 255
    straight = behind + off / np.maximum(alpha, 1 / 255)[..., None]
    return join(np.round(np.clip(straight, 0, 255)).astype(np.uint8), np.round(alpha * 255).astype(np.uint8))


def join(rgb: Pixels, alpha: Pixels) -> Pixels:
    """RGBA with colour 0 where alpha is 0, as shards have it."""
    rgba: Pixels = np.concatenate((np.where(alpha[..., None] > 0, rgb, 0), alpha[..., None]), -1).astype(np.uint8)
    return rgba


def shrink(rgba: Pixels, factor: int) -> Pixels:
    """Means over blocks of ``factor`` x ``factor`` pixels, colour weighted by alpha. The sides must be multiples."""
    if factor == 1:
        return rgba
    height, width = rgba.shape[0] // factor, rgba.shape[1] // factor
    blocks = rgba.astype(np.float64).reshape(height, factor, width, factor, 4)
    alpha = blocks[..., 3:].mean((1, 3))
    colour = (blocks[..., :3] * blocks[..., 3:]).mean((1, 3)) / np.maximum(alpha, 1e-9)
    return join(np.round(colour).astype(np.uint8), np.round(alpha[..., 0]).astype(np.uint8))


@dataclass
class EdgeColours:
    """What the half transparent pixels of a capture say of how colour is stored: straight, or times alpha.

    Gathered picture by picture. Beside opaque pixels of the object, an edge's straight colour is about theirs, a
    premultiplied one about theirs times alpha; and no premultiplied colour is over its alpha.
    """

    count: int = 0
    over: int = 0
    """Pixels whose colour is over their alpha."""
    off_straight: float = 0.0
    """Sum of levels between an edge's colour and its neighbours'."""
    off_premultiplied: float = 0.0
    """And to its neighbours' times alpha."""

    def add(self, rgb: Pixels, alpha: Pixels) -> None:
        """Of one picture."""
        for first, last in in_bands(alpha.shape[0], alpha.shape[1], 1):
            above, below = max(0, first - 1), min(alpha.shape[0], last + 1)
            self._add(rgb[above:below], alpha[above:below], slice(first - above, last - above))

    def _add(self, rgb: Pixels, alpha: Pixels, rows: slice) -> None:
        edge = np.zeros(alpha.shape, bool)
        edge[rows] = ((alpha > 12) & (alpha < 243))[rows]
        if not edge.any():
            return
        colour, solid = rgb.astype(np.float64), alpha == 255
        near = _sum_around(solid.astype(np.float64), 1) > 0.5
        edge &= near
        inner = _mean_around(colour, solid, 1)[edge]
        found, share = colour[edge], alpha[edge][:, None] / 255
        self.count += len(found)
        self.over += int((found.max(-1) > alpha[edge] + 2).sum())
        self.off_straight += float(np.abs(found - inner).mean(-1).sum())
        self.off_premultiplied += float(np.abs(found - inner * share).mean(-1).sum())

    @property
    def is_premultiplied(self) -> bool:
        """Whether colour was stored times alpha, beyond doubt."""
        return (
            self.count >= 100
            and self.over <= 0.002 * self.count
            and self.off_straight > 8 * self.count
            and 2 * self.off_premultiplied < self.off_straight
        )


def unpremultiplied(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Colour that was stored times alpha, without it."""
    out = rgb.copy()
    for first, last in in_bands(alpha.shape[0], alpha.shape[1], 1):
        share = np.maximum(alpha[first:last], 1)[..., None] / 255
        out[first:last] = np.round(np.minimum(rgb[first:last] / share, 255)).astype(np.uint8)
    return out


def _grown(mask: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """Every pixel within ``reach`` rows and columns of the mask."""
    return _sum_around(mask.astype(np.float64), reach) > 0.5


def _mean_around(colour: Floats, chosen: npt.NDArray[np.bool_], reach: int) -> Floats:
    """Mean colour of the chosen pixels within ``reach``; a pixel's own where there is none."""
    weight = chosen.astype(np.float64)
    count = _sum_around(weight, reach)[..., None]
    total = np.stack([_sum_around(colour[..., c] * weight, reach) for c in range(3)], -1)
    return np.where(count > 0.5, total / np.maximum(count, 1), colour)


def _sum_around(values: Floats, reach: int) -> Floats:
    size = 2 * reach + 1
    for axis in (0, 1):
        widths = [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]
        total = np.pad(values, widths).cumsum(axis)
        values = np.take(total, range(size, total.shape[axis]), axis) - np.take(
            total, range(total.shape[axis] - size), axis
        )
    return values
