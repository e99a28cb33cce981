"""Captures: photographs of an object with known cameras, made elsewhere, that a run takes in instead of renders.

A capture is a folder in the NeRF layout: ``transforms_train.json`` (and ``_test``, ``_val``) with one OpenGL
``cam2world`` a frame, in units and with an up axis of its own. What is known here is how such a world lies in ours:
turned so that up is +y, moved so that a cube's centre is the origin, scaled so that the cube is [-1, 1]^3.
"""

from typing import Final, Literal

import numpy as np
from pydantic import Field, model_validator

from pipeline.contracts.camera import Camera
from pipeline.contracts.record import Record
from pipeline.contracts.setting import OPERATIONAL

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


class IngestConfig(Record):
    """``rodin-pipe ingest``: captures that stand in place of renders. Of ``render``, such a run reads sizes only."""

    captures: tuple[str, ...] = Field((), json_schema_extra=OPERATIONAL)
    """Folders in the NeRF layout, one an avatar; empty renders synthetic people."""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Of all that was read from them; filled in by ``ingest``. Not empty: the run is an ingested one."""
    captions: tuple[str, ...] = ()
    """A sentence for each capture, or none."""
    background: str = Field("", pattern=r"^(white|black|#[0-9a-fA-F]{6})?$")
    """Colour behind the object in images without alpha: white, black or #rrggbb. Alpha is keyed from it."""
    tolerance: int = Field(8, ge=0, le=100)
    """Levels (of 255) by which a pixel of that background may be off, in any channel."""
    masks: str = ""
    """Folder in each capture with a mask for each image, by its name; ``mask_path`` of a frame goes before it."""
    held_out_share: float = Field(0.125, gt=0, lt=1)
    """Share of the frames held out where a capture has neither val nor test frames."""
    up: Literal["auto"] | UpAxis = "auto"
    """The axis that points up in the captures' worlds; auto asks the file, then the cameras."""
    centre: tuple[float, ...] = Field((), max_length=3)
    """Centre of the cube in the captures' units; empty asks the file, then cameras and masks."""
    half_side: float = Field(0.0, ge=0)
    """Half the cube's side in the captures' units; 0 as ``centre``. Estimated, it is one for all captures of a run."""
    unit_m: float = Field(0.0, ge=0)
    """Metres that a capture's unit is; 0 asks the file, then takes 1."""
    downscale: int = Field(1, ge=1, le=64)
    """Images are made so many times smaller on each side, by means over blocks."""

    @model_validator(mode="after")
    def _whole(self) -> "IngestConfig":
        if len(self.centre) not in (0, 3) or bool(self.centre) != bool(self.half_side):
            raise ValueError(
                f"ingest.centre {list(self.centre)} and ingest.half_side {self.half_side} must be given together: "
                "three numbers and one"
            )
        if self.captions and self.captures and len(self.captions) != len(self.captures):
            raise ValueError(f"{len(self.captions)} captions for {len(self.captures)} captures: give one each, or none")
        return self


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
