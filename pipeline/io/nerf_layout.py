"""The NeRF layout on disk: images and ``transforms_train.json`` (and ``_test``, ``_val``), read and written.

A frame has ``file_path`` (relative to the JSON, its suffix may be left out), ``transform_matrix`` (OpenGL cam2world)
and perhaps ``mask_path``; ``fl_x fl_y cx cy w h`` or ``camera_angle_x`` stand at the top or in the frame, which goes
first. Everything is checked here but the pixels. Reads instant-ngp's and nerfstudio's ``transforms.json`` too, as one
set of frames. Left out: lens distortion, which must be taken out of the images first.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from pipeline.contracts.camera import Array, Camera, swap_opengl
from pipeline.contracts.capture import WORLD_KEY, CaptureWorld
from pipeline.contracts.errors import DataError
from pipeline.contracts.record import validation_summary
from pipeline.contracts.rendering import Split

SPLIT_FILES: Final[dict[str, Split]] = {
    "transforms_train.json": "train",
    "transforms_test.json": "held_out",
    "transforms_val.json": "held_out",
}
"""Files of a capture and what their frames become, in the order in which frames are numbered."""

SINGLE_FILE: Final = "transforms.json"
"""What stands alone in captures that leave the split to the reader."""

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG", ".WEBP")
ORTHONORMAL_WITHIN: Final = 1e-6
"""A matrix that is off by less is taken as it is."""
REPAIRED_WITHIN: Final = 1e-2
"""One that is off by less, such as of a file with few digits, gives way to the nearest rotation; others are refused."""
_DISTORTION: Final = ("k1", "k2", "k3", "k4", "p1", "p2")
_PINHOLES: Final = ("", "PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "PERSPECTIVE")


@dataclass(frozen=True)
class Intrinsics:
    """What a file says of a frame's lens; what it does not say is None."""

    where: str
    fl_x: float | None
    fl_y: float | None
    cx: float | None
    cy: float | None
    width: int | None
    height: int | None
    angle_x: float | None
    """Horizontal field of view in radians."""
    angle_y: float | None

    def camera(self, cam2world: Array, width: int, height: int) -> Camera:
        """With an image of that size. Focal lengths go before angles, squares are assumed where one is missing.

        Raises ``DataError`` where the image is of another size or the principal point far outside of it.
        """
        if (self.width or width, self.height or height) != (width, height):
            raise DataError(
                f"{self.where} says w {self.width}, h {self.height}, but its image has {width}x{height} pixels: "
                "give the images that the cameras are of, or mend the JSON"
            )
        fx = self.fl_x or (width / 2 / math.tan(self.angle_x / 2) if self.angle_x else None)
        fy = self.fl_y or (height / 2 / math.tan(self.angle_y / 2) if self.angle_y else None)
        fx, fy = fx or fy, fy or fx
        assert fx is not None and fy is not None, "checked when it was read"
        cx, cy = (size / 2 if centre is None else centre for centre, size in ((self.cx, width), (self.cy, height)))
        if not (-width < cx < 2 * width and -height < cy < 2 * height):
            raise DataError(
                f"{self.where} has its principal point at ({cx:g}, {cy:g}) of an image of {width}x{height} pixels: "
                "cx and cy must be pixels of that image"
            )
        return Camera.of_matrix(cam2world, fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height)


@dataclass(frozen=True)
class CaptureFrame:
    """One photograph."""

    where: str
    """How an error names it."""
    split: Split
    image: Path
    mask: Path | None
    cam2world: Array
    """OpenCV, in the capture's world."""
    intrinsics: Intrinsics


@dataclass(frozen=True)
class Capture:
    """A folder, once its JSON files are read and all that they name is there."""

    folder: Path
    documents: tuple[Path, ...]
    frames: tuple[CaptureFrame, ...]
    world: CaptureWorld | None
    caption: str
    """As the training file's ``caption`` has it."""


