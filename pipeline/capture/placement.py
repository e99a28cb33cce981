"""Up axis and cube of a capture from cameras and masks, and frames whose pose cannot be right.

The cube is found in two steps. The point nearest to all rays through the masks' centres, with the masks' sizes seen
from there, bounds the object roughly; in that box a grid of points is kept where the masks agree (a visual hull by
vote, so that one bad pose does not empty it), and the cube goes around those. numpy only.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.capture.agreement import Agreement, agreement_of, grown
from pipeline.capture.sight import Sight
from pipeline.contracts.camera import Array, Camera
from pipeline.contracts.capture import Placement, UpAxis
from pipeline.contracts.errors import DataError

GRID: Final = 40
"""Points along each side of the grid that masks are compared on."""
AGREE: Final = 0.9
"""A point belongs to the object when so large a share of the views that see it have it in their masks."""
SEEN_BY: Final = 0.5
"""And when so large a share of the views sees it as of the best seen such point: two outlines alone prove little."""
ON_THE_OBJECT: Final = 0.5
"""In a view with a right pose, at least such a share of the object's points in sight lies in the mask."""
MARGIN: Final = 1.08
"""The cube's side over the object's: the grid is coarse, and matter must not touch the cube's faces."""
ONE_PLACE: Final = 0.02
"""Cameras that are no farther apart, of their distance to the object, do not tell where it is."""
THIN: Final = 3
"""So many times over, masks are tried, each time a pixel wider."""
_MOST_VIEWS: Final = 120


def find_up(cameras: Sequence[Camera], where: str) -> UpAxis:
    """The axis nearest to where the images' upper borders point on average: for photographs held upright.

    Raises ``DataError`` where they cancel out.
    """
    ups = -np.stack([camera.matrix()[:3, 1] for camera in cameras]).mean(0)
    axis = int(np.abs(ups).argmax())
    if abs(ups[axis]) < 0.3:
        raise DataError(
            f"{where}: the cameras' upward directions cancel out (mean {np.round(ups, 2).tolist()}), so up is not "
            "known: give --up, such as --up +z"
        )
    names: tuple[tuple[UpAxis, UpAxis], ...] = (("+x", "-x"), ("+y", "-y"), ("+z", "-z"))
    return names[axis][int(ups[axis] < 0)]


def find_cube(sights: Sequence[Sight], where: str) -> tuple[Array, float]:
    """Centre and half the side of a cube around what all masks show, in the capture's units and axes.

    The side is measured along the capture's axes. Raises ``DataError`` naming frames that look away, or where masks
    and poses do not agree on any object.
    """
    rays = [sight.centre_ray() for sight in sights]
    across = [np.eye(3) - np.outer(direction, direction) for _, direction in rays]
    total = np.sum(across, axis=0)
    if len(sights) < 2 or np.linalg.cond(total) > 1e4:
        raise DataError(
            f"{where}: {len(sights)} cameras that all look the same way do not say where the object is: "
            "give --centre and --half-side"
        )
    centre = np.linalg.solve(total, np.sum([a @ position for a, (position, _) in zip(across, rays, strict=True)], 0))
    positions = np.stack([position for position, _ in rays])
    distance = float(np.median(np.linalg.norm(positions - centre, axis=1)))
    spread = float(np.linalg.norm(positions - positions.mean(0), axis=1).mean())
    # Rays from one place meet there, so that the distance to where they meet may be nothing too.
    if spread <= max(ONE_PLACE * distance, 1e-6 * float(np.abs(positions).max())):
        raise DataError(
            f"{sights[0].where}: all {len(sights)} cameras stand at one place, {_point(positions.mean(0))}: the "
            "matrices "
            "may be world to camera, and this layout has camera to world"
        )
    away = [sight.where for sight in sights if sight.looks_away_from(centre)]
    if away:
        many = len(away) > len(sights) / 2
        remedy = (
            "the matrices may be OpenCV's (y down, z forward); this layout has OpenGL's: negate their columns 1 and 2"
            if many
            else "mend its matrix or take the frame out"
        )
        raise DataError(
            f"{away[0]}: its camera looks away from where the others meet, {_point(centre)} "
            f"({len(away)} of {len(sights)} do): {remedy}"
        )
    radius = float(np.median([sight.radius_at(centre) for sight in sights]))
    low, high = centre - 2 * radius, centre + 2 * radius
    for _ in range(2):  # the second grid is as fine as the object needs
        points = _grid(low, high)
        kept = points[agreed_points(sights, points)]
        if not len(kept):
            raise DataError(
                f"{where}: no point lies in {AGREE:.0%} of the masks that see it: poses, masks or intrinsics are not "
                "of one object; or give --centre and --half-side"
            )
        cell = (high - low) / GRID
        low, high = kept.min(0) - cell, kept.max(0) + cell
    return (low + high) / 2, float((high - low).max()) / 2 * MARGIN


