"""A picture of a face, as people take it, made into what encoders have learned from: a frontal render over white.

The clearest face is found by the cascade that comes with OpenCV (Viola and Jones 2001), the picture moved and scaled so
that it lies where renders have theirs, and what is behind the person taken away (:mod:`pipeline.capture.silhouette`).
A picture with transparent parts, or white all around, is cut out already and keeps its silhouette; if its face lies
about where renders have it, or none is found in it, it stays as it is.

Left out: turning heads upright or to the front, and light.
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.capture.silhouette import person_alpha
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.images import decode_image, over_white, resized
from pipeline.machine import install_command

Pixels = npt.NDArray[np.uint8]

LEAST_SIDE, MOST_SIDE, MOST_ASPECT = 16, 1024, 8
"""Of a portrait, in pixels; a larger one is made smaller once it is framed."""
READ_SIDE: Final = 4096
"""What is larger is made smaller before anything else."""
FRAME_SIDE: Final = 512
"""Pixels of a side of what is framed anew, where the picture has as many."""
CASCADE: Final = "haarcascade_frontalface_alt.xml"
SEARCH_SIDE, LEAST_FACE, NEIGHBOURS = 640, 36, 5
"""Faces are looked for in the picture at most this large, from this many pixels on, found so many times over."""
FACE_UP, FACE_WIDTH, FACE_FRONT = 0.149, 0.632, 0.35
"""The cascade's box on renders, median of 165 people: its centre's y and its side at this z, in world units."""
ALIKE_SIZE, ALIKE_PLACE = 1.6, 0.12
"""A cut-out face within this factor of ours and this share of a side is framed already: children are, and hats."""
ONE_COLOUR: Final = 3
"""Levels that a picture of nothing spans at most."""
WHITE: Final = 245
"""From this level on all around, a picture's background is white."""


class Box(NamedTuple):
    """A square around a face, in pixels."""

    column: float
    """Of its centre."""
    row: float
    """Of its centre."""
    side: float


class Frame(NamedTuple):
    """Where faces lie in a frontal view, as shares of its side."""

    row: float
    """Of the centre of the face's box; its column is in the middle."""
    side: float
    """Of the face's box."""


@dataclass(frozen=True)
class Portrait:
    """A portrait as given and as it is read."""

    before: Pixels
    """(height, width, 3) over white, upright by its EXIF, at most :data:`MOST_SIDE` large."""
    rgb: Pixels
    """(height, width, 3) over white: what encoders see."""
    done: str
    """What was done, in words."""
    is_known: npt.NDArray[np.bool_] | None = None
    """Which pixels of a picture that was framed anew the given one covers (height, width); None for all."""

    @property
    def is_changed(self) -> bool:
        """Whether more was done than making it smaller."""
        return self.rgb is not self.before


def frontal_frame(distance: float, fov_deg: float) -> Frame:
    """Where a camera in front, so far from the origin and with that field of view, sees the faces of our people."""
    half = (distance - FACE_FRONT) * math.tan(math.radians(fov_deg) / 2)
    return Frame(row=0.5 - 0.5 * FACE_UP / half, side=0.5 * FACE_WIDTH / half)


