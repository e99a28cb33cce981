"""Captures: photographs of an object with known cameras, made elsewhere, that a run takes in instead of renders.

A capture is a folder in the NeRF layout: ``transforms_train.json`` (and ``_test``, ``_val``) with one OpenGL
``cam2world`` a frame, in units and with an up axis of its own. What is known here is how such a world lies in ours:
turned so that up is +y, moved so that a cube's centre is the origin, scaled so that the cube is [-1, 1]^3.
"""

from typing import Final, Literal

import numpy as np
from pydantic import Field

from pipeline.contracts.camera import Camera
from pipeline.contracts.record import Record

UpAxis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]
Triple = tuple[float, float, float]

TO_Y_UP: Final[dict[UpAxis, tuple[Triple, Triple, Triple]]] = {
    "+x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "+y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-y": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "+z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}
"""The rotation that brings each axis up. Of Blender's world (+z up), -y then is the front, as Blender has it."""

CAPTURED_COLOUR: Final = "as in the capture's image files, read as sRGB"
"""``colour_transform`` of a captured view."""

WORLD_KEY: Final = "world"
"""Key of a transforms file under which :class:`CaptureWorld` stands. Other readers pass it over."""


class Distortion(Record):
    """How a lens bends rays, in OpenCV's terms."""

    model: str
    """As the file calls it."""
    fisheye: bool
    """By the angle to the axis (``cv2.fisheye``), not by the tangent of it."""
    values: tuple[float, ...]
    """``k1 k2 p1 p2 k3`` and perhaps ``k4 k5 k6``; of a fisheye ``k1 k2 k3 k4``."""

    @property
    def told(self) -> str:
        """In words."""
        names = ("k1", "k2", "k3", "k4") if self.fisheye else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
        found = [f"{name} = {value:g}" for name, value in zip(names, self.values, strict=False) if value]
        return ", ".join(found) or self.model


class CaptureWorld(Record):
    """How a capture's world lies in ours, where its files say so: our own exports do."""

    up: UpAxis
    """The axis that points up, in the capture's world."""
    centre: Triple
    """Centre of the cube, in the capture's units."""
    half_side: float = Field(gt=0)
    """Half the cube's side, in the capture's units: 1 in ours."""
    extent_m: float = Field(gt=0)
    """Half the cube's side in metres."""


class Placement(Record):
    """Where one capture was put."""

    up: UpAxis
    centre: Triple
    """Of the cube, in the capture's units and axes."""
    half_side: float = Field(gt=0)
    """Of the cube, in the capture's units."""

    def place(self, camera: Camera) -> Camera:
        """A camera of the capture in our world. Nothing is rounded where up is +y, centre 0 and half side 1."""
        turn = np.asarray(TO_Y_UP[self.up], np.float64)
        matrix = camera.matrix()
        placed = np.eye(4)
        placed[:3, :3] = turn @ matrix[:3, :3]
        placed[:3, 3] = turn @ (matrix[:3, 3] - np.asarray(self.centre)) / self.half_side
        pinhole = camera.model_dump(exclude={"cam2world"})
        return Camera.of_matrix(placed, **pinhole)


class CaptureReport(Record):
    """What a run's ledger keeps of one capture: the place of an avatar's spec, where there is none."""

    avatar: int
    folder: str
    """Where the capture lay."""
    sha256: str
    """Over its transforms files, images and masks."""
    placement: Placement
    cube: Literal["given", "from the file", "estimated"]
    """Where the cube comes from."""
    alpha: Literal["from the file", "masks", "background"]
    train_views: int
    held_out_views: int
    held_out: Literal["val and test", "share"]
    """Whether the capture said which frames are held out."""
    agreement: float | None = None
    """Median over frames of how well masks and cameras show one object, 1 at best."""
    worst_agreement: float | None = None
    """Of the frame that fits least."""
    worst_frame: str = ""
    """Which that is."""
    notes: tuple[str, ...] = ()
    """What was done to the images and what of the capture was not used, in words."""
