"""Where captures are put: up axis and cube from cameras and masks, and frames whose pose cannot be right.

The cube is found in two steps. The point nearest to all rays through the masks' centres, with the masks' sizes seen
from there, bounds the object roughly; in that box a grid of points is kept where the masks agree (a visual hull by
vote, so that one bad pose does not empty it), and the cube goes around those. numpy only.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.capture.prepare import PreparedCapture
from pipeline.capture.sight import Sight
from pipeline.config.stages import IngestConfig
from pipeline.contracts.camera import Array, Camera
from pipeline.contracts.capture import CaptureWorld, Placement, UpAxis
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
SMALLEST_SHARE: Final = 0.05
"""Of several captures, none may fill less of the cube's side than this: they would be of different units."""
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
        kept = points[_agreed(sights, points)]
        if not len(kept):
            raise DataError(
                f"{where}: no point lies in {AGREE:.0%} of the masks that see it: poses, masks or intrinsics are not "
                "of one object; or give --centre and --half-side"
            )
        cell = (high - low) / GRID
        low, high = kept.min(0) - cell, kept.max(0) + cell
    return (low + high) / 2, float((high - low).max()) / 2 * MARGIN


def refuse_off_object(sights: Sequence[Sight], placement: Placement) -> None:
    """Raise ``DataError`` for a frame that sees nothing of the cube, or whose mask is off the object in it."""
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
    agreed = points[_agreed(sights, points)]
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


def place_captures(prepared: Sequence[PreparedCapture], settings: IngestConfig) -> tuple[tuple[Placement, str], ...]:
    """Where each capture is put, and where that is from: given, from the file, or estimated.

    Estimated cubes of one run are all as large as the largest, since a run has one unit. Raises ``DataError`` for what
    does not fit together, and for frames that do not show what the others show.
    """
    cubes: list[tuple[npt.NDArray[np.float64], float, str]] = []
    for item in prepared:
        world = item.capture.world
        if settings.centre:
            cubes.append((np.array(settings.centre), settings.half_side, "given"))
        elif world is not None:
            cubes.append((np.array(world.centre), world.half_side, "from the file"))
        else:
            cubes.append((*find_cube(item.sights, str(item.capture.folder)), "estimated"))
    largest = max(half_side for _, half_side, _ in cubes)
    placements = []
    for item, (centre, half_side, how) in zip(prepared, cubes, strict=True):
        if half_side < SMALLEST_SHARE * largest:
            raise DataError(
                f"{item.capture.folder}: its cube has half side {half_side:.4g}, another's {largest:.4g}: "
                "captures of one run must be in one unit; give each a run of its own"
            )
        up = settings.up
        if up == "auto":
            world = item.capture.world
            cameras = [sight.camera for sight in item.sights]
            up = find_up(cameras, str(item.capture.folder)) if world is None else world.up
        placement = Placement(
            up=up,
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            half_side=largest if how == "estimated" else half_side,
        )
        refuse_off_object(item.sights, placement)
        placements.append((placement, how))
    return tuple(placements)


def extent_m(prepared: Sequence[PreparedCapture], placements: Sequence[Placement], settings: IngestConfig) -> float:
    """Metres of the run's world unit; raises ``DataError`` where captures disagree on it."""
    extents = {_extent_m(item.capture.world, place, settings) for item, place in zip(prepared, placements, strict=True)}
    told = ", ".join(f"{extent:.4g}" for extent in sorted(extents))
    if max(extents) > 1.001 * min(extents):
        raise DataError(
            f"the captures' cubes are {told} m from centre to face, and "
            "a run has one unit: give --half-side, or each a run of its own"
        )
    return max(extents)


def _agreed(sights: Sequence[Sight], points: Array) -> npt.NDArray[np.bool_]:
    """Which points the masks agree to be of the object."""
    chosen = [sights[i] for i in np.linspace(0, len(sights) - 1, min(len(sights), _MOST_VIEWS)).round().astype(int)]
    seen, within = np.zeros(len(points), int), np.zeros(len(points), int)
    for sight in chosen:
        inside, shown = sight.look(points)
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


def _extent_m(world: CaptureWorld | None, placement: Placement, settings: IngestConfig) -> float:
    if settings.unit_m:
        return placement.half_side * settings.unit_m
    return placement.half_side * (world.extent_m / world.half_side if world is not None else 1.0)
