"""Where a capture's object is: up axis and cube from cameras and masks, and frames whose pose cannot be right.

The cube is found in two steps. The point nearest to all rays through the masks' centres, with the masks' sizes seen
from there, bounds the object roughly; in that box a grid of points is kept where the masks agree (a visual hull by
vote, so that one bad pose does not empty it), and the cube goes around those. numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

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
_MOST_VIEWS: Final = 120
_MASK_SIDE: Final = 200


@dataclass(frozen=True)
class Sight:
    """One photograph's camera, in the capture's world, and which pixels show the object, at most 200 a side."""

    where: str
    """How an error names it."""
    camera: Camera
    mask: npt.NDArray[np.bool_]
    """[row, column]; of blocks of pixels, any of which may show it."""
    block: int
    """Side of such a block in pixels."""

    @classmethod
    def of_alpha(cls, where: str, camera: Camera, alpha: npt.NDArray[np.uint8]) -> "Sight":
        """From the alpha of an image of the camera's size."""
        block = -(-max(alpha.shape) // _MASK_SIDE)
        height, width = (-(-side // block) for side in alpha.shape)
        padded = np.zeros((height * block, width * block), bool)
        padded[: alpha.shape[0], : alpha.shape[1]] = alpha > 0
        mask = padded.reshape(height, block, width, block).any((1, 3))
        return cls(where, camera, mask, block)

    def look(self, points: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which points are in the picture, and which lie in its mask."""
        with np.errstate(divide="ignore", invalid="ignore"):
            column, row, depth = np.moveaxis(self.camera.project(points), -1, 0)
            inside = (depth > 0) & (column >= 0) & (column < self.camera.width)
            inside &= (row >= 0) & (row < self.camera.height)
        shown = np.zeros(len(points), bool)
        at = (row[inside] // self.block).astype(int), (column[inside] // self.block).astype(int)
        shown[inside] = self.mask[at]
        return inside, shown

    def centre_ray(self) -> tuple[Array, Array]:
        """Camera position and unit direction through the middle of the mask."""
        rows, columns = np.nonzero(self.mask)
        middle = (np.array((columns.mean(), rows.mean())) + 0.5) * self.block
        position = self.camera.matrix()[:3, 3]
        direction = self.camera.unproject(np.array((*middle, 1.0))) - position
        return position, direction / np.linalg.norm(direction)

    def radius_at(self, point: Array) -> float:
        """How far from the middle of the mask the object reaches, were it all as far away as ``point``."""
        rows, columns = np.nonzero(self.mask)
        spread = np.hypot(rows - rows.mean(), columns - columns.mean()).max() * self.block
        return float(spread * self._depth(point) / min(self.camera.fx, self.camera.fy))

    def looks_away_from(self, point: Array) -> bool:
        """Whether a point is behind the camera."""
        return self._depth(point) <= 0

    def _depth(self, point: Array) -> float:
        matrix = self.camera.matrix()
        return float((point - matrix[:3, 3]) @ matrix[:3, 2])


def find_up(cameras: Sequence[Camera], where: str) -> UpAxis:
    """The axis nearest to where the images' upper borders point on average: for photographs held upright."""
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
