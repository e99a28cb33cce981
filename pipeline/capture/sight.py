"""One photograph of a capture: its camera, and which pixels show the object. numpy only."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contracts.camera import Array, Camera

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

    def look(
        self, points: Array, mask: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which points are in the picture, and which lie in its mask, or in another one of its shape."""
        with np.errstate(divide="ignore", invalid="ignore"):
            column, row, depth = np.moveaxis(self.camera.project(points), -1, 0)
            inside = (depth > 0) & (column >= 0) & (column < self.camera.width)
            inside &= (row >= 0) & (row < self.camera.height)
        shown = np.zeros(len(points), bool)
        at = (row[inside] // self.block).astype(int), (column[inside] // self.block).astype(int)
        shown[inside] = (self.mask if mask is None else mask)[at]
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
