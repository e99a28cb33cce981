"""Fits beside the truth, with 2x crops of hair, eyes and cloth where the labels say they are, and error maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contracts.conventions import SEGMENTATION_CLASSES
from pipeline.report.pictures import contact_sheet, error_map

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

CROPS: Final = 2
"""Crops are shown so many times as large."""

EYES: Final = slice(36, 48)
"""Both eyes among the 68 landmarks."""

CLASSES: Final = {"hair": "hair", "cloth": "garment"}
"""What a crop shows, and its class in the segmentation."""


@dataclass(frozen=True)
class Labelled:
    """A photograph over white and what its pixels are."""

    truth: Pixels
    """(height, width, 3), 8 bits."""
    segmentation: Pixels
    """(height, width), the class of each pixel."""
    landmarks: Floats
    """(68, 2) as x, y."""


def picture(frontal: Labelled, behind: Labelled, fits: Sequence[tuple[str, Pixels, Pixels]]) -> Pixels:
    """One row a view or crop; columns are the truth and of each fit, (name, frontal, behind), its image and its error.

    Hair is cropped from the view from behind, where there is most of it; crops of what is not there are left out.
    """
    side = frontal.truth.shape[0]
    size = side // CROPS
    rows = [("", 0, (0, 0, side, side)), ("", 1, (0, 0, side, side))]
    eyes = frontal.landmarks[EYES].mean(0)
    rows.append(("eyes", 0, _box(float(eyes[1]), float(eyes[0]), size, side)))
    for name, label in CLASSES.items():
        view = 1 if name == "hair" else 0
        box = _most_detail((frontal, behind)[view], SEGMENTATION_CLASSES.index(label), size)
        if box is not None:
            rows.append((name, view, box))
    tiles, labels = [], []
    for name, view, (top, left, height, width) in rows:
        truth = (frontal, behind)[view].truth
        images = [("truth", truth)]
        for fit, *shown in fits:
            images += [(fit, shown[view]), (f"error of {fit}, x 4", error_map(shown[view], truth))]
        for kind, image in images:
            tiles.append(image[top : top + height, left : left + width])
            labels.append(f"{kind}: {name}" if name else kind)
    return contact_sheet(tiles, columns=len(tiles) // len(rows), tile=side, labels=labels)


def _most_detail(view: Labelled, label: int, size: int) -> tuple[int, int, int, int] | None:
    """A window where the pixels of a class change most from one to the next; none where it is nearly absent.

    Of the windows that hold all of it many do equally well: the one around the middle of that change is taken.
    """
    mask = view.segmentation == label
    if mask.sum() < mask.size / 256:
        return None
    grey = view.truth.astype(np.float64).mean(-1)
    change = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    detail = change * mask
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    found = detail[top : top + size, left : left + size]
    row, column = (float((found.sum(1 - axis) * np.arange(size)).sum() / found.sum()) for axis in (0, 1))
    return _box(float(top) + row, float(left) + column, size, len(mask))


def _box(row: float, column: float, size: int, side: int) -> tuple[int, int, int, int]:
    top, left = (int(np.clip(round(centre - size / 2), 0, side - size)) for centre in (row, column))
    return top, left, size, size