def read_capture(folder: Path, masks: str = "") -> Capture:
    """Read a capture's JSON files; ``masks`` is a folder in it with a mask for each image, by the image's name.

    Raises ``DataError`` with one line for whatever is wrong, before any image is opened.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give one that holds transforms_train.json and its images")
    documents = [folder / name for name in SPLIT_FILES if (folder / name).exists()]
    if not (folder / "transforms_train.json").exists():
        documents = [folder / SINGLE_FILE]
        if not documents[0].exists():
            raise DataError(f"{folder} holds neither transforms_train.json nor transforms.json: it is no NeRF capture")
    frames: list[CaptureFrame] = []
    trees = {path: _read_tree(path) for path in documents}
    for path, tree in trees.items():
        split = SPLIT_FILES.get(path.name, "train")
        frames += _read_frames(path, tree, split, folder / masks if masks else None)
    _refuse_twice(frames)
    first = trees[documents[0]]
    caption = first.get("caption", "")
    if not isinstance(caption, str):
        raise DataError(f"{documents[0]}: caption is {caption!r}, not a sentence")
    return Capture(folder, tuple(documents), tuple(frames), _read_world(documents[0], first), caption)


def transforms_document(
    frames: Sequence[tuple[str, Camera]], *, world: CaptureWorld, caption: str = ""
) -> dict[str, Any]:
    """One transforms file of frames (``file_path``, camera); of the cameras in ``world``, which is ours.

    What all frames share stands at the top, where the simplest readers look for it.
    """
    lenses = [_lens(camera) for _, camera in frames]
    shared = lenses[0] if lenses and all(lens == lenses[0] for lens in lenses) else {}
    return {
        **shared,
        "caption": caption,
        WORLD_KEY: world.model_dump(mode="json"),
        "frames": [
            {
                "file_path": name,
                **({} if shared else lens),
                "transform_matrix": swap_opengl(camera.matrix()).tolist(),
            }
            for (name, camera), lens in zip(frames, lenses, strict=True)
        ],
    }


def _lens(camera: Camera) -> dict[str, float]:
    return {
        "camera_angle_x": 2 * math.atan(camera.width / 2 / camera.fx),
        "camera_angle_y": 2 * math.atan(camera.height / 2 / camera.fy),
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "w": camera.width,
        "h": camera.height,
    }


def _read_tree(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise DataError(f"{path} is no whole JSON ({error}): it may have been cut off; copy it again") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("frames"), list):
        raise DataError(f"{path} has no list of frames: it is no transforms file of the NeRF layout")
    if not tree["frames"] and SPLIT_FILES.get(path.name, "train") == "train":
        raise DataError(f"{path} has an empty list of frames: there is nothing to fit")
    return tree


def _read_frames(path: Path, tree: dict[str, Any], split: Split, masks: Path | None) -> list[CaptureFrame]:
    frames, missing = [], []
    for number, frame in enumerate(tree["frames"]):
        where = f"{path}: frame {number}"
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(f"{where} has no file_path, so its image is not known: mend the JSON")
        where = f"{where} ({frame['file_path']})"
        image = _find_image(path.parent, frame["file_path"])
        if image is None:
            missing.append(where)
            continue
        frames.append(
            CaptureFrame(
                where=where,
                split=split,
                image=image,
                mask=_find_mask(path.parent, frame, image, masks, where),
                cam2world=_read_matrix(frame.get("transform_matrix"), where),
                intrinsics=_read_intrinsics(tree, frame, where),
            )
        )
    if missing:
        raise DataError(
            f"{missing[0]}: there is no such image, with or without a suffix such as .png or .jpg; "
            f"{len(missing)} of {len(tree['frames'])} frames lack theirs: restore them or take the frames out"
        )
    return frames


def _find_image(folder: Path, name: str) -> Path | None:
    candidates = [folder / name, *(folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)]
    return next((path for path in candidates if path.is_file()), None)


def _find_mask(folder: Path, frame: dict[str, Any], image: Path, masks: Path | None, where: str) -> Path | None:
    named = frame.get("mask_path")
    if isinstance(named, str) and named:
        found = _find_image(folder, named)
        if found is None:
            raise DataError(f"{where}: there is no mask {named}: restore it or take mask_path out")
        return found
    if masks is None:
        return None
    found = _find_image(masks, image.name) or _find_image(masks, image.stem)
    if found is None:
        raise DataError(f"{where}: {masks} holds no mask named {image.stem}: give one for each image")
    return found


def _read_matrix(value: Any, where: str) -> Array:
    """OpenCV cam2world of an OpenGL ``transform_matrix``."""
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(())
    if matrix.shape == (3, 4):
        matrix = np.concatenate((matrix, [[0.0, 0.0, 0.0, 1.0]]))
    if matrix.shape != (4, 4):
        raise DataError(f"{where}: transform_matrix is no 4x4 matrix of numbers (found {_short(value)})")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise DataError(
            f"{where}: transform_matrix has {matrix[row, column]} in row {row}, column {column}: take the frame out"
        )
    rotation = matrix[:3, :3]
    if not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        raise DataError(f"{where}: the last row of transform_matrix is {matrix[3].tolist()}, not 0, 0, 0, 1")
    error, determinant = float(np.abs(rotation @ rotation.T - np.eye(3)).max()), float(np.linalg.det(rotation))
    if error > REPAIRED_WITHIN or determinant < 0:
        kind = "mirrored" if determinant < 0 else f"off by {error:.3g}, its determinant is {determinant:.3g}"
        raise DataError(
            f"{where}: the upper left 3x3 of transform_matrix is no rotation ({kind}): "
            "give cam2world without scale, shear or mirroring"
        )
    matrix[3] = 0, 0, 0, 1
    if error > ORTHONORMAL_WITHIN / 2:
        left, _, right = np.linalg.svd(rotation)
        matrix[:3, :3] = left @ right
    return swap_opengl(matrix)


def _read_intrinsics(tree: Mapping[str, Any], frame: Mapping[str, Any], where: str) -> Intrinsics:
    both = {**{key: value for key, value in tree.items() if key != "frames"}, **frame}
    model = str(both.get("camera_model", "")).upper()
    bent = [key for key in _DISTORTION if isinstance(both.get(key), int | float) and both[key]]
    if bent or model not in _PINHOLES or both.get("is_fisheye"):
        what = f"{bent[0]} = {both[bent[0]]}" if bent else f"camera model {model or 'fisheye'}"
        raise DataError(f"{where}: the lens is distorted ({what}): take the distortion out of the images first")
    found = Intrinsics(
        where=where,
        fl_x=_positive(both, "fl_x", where),
        fl_y=_positive(both, "fl_y", where),
        cx=_number(both, "cx", where),
        cy=_number(both, "cy", where),
        width=_pixels(both, "w", where),
        height=_pixels(both, "h", where),
        angle_x=_angle(both, "camera_angle_x", where),
        angle_y=_angle(both, "camera_angle_y", where),
    )
    if not (found.fl_x or found.fl_y or found.angle_x or found.angle_y):
        raise DataError(
            f"{where}: the JSON has no intrinsics, neither camera_angle_x nor fl_x, at the top or in the frame: add one"
        )
    return found


def _number(tree: Mapping[str, Any], key: str, where: str) -> float | None:
    value = tree.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise DataError(f"{where}: {key} is {_short(value)}, not a number")
    return float(value)


def _positive(tree: Mapping[str, Any], key: str, where: str) -> float | None:
    value = _number(tree, key, where)
    if value is not None and value <= 0:
        raise DataError(f"{where}: {key} is {value:g}; it must be more than 0")
    return value


def _angle(tree: Mapping[str, Any], key: str, where: str) -> float | None:
    value = _positive(tree, key, where)
    if value is not None and value >= math.pi:
        raise DataError(f"{where}: {key} is {value:g}; it is in radians, less than pi")
    return value


def _pixels(tree: Mapping[str, Any], key: str, where: str) -> int | None:
    value = _positive(tree, key, where)
    if value is not None and value != int(value):
        raise DataError(f"{where}: {key} is {value:g}, no whole number of pixels")
    return None if value is None else int(value)


def _read_world(path: Path, tree: Mapping[str, Any]) -> CaptureWorld | None:
    if WORLD_KEY not in tree:
        return None
    try:
        return CaptureWorld.from_json(json.dumps(tree[WORLD_KEY]))
    except ValidationError as error:
        raise DataError(f"{path}: {WORLD_KEY} is not understood ({validation_summary(error)}): take it out") from None


def _refuse_twice(frames: Sequence[CaptureFrame]) -> None:
    """An image in two splits would be measured on what was fitted."""
    seen: dict[Path, CaptureFrame] = {}
    for frame in frames:
        other = seen.setdefault(frame.image.resolve(), frame)
        if other is not frame:
            raise DataError(f"{frame.where}: its image is that of {other.where} too; take one of them out")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
