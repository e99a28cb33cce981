"""The NeRF layout on disk: images and ``transforms_train.json`` (and ``_test``, ``_val``), read and written.

A frame has ``file_path`` (relative to the JSON, its suffix may be left out), ``transform_matrix`` (OpenGL cam2world)
and perhaps ``mask_path``; what is said of its lens is read in :mod:`pipeline.io.lens_keys`. Everything is checked here
but the pixels. Reads instant-ngp's and nerfstudio's ``transforms.json`` too, whose frames are split by its own lists of
names, by ``transforms_test.json`` and ``transforms_val.json`` beside it, or by nobody. What means something and is not
used is named (:attr:`Capture.unused`).
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
from pipeline.io.given_names import find_given
from pipeline.io.lens_keys import Intrinsics, read_intrinsics, short, speaks_of_a_lens
from pipeline.io.mask_names import find_mask

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
SPLIT_LISTS: Final[dict[str, Split]] = {
    "train_filenames": "train",
    "test_filenames": "held_out",
    "val_filenames": "held_out",
}
"""Keys at the top under which some exporters list the frames of each split."""
_PLACES_ONLY: Final = frozenset(
    {"aabb", "aabb_scale", "scale", "offset", "applied_transform", "applied_scale", "orientation_override"}
    | {
        "auto_scale_poses_override",
        "ply_file_path",
        "colmap_im_id",
        "sharpness",
        "rotation",
        "camera_id",
        "camera_index",
    }
    | {"camera_name", "camera_label", "camera_idx", "cam_id", "frames", "caption", WORLD_KEY, *SPLIT_LISTS}
    | {"file_path", "mask_path", "transform_matrix"}
)
"""Keys that are read, or that move another program's world as a whole or name things: not worth a word."""


@dataclass(frozen=True)
class CaptureFrame:
    """One photograph."""

    where: str
    """How an error names it."""
    document: Path
    """The JSON that has it."""
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
    unused: tuple[str, ...] = ()
    """Files, keys and frames that mean something and were not used, in words."""


def read_capture(folder: Path, masks: str = "") -> Capture:
    """Read a capture's JSON files; ``masks`` is a folder in it with a mask for each image, by the image's name.

    Raises ``DataError`` with one line for whatever is wrong, before any image is opened.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give one that holds transforms_train.json and its images")
    documents = _documents(folder)
    frames: list[CaptureFrame] = []
    trees = {path: _read_tree(path) for path in documents}
    for path, tree in trees.items():
        frames += _read_frames(path, tree, folder / masks if masks else None)
    unused = _unused(folder, trees, frames)
    frames = _without_twins(frames, documents[0])
    _refuse_twice(frames)
    first = trees[documents[0]]
    caption = first.get("caption", "")
    if not isinstance(caption, str):
        raise DataError(f"{documents[0]}: caption is {caption!r}, not a sentence")
    return Capture(
        folder=folder,
        documents=documents,
        frames=tuple(frames),
        world=_read_world(documents[0], first),
        caption=caption,
        unused=unused,
    )


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


def _documents(folder: Path) -> tuple[Path, ...]:
    """The files that are read, in the order in which frames are numbered."""
    found = [folder / name for name in SPLIT_FILES if (folder / name).exists()]
    train = folder / "transforms_train.json"
    if train.exists():
        return tuple(found)
    single = folder / SINGLE_FILE
    if not single.exists():
        raise DataError(f"{folder} holds neither transforms_train.json nor transforms.json: it is no NeRF capture")
    return (single, *found)


def _read_tree(path: Path) -> dict[str, Any]:
    try:
        # Of bytes, json tells the encoding by the byte order mark or by its zeros.
        tree = json.loads(path.read_bytes(), object_pairs_hook=_without_doubles)
    except _DoubleKeyError as error:
        raise DataError(f"{path} has the key {error} twice in one place: take the wrong one out") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise DataError(f"{path} is no whole JSON ({error}): it may have been cut off; copy it again") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("frames"), list):
        raise DataError(f"{path} has no list of frames: it is no transforms file of the NeRF layout")
    if not tree["frames"] and SPLIT_FILES.get(path.name, "train") == "train":
        raise DataError(f"{path} has an empty list of frames: there is nothing to fit")
    return tree


class _DoubleKeyError(Exception):
    """A key that stands twice in one object: readers take either."""


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DoubleKeyError(next(name for name in names if names.count(name) > 1))
    return tree


def _read_frames(path: Path, tree: dict[str, Any], masks: Path | None) -> list[CaptureFrame]:
    frames, missing = [], []
    top = {key: value for key, value in tree.items() if key != "frames"}
    split_of = _splits(path, tree)
    for number, frame in enumerate(tree["frames"]):
        where = f"{path}: frame {number}"
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(f"{where} has no file_path, so its image is not known: mend the JSON")
        where = f"{where} ({frame['file_path']})"
        image = find_given(path.parent, frame["file_path"], IMAGE_SUFFIXES)
        if image is None:
            missing.append(where)
            continue
        split = split_of.get(_plain(frame["file_path"])) if split_of else SPLIT_FILES.get(path.name, "train")
        if split is None:
            continue
        frames.append(
            CaptureFrame(
                where=where,
                document=path,
                split=split,
                image=image,
                mask=find_mask(path.parent, frame, image, masks, where),
                cam2world=_read_matrix(frame.get("transform_matrix"), where),
                intrinsics=read_intrinsics(top, frame, where),
            )
        )
    if missing:
        raise DataError(
            f"{missing[0]}: there is no such image, with or without a suffix such as .png or .jpg; "
            f"{len(missing)} of {len(tree['frames'])} frames lack theirs: restore them or take the frames out"
        )
    return frames


def _splits(path: Path, tree: Mapping[str, Any]) -> dict[str, Split]:
    """By the lists at the top, what each frame's file is for; empty where there are none."""
    found: dict[str, Split] = {}
    named = {_plain(frame["file_path"]) for frame in tree["frames"] if isinstance(frame, dict) and "file_path" in frame}
    for key, split in SPLIT_LISTS.items():
        files = tree.get(key)
        if files is None:
            continue
        if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            raise DataError(f"{path}: {key} is {short(files)}, not a list of file names")
        for name in map(_plain, files):
            if name not in named:
                raise DataError(f"{path}: {key} has {name}, which no frame has as its file_path: mend the list")
            if found.setdefault(name, split) != split:
                raise DataError(f"{path}: {name} is in train_filenames and held out too: take it out of one list")
    if found and "train" not in found.values():
        raise DataError(f"{path}: the lists of file names leave no frame to train on: add train_filenames")
    return found


