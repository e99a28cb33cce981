"""What a transforms file says of lenses: the keys of NeRF, instant-ngp, nerfstudio and COLMAP, understood or refused.

What a frame says goes before what the top says, focal length, principal point, size and distortion each as a whole. No
key that speaks of a lens is passed over: an unknown one is refused, and so is a value of another type.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.contracts.camera import Array, Camera
from pipeline.contracts.capture import Distortion
from pipeline.contracts.errors import DataError

Tree = Mapping[str, Any]

PINHOLES: Final = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
RADIAL: Final[dict[str, tuple[str, ...]]] = {
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2", "k3"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
}
"""Models by the tangent of the angle to the axis, and the coefficients that each has, in OpenCV's order."""
FISHEYES: Final[dict[str, tuple[str, ...]]] = {
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "FISHEYE": ("k1", "k2", "k3", "k4"),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
}
"""Models by the angle itself."""
COEFFICIENTS: Final = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
LISTS: Final[dict[int, tuple[str, ...]]] = {
    1: ("k1",),
    2: ("k1", "k2"),
    3: ("k1", "k2", "k3"),
    6: ("k1", "k2", "k3", "k4", "p1", "p2"),
}
"""Order of ``distortion_params`` by its length: nerfstudio's. Of other lengths, orders differ between programs."""
SAME: Final = 1.05
"""Two statements of one focal length differ by less than this factor."""
UNDERSTOOD: Final = frozenset(
    {"fl_x", "fl_y", "x_fov", "y_fov", "camera_angle_x", "camera_angle_y", "cx", "cy", "w", "h"}
    | {"camera_model", "is_fisheye", "distortion_params", *COEFFICIENTS}
)
"""Keys that are read here."""
_NOT_OF_A_LENS: Final = frozenset(
    {"camera", "camera_id", "camera_index", "camera_name", "camera_label", "camera_idx", "cam_id", "camera_path"}
)
_OF_A_LENS: Final = re.compile(
    r"[kps]\d|s[xy]\d|f|k|f[xy]|dist|dist_?coef.*|transform_matrix_(start|end)|.*(distort|fov|focal|lens|intrins|fisheye|"
    r"shutter|crop|camera|sensor|shift|skew|latlong|equirect|ftheta|omega|convention|coordinate|projection).*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Focal:
    """What one level, a frame or the top, says of focal lengths."""

    where: str
    fl_x: float | None
    fl_y: float | None
    angle_x: float | None
    """Horizontal field of view in radians."""
    angle_y: float | None

    def pixels(self, width: int, height: int) -> tuple[float | None, float | None]:
        """Focal lengths of a picture of that size; what is said in pixels goes before angles."""
        of_angle = self._of_angles(width, height)
        return self.fl_x or of_angle[0], self.fl_y or of_angle[1]

    def says_two(self, width: int, height: int) -> bool:
        """Whether angles of a picture of that size say something else than pixels do."""
        pairs = zip((self.fl_x, self.fl_y), self._of_angles(width, height), strict=True)
        return any(said and other and not 1 / SAME < said / other < SAME for said, other in pairs)

    def _of_angles(self, width: int, height: int) -> tuple[float | None, float | None]:
        return (
            width / 2 / math.tan(self.angle_x / 2) if self.angle_x else None,
            height / 2 / math.tan(self.angle_y / 2) if self.angle_y else None,
        )


@dataclass(frozen=True)
class Intrinsics:
    """What a file says of a frame's lens; what it does not say is None."""

    where: str
    of_frame: Focal
    of_top: Focal
    cx: float | None
    cy: float | None
    width: int | None
    height: int | None
    distortion: Distortion | None

    def is_of_size(self, width: int, height: int) -> bool:
        """Whether an image of that size does not contradict it."""
        return (self.width or width, self.height or height) == (width, height)

    def camera(self, cam2world: Array, width: int, height: int, *, remark: str = "") -> Camera:
        """With an image of that size. Focal lengths go before angles, squares are assumed where one is missing.

        Raises ``DataError``, with ``remark`` after the image's size, where the image is of another size or the
        principal point far outside of it.
        """
        if not self.is_of_size(width, height):
            raise DataError(
                f"{self.where} says w {self.width}, h {self.height}, but its image has {width}x{height} "
                f"pixels{remark}: "
                "give the images that the cameras are of, or mend the JSON"
            )
        fx, fy = self._focal(width, height)
        cx, cy = (size / 2 if centre is None else centre for centre, size in ((self.cx, width), (self.cy, height)))
        if not (-width < cx < 2 * width and -height < cy < 2 * height):
            raise DataError(
                f"{self.where} has its principal point at ({cx:g}, {cy:g}) of an image of {width}x{height} pixels: "
                "cx and cy must be pixels of that image"
            )
        return Camera.of_matrix(cam2world, fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height)

    def says_two_focal_lengths(self, width: int, height: int) -> bool:
        """Whether a field of view is there that is not used, since pixels say otherwise, of an image of that size."""
        return self.of_frame.says_two(width, height) or self.of_top.says_two(width, height)

    def _focal(self, width: int, height: int) -> tuple[float, float]:
        fx, fy = self.of_frame.pixels(width, height)
        top_x, top_y = self.of_top.pixels(width, height)
        if fx is None and fy is None:
            fx, fy = top_x, top_y
        elif top_x and top_y:
            # Of a frame that says one, the other one has the shape of the top's pixels.
            fx, fy = fx or (fy or 0) * top_x / top_y, fy or (fx or 0) * top_y / top_x
        else:
            fx, fy = fx or top_x, fy or top_y
        fx, fy = fx or fy, fy or fx
        assert fx is not None and fy is not None, "checked when it was read"
        return fx, fy


def read_intrinsics(top: Tree, frame: Tree, where: str) -> Intrinsics:
    """What the file's top and a frame say of its lens. Raises ``DataError`` that begins with ``where``."""
    for level in (frame, top):
        _refuse_unknown(level, where)
    both = {**top, **frame}
    found = Intrinsics(
        where=where,
        of_frame=_focal(frame, where),
        of_top=_focal(top, where),
        cx=number(both, "cx", where),
        cy=number(both, "cy", where),
        width=_pixels(both, "w", where),
        height=_pixels(both, "h", where),
        distortion=_distortion(top, frame, where),
    )
    if not any((f.fl_x or f.fl_y or f.angle_x or f.angle_y) for f in (found.of_frame, found.of_top)):
        raise DataError(
            f"{where}: the JSON has no intrinsics, neither camera_angle_x nor fl_x, at the top or in the frame: add one"
        )
    return found


def number(tree: Tree, key: str, where: str) -> float | None:
    """A number, or None where there is none or null; raises ``DataError`` for any other value."""
    value = tree.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise DataError(f"{where}: {key} is {short(value)}, not a number")
    return float(value)


def short(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def speaks_of_a_lens(key: str) -> bool:
    """Whether a key's name is one of lenses and cameras, known or not."""
    return key in UNDERSTOOD or (key not in _NOT_OF_A_LENS and _OF_A_LENS.fullmatch(key) is not None)


def _refuse_unknown(tree: Tree, where: str) -> None:
    for key, value in tree.items():
        if key not in UNDERSTOOD and speaks_of_a_lens(key) and not _says_nothing(value):
            raise DataError(
                f"{where}: {key} is {short(value)}, which speaks of a camera in words that are not understood here: "
                "say it "
                "by fl_x fl_y cx cy w h and camera_model with k1 k2 p1 p2, or take it out if the images are a pinhole's"
            )


def _says_nothing(value: Any) -> bool:
    """Whether a value is what is taken for granted: zeros, a pinhole, the layout's own axes."""
    if isinstance(value, str):
        return value.upper() in ("", "OPENGL", "NERF", "BLENDER", *PINHOLES)
    if isinstance(value, list):
        return all(_says_nothing(item) for item in value)
    return value is None or (isinstance(value, int | float) and value == 0)


def _focal(tree: Tree, where: str) -> Focal:
    angles = []
    for axis in "xy":
        degrees = _positive(tree, f"{axis}_fov", where)
        if degrees is not None and degrees >= 180:
            raise DataError(f"{where}: {axis}_fov is {degrees:g}; it is in degrees, less than 180")
        radians = _angle(tree, f"camera_angle_{axis}", where)
        angles.append(radians if degrees is None else math.radians(degrees))
    return Focal(where, _positive(tree, "fl_x", where), _positive(tree, "fl_y", where), *angles)


def _distortion(top: Tree, frame: Tree, where: str) -> Distortion | None:
    """The lens's distortion; None where there is none."""
    model = _model(top, frame, where) or "OPENCV"
    of_frame, of_top = _coefficients(frame, model, where), _coefficients(top, model, where)
    has_list = "distortion_params" in frame or "distortion_params" in top
    found = of_frame if of_frame and has_list else {**of_top, **of_frame}
    found = {name: value for name, value in found.items() if value}
    if model in PINHOLES:
        if found:
            raise DataError(
                f"{where}: camera_model is {model}, which has no distortion, and {_told(found)}: take one of them out"
            )
        return None
    names = RADIAL.get(model) or FISHEYES[model]
    beyond = {name: value for name, value in found.items() if name not in names}
    if beyond:
        raise DataError(
            f"{where}: the lens is distorted ({_told(beyond)}) in a way that camera_model {model} does not have: "
            "undistort "
            "the images first, or mend camera_model"
        )
    is_fisheye = model in FISHEYES
    if not found and not is_fisheye:
        return None
    order = FISHEYES["FISHEYE"] if is_fisheye else RADIAL["FULL_OPENCV" if model == "FULL_OPENCV" else "OPENCV"]
    return Distortion(model=model, fisheye=is_fisheye, values=tuple(found.get(name, 0.0) for name in order))


def _model(top: Tree, frame: Tree, where: str) -> str:
    both = {**top, **frame}
    named, is_fisheye = both.get("camera_model"), both.get("is_fisheye")
    if named is not None and not isinstance(named, str):
        raise DataError(f"{where}: camera_model is {short(named)}, not the name of a model")
    if is_fisheye is not None and not isinstance(is_fisheye, bool):
        raise DataError(f"{where}: is_fisheye is {short(is_fisheye)}, neither true nor false")
    model = (named or "").upper()
    if model and model not in (*PINHOLES, *RADIAL, *FISHEYES):
        raise DataError(
            f"{where}: the lens is distorted by camera model {named}; understood are "
            f"{', '.join((*RADIAL, *FISHEYES))}: "
            "undistort the images first"
        )
    if is_fisheye and model and model not in FISHEYES:
        raise DataError(f"{where}: is_fisheye is true and camera_model is {named}: take one of them out")
    return "FISHEYE" if is_fisheye and not model else model


def _coefficients(tree: Tree, model: str, where: str) -> dict[str, float]:
    """What one level says of distortion, by name; zeros too."""
    named = {name: value for name in COEFFICIENTS if (value := number(tree, name, where)) is not None}
    values = tree.get("distortion_params")
    if values is None:
        return named
    if not isinstance(values, list):
        raise DataError(f"{where}: distortion_params is {short(values)}, not a list of numbers")
    numbers = [number({"distortion_params": value}, "distortion_params", where) or 0.0 for value in values]
    is_four = model in FISHEYES and len(numbers) == 4
    listed = dict(zip(FISHEYES["FISHEYE"], numbers, strict=True)) if is_four else _by_name(numbers, where)
    if any(named.values()) and {n: v for n, v in named.items() if v} != {n: v for n, v in listed.items() if v}:
        raise DataError(
            f"{where}: distortion_params and {_told(named)} are both there and differ: take one of them out"
        )
    return listed


def _by_name(numbers: list[float], where: str) -> dict[str, float]:
    """A list's numbers by name, where its length and the zeros at its end leave no doubt of the order."""
    used = len(numbers)
    if used not in LISTS and used != 4:
        while used > 2 and numbers[used - 1] == 0:
            used -= 1
    if used == 4 and numbers[2:4] == [0, 0]:
        used = 2
    if used not in LISTS and used > 0:
        raise DataError(
            f"{where}: distortion_params has {len(numbers)} numbers, whose order programs do not agree on: give k1, "
            "k2, p1, "
            "p2 as keys of their own"
        )
    return dict(zip(LISTS[used], numbers, strict=False)) if used else {}


def _told(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items() if value)


def _positive(tree: Tree, key: str, where: str) -> float | None:
    value = number(tree, key, where)
    if value is not None and value <= 0:
        raise DataError(f"{where}: {key} is {value:g}; it must be more than 0")
    return value


def _angle(tree: Tree, key: str, where: str) -> float | None:
    value = _positive(tree, key, where)
    if value is not None and value >= math.pi:
        raise DataError(f"{where}: {key} is {value:g}; it is in radians, less than pi")
    return value


def _pixels(tree: Tree, key: str, where: str) -> int | None:
    value = _positive(tree, key, where)
    if value is not None and value != int(value):
        raise DataError(f"{where}: {key} is {value:g}, no whole number of pixels")
    return None if value is None else int(value)
