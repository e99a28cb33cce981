"""Do the photographs of a capture show one thing from where their cameras say? Every mask against all the others.

A pixel of a mask is *explained* if somewhere along its ray lies a point that most of the other views have in their
masks too; a pixel beside a mask is *contradicted* if its ray meets the object that nearly all views agree on. Of one
frame, agreement is the share, of the pixels of its mask and of the agreed object together, that are neither
unexplained nor contradicted: as an intersection over a union, 1 where outlines fit. numpy only.

Rays are chosen evenly over each mask, not at random, so that the same capture gives the same figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.capture.sight import Sight
from pipeline.contracts.camera import Array

MOST_VOTE: Final = 0.75
"""A point explains a pixel if so large a share of the other views that see it have it in their masks."""
RAYS, STEPS, VOTERS = 120, 96, 12
"""Rays of each mask, points along each, other views that are asked."""


@dataclass(frozen=True)
class Agreement:
    """How well each frame fits the others, in the frames' order."""

    frames: tuple[float, ...]
    """Shares; 1 where a frame can be explained whole."""
    unexplained: tuple[float, ...]
    """Shares of each mask that no other view can explain."""

    @property
    def median(self) -> float:
        """Over frames."""
        return float(np.median(self.frames))

    @property
    def worst(self) -> int:
        """The frame that fits least."""
        return int(np.argmin(self.frames))


def agreement_of(
    sights: Sequence[Sight], centre: Array, reach: float, agreed: Array, *, is_whole: bool = True
) -> Agreement:
    """Of masks and cameras, of what lies within ``reach`` of ``centre``; ``agreed`` are points (n, 3) of the object
    that nearly all masks show. ``is_whole`` says that nothing of the object lies farther away.
    """
    wide = [grown(sight.mask) for sight in sights]
    unexplained = [
        _unexplained(sights, wide, number, centre, reach, is_whole=is_whole) for number in range(len(sights))
    ]
    frames = []
    for sight, share, mask in zip(sights, unexplained, wide, strict=True):
        inside, _ = sight.look(agreed)
        outline = _outline(sight, agreed[inside])
        beside = int((outline & ~mask).sum())
        covered = int(sight.mask.sum())
        frames.append(covered * (1 - share) / max(covered + beside, 1))
    return Agreement(tuple(frames), tuple(unexplained))


def _unexplained(
    sights: Sequence[Sight],
    wide: Sequence[npt.NDArray[np.bool_]],
    number: int,
    centre: Array,
    reach: float,
    *,
    is_whole: bool,
) -> float:
    """Share of a mask's pixels on whose rays no point is in most of the other masks."""
    sight = sights[number]
    points, beyond = _along_rays(sight, centre, reach)
    if not len(points):
        return 1.0 if is_whole else 0.0
    others = [other for other in range(len(sights)) if other != number]
    voters = [others[i] for i in _spread(len(others), VOTERS, number)]
    flat = points.reshape(-1, 3)
    seen, within = np.zeros(len(flat), int), np.zeros(len(flat), int)
    for other in voters:
        inside, shown = sights[other].look(flat, wide[other])
        seen += inside
        within += shown
    known = seen >= min(2, len(voters))
    votes = np.where(known, within / np.maximum(seen, 1), 0.0).reshape(points.shape[:2])
    # A ray of which no other view sees enough says nothing.
    asked = known.reshape(points.shape[:2]).any(1)
    missed = beyond if is_whole else 0
    count = int(asked.sum()) + missed
    return float((votes.max(1) < MOST_VOTE)[asked].sum() + missed) / count if count else 0.0


def _along_rays(sight: Sight, centre: Array, reach: float) -> tuple[Array, int]:
    """(ray, step, 3): points within ``reach`` of ``centre`` on rays through the mask; and how many rays pass it by."""
    rows, columns = np.nonzero(sight.mask)
    chosen = _spread(len(rows), RAYS, 0)
    pixels = (np.stack((columns[chosen], rows[chosen]), -1) + 0.5) * sight.block
    pixels = np.minimum(pixels, (sight.camera.width - 0.5, sight.camera.height - 0.5))
    position = sight.camera.matrix()[:3, 3]
    directions = sight.camera.unproject(np.concatenate((pixels, np.ones((len(pixels), 1))), 1)) - position
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = directions @ (centre - position)
    off = np.linalg.norm(position + nearest[:, None] * directions - centre, axis=1)
    half = np.sqrt(np.maximum(reach**2 - off**2, 0))
    meets = (half > 0) & (nearest + half > 0)
    steps = (np.arange(STEPS) + 0.5) / STEPS * 2 - 1
    along = np.maximum(nearest[meets, None] + half[meets, None] * steps, 1e-6)
    return position + along[..., None] * directions[meets][:, None], int((~meets).sum())


def _outline(sight: Sight, points: Array) -> npt.NDArray[np.bool_]:
    """Which blocks of a picture have one of the points in them."""
    outline = np.zeros(sight.mask.shape, bool)
    column, row, _ = np.moveaxis(sight.camera.project(points), -1, 0)
    outline[(row // sight.block).astype(int), (column // sight.block).astype(int)] = True
    return outline


def _spread(count: int, most: int, turn: int) -> list[int]:
    """At most so many of ``count`` indices, evenly spread; ``turn`` moves them."""
    if count <= most:
        return list(range(count))
    return [int((i * count / most + turn) % count) for i in range(most)]


def grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A mask with the pixels next to it: poses are off by as much."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    both: npt.NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return both