def agreement_within(sights: Sequence[Sight], centre: Array, half_side: float, *, is_whole: bool) -> Agreement:
    """How well the frames fit each other in a cube, which holds all of the object or (not ``is_whole``) a part of
    it.
    """
    points = _grid(centre - half_side, centre + half_side)
    agreed = points[agreed_points(sights, points, is_whole=is_whole)]
    reach = float(np.sqrt(3) * half_side * (1 if is_whole else 2))
    return agreement_of(sights, centre, reach, agreed, is_whole=is_whole)


def refuse_off_object(sights: Sequence[Sight], placement: Placement, *, is_whole: bool = False) -> None:
    """Raise ``DataError`` for a frame that sees nothing of the cube, or whose mask is off the object in it.

    ``is_whole`` says that the cube is known to hold the object.
    """
    centre, half = np.asarray(placement.centre), placement.half_side
    points = _grid(centre - half, centre + half)
    coarse = points.reshape(GRID, GRID, GRID, 3)[::4, ::4, ::4].reshape(-1, 3)
    blind = [sight for sight in sights if not sight.look(coarse)[0].any()]
    if blind:
        raise DataError(
            f"{blind[0].where}: its camera looks away from the object: nothing of the cube of half side {half:.4g} "
            f"around {_point(centre)} is in the picture ({len(blind)} of {len(sights)} frames): mend its matrix, take "
            "the frame out, or give another --centre and --half-side"
        )
    agreed = points[agreed_points(sights, points, is_whole=is_whole)]
    if not len(agreed):
        raise DataError(
            f"{sights[0].where}: the cube of half side {half:.4g} around {_point(centre)} holds nothing that "
            f"{AGREE:.0%} of the masks show: give another --centre and --half-side, or leave them to be estimated"
        )
    for sight in sights:
        inside, shown = sight.look(agreed)
        if inside.any() and shown.sum() < ON_THE_OBJECT * inside.sum():
            raise DataError(
                f"{sight.where}: only {shown.sum() / inside.sum():.0%} of the object that the other frames show lies "
                "in its mask: its pose or its image is of something else; mend it or take the frame out"
            )


def agreed_points(sights: Sequence[Sight], points: Array, *, is_whole: bool = True) -> npt.NDArray[np.bool_]:
    """Which points the masks agree to be of the object; of a whole one that is too thin for them, those beside it."""
    chosen = [sights[i] for i in np.linspace(0, len(sights) - 1, min(len(sights), _MOST_VIEWS)).round().astype(int)]
    masks = [sight.mask for sight in chosen]
    for _ in range(THIN if is_whole else 1):
        agreed = _vote(chosen, masks, points)
        if agreed.any():
            break
        masks = [grown(mask) for mask in masks]
    return agreed


def _vote(sights: Sequence[Sight], masks: Sequence[npt.NDArray[np.bool_]], points: Array) -> npt.NDArray[np.bool_]:
    seen, within = np.zeros(len(points), int), np.zeros(len(points), int)
    for sight, mask in zip(sights, masks, strict=True):
        inside, shown = sight.look(points, mask)
        seen += inside
        within += shown
    agreed = (seen >= 2) & (within >= AGREE * seen)
    enough: npt.NDArray[np.bool_] = agreed & (seen >= SEEN_BY * seen[agreed].max(initial=0))
    return enough


def _grid(low: Array, high: Array) -> Array:
    """Centres of GRID^3 cells between two corners."""
    axes = [low[a] + (np.arange(GRID) + 0.5) * (high[a] - low[a]) / GRID for a in range(3)]
    points: Array = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return points


def _point(point: Array) -> str:
    return "(" + ", ".join(f"{x:.4g}" for x in point) + ")"