def read_portrait(path: Path, frame: Frame | None) -> Portrait:
    """Read a portrait, and, with a ``frame``, prepare it.

    Raises ``DataError`` when there is none, it is no image, none that shows a face, or no face is found in it, and
    ``ResourceError`` where finding one takes a package that is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"portrait {path} cannot be read: {error.strerror}; give a PNG or JPEG of a face") from None
    rgba = decode_image(data, name=f"portrait {path}", at_least=READ_SIDE)
    height, width = rgba.shape[:2]
    if min(height, width) < LEAST_SIDE or max(height, width) > MOST_ASPECT * min(height, width):
        raise DataError(
            f"portrait {path} has {width} x {height} pixels: a face takes at least {LEAST_SIDE} each way, and no side "
            f"more than {MOST_ASPECT} times the other"
        )
    rgba = _at_most(rgba, READ_SIDE)
    rgb = over_white(rgba)
    _refuse_blank(path, rgba, rgb)
    before = _at_most(rgb, MOST_SIDE)
    if frame is None:
        return Portrait(before, before, "taken as it is")
    return _prepared(path, rgb, before, frame, is_cut_out=_is_cut_out(rgba))


def _refuse_blank(path: Path, rgba: Pixels, rgb: Pixels) -> None:
    if not rgba[..., 3].any():
        raise DataError(f"portrait {path} is empty: its alpha is 0 everywhere; give a picture of a face")
    low, high = rgb.min((0, 1)), rgb.max((0, 1))
    if int((high - low).max()) <= ONE_COLOUR:
        raise DataError(
            f"portrait {path} shows nothing: all of it is #{''.join(f'{level:02x}' for level in high)}; give a picture "
            "of a face"
        )


def _prepared(path: Path, rgb: Pixels, before: Pixels, frame: Frame, *, is_cut_out: bool) -> Portrait:
    if importlib.util.find_spec("cv2") is None:
        if is_cut_out:
            return Portrait(before, before, "its background is gone already: taken as it is")
        raise ResourceError(
            f"portrait {path}: cv2, which finds faces, is not installed: {install_command('portrait')}, or give "
            "--as-is where the picture is framed as renders are, over white"
        )
    faces = find_faces(rgb)
    if not faces and not is_cut_out:
        raise DataError(
            f"portrait {path}: no face was found in its {rgb.shape[1]} x {rgb.shape[0]} pixels: give a picture from "
            "the front, upright, with a face that is not small in it, or --as-is to take it as it is"
        )
    if is_cut_out and (not faces or _lies_alike(faces[0], rgb, frame)):
        return Portrait(before, before, "cut out and framed already: taken as it is")
    face, others = faces[0], len(faces) - 1
    framed, is_inside, place = _framed(rgb, face, frame)
    done = f"face of {face.side:.0f} pixels found" + (f", the clearest of {others + 1}" if others else "") + ", framed"
    if is_cut_out:
        return Portrait(before, framed, done, is_inside)
    alpha = person_alpha(framed, (place.column, place.row), place.side, is_inside)
    rgb = over_white(np.concatenate((framed, alpha[..., None]), -1))
    return Portrait(before, rgb, f"{done}, background removed", is_inside)


def _at_most(image: Pixels, most: int) -> Pixels:
    height, width = image.shape[:2]
    scale = most / max(height, width)
    return image if scale >= 1 else resized(image, max(1, round(width * scale)), max(1, round(height * scale)))


def find_faces(rgb: Pixels) -> list[Box]:
    """The faces seen from the front in a picture (height, width, 3), the largest and surest first."""
    import cv2
    from cv2.data import haarcascades

    height, width = rgb.shape[:2]
    scale = min(1.0, SEARCH_SIDE / max(height, width))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    cascade = cv2.CascadeClassifier(str(Path(haarcascades) / CASCADE))
    found, _, certainties = cascade.detectMultiScale3(
        grey, 1.1, NEIGHBOURS, minSize=(LEAST_FACE, LEAST_FACE), outputRejectLevels=True
    )
    boxes = [Box((x + side / 2) / scale, (y + side / 2) / scale, side / scale) for x, y, side, _ in found]
    # Sides are in favour of who stands in front, certainties of faces over what looks a little like one.
    worth = [box.side * float(certainty) for box, certainty in zip(boxes, certainties, strict=True)]
    return [boxes[i] for i in sorted(range(len(boxes)), key=lambda i: -worth[i])]


def _lies_alike(face: Box, rgb: Pixels, frame: Frame) -> bool:
    height, width = rgb.shape[:2]
    side = max(height, width)
    # As encoders pad: with the picture in the middle of a square.
    column = (face.column + (side - width) / 2) / side - 0.5
    row = (face.row + (side - height) / 2) / side - frame.row
    size = face.side / side / frame.side
    return max(abs(column), abs(row)) <= ALIKE_PLACE and 1 / ALIKE_SIZE <= size <= ALIKE_SIZE


def _is_cut_out(rgba: Pixels) -> bool:
    """Whether it has transparent parts, or white along its top and the upper half of its sides."""
    if (rgba[..., 3] < 128).mean() > 0.01:
        return True
    upper = rgba[: rgba.shape[0] // 2, :, :3]
    return bool(min(upper[0].min(), upper[:, 0].min(), upper[:, -1].min()) >= WHITE)


def _framed(rgb: Pixels, face: Box, frame: Frame) -> tuple[Pixels, npt.NDArray[np.bool_], Box]:
    """A square in which the face lies as in the frame, which of its pixels the picture covers, and the face's box."""
    import cv2

    shown = face.side / frame.side
    side = round(min(FRAME_SIDE, max(shown, FRAME_SIDE / 2)))
    scale = side / shown
    if scale < 1:
        # Warping looks at four pixels only.
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        face = Box(face.column * scale, face.row * scale, face.side * scale)
        rgb, scale = small, 1.0
    place = Box(side / 2, side * frame.row, side * frame.side)
    # Pixel centres are at halves here, at whole numbers there.
    move = np.array([[scale, 0, place.column - scale * face.column], [0, scale, place.row - scale * face.row]])
    move[:, 2] += (scale - 1) / 2
    white = (255, 255, 255)
    framed = cv2.warpAffine(rgb, move, (side, side), flags=cv2.INTER_CUBIC, borderValue=white)
    covered = np.full(rgb.shape[:2], 255, np.uint8)
    is_inside = cv2.warpAffine(covered, move, (side, side), flags=cv2.INTER_LINEAR, borderValue=0) > 254
    return np.asarray(framed, np.uint8), is_inside, place