def _plain(name: Any) -> str:
    """A file name by which lists and frames are compared."""
    text = str(name).replace("\\", "/")
    while text.startswith("./"):
        text = text[2:]
    return text


def _without_twins(frames: list[CaptureFrame], first: Path) -> list[CaptureFrame]:
    """Without those frames of ``transforms.json`` that a file of held-out frames beside it has too, with one pose."""
    if first.name != SINGLE_FILE:
        return frames
    apart = {frame.image.resolve(): frame for frame in frames if frame.document != first}
    return [
        frame
        for frame in frames
        if frame.document != first
        or (twin := apart.get(frame.image.resolve())) is None
        or not np.allclose(twin.cam2world, frame.cam2world)
    ]


def _unused(folder: Path, trees: Mapping[Path, Mapping[str, Any]], frames: Sequence[CaptureFrame]) -> tuple[str, ...]:
    """In words, what means something and was not used."""
    told = [path.name for path in sorted(folder.glob("transforms*.json")) if path not in trees]
    keys: dict[str, None] = {}
    for tree in trees.values():
        for level in (tree, *tree["frames"]):
            keys |= dict.fromkeys(key for key, value in level.items() if value is not None)
    told += [f"key {key}" for key in keys if key not in _PLACES_ONLY and not speaks_of_a_lens(key)]
    unlisted = sum(len(tree["frames"]) for tree in trees.values()) - len(frames)
    if unlisted:
        told.append(f"{unlisted} frames that are in no list of file names")
    return tuple(told)


def _read_matrix(value: Any, where: str) -> Array:
    """OpenCV cam2world of an OpenGL ``transform_matrix``."""
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(())
    if matrix.shape == (3, 4):
        matrix = np.concatenate((matrix, [[0.0, 0.0, 0.0, 1.0]]))
    if matrix.shape != (4, 4):
        raise DataError(f"{where}: transform_matrix is no 4x4 matrix of numbers (found {short(value)})")
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


def _read_world(path: Path, tree: Mapping[str, Any]) -> CaptureWorld | None:
    if WORLD_KEY not in tree:
        return None
    try:
        return CaptureWorld.from_json(json.dumps(tree[WORLD_KEY]))
    except ValidationError as error:
        raise DataError(f"{path}: {WORLD_KEY} is not understood ({validation_summary(error)}): take it out") from None


def _refuse_twice(frames: Sequence[CaptureFrame]) -> None:
    """An image in two splits would be measured on what was fitted; a mask of two images is not of one of them."""
    for kind in ("image", "mask"):
        seen: dict[Path, CaptureFrame] = {}
        for frame in frames:
            path = frame.image if kind == "image" else frame.mask
            if path is None:
                continue
            other = seen.setdefault(path.resolve(), frame)
            if other is not frame:
                remedy = "take one of them out" if kind == "image" else "give each image a mask of its own"
                raise DataError(f"{frame.where}: its {kind} {path.name} is that of {other.where} too; {remedy}")
