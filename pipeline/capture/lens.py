"""Distorted photographs made into those of a pinhole camera, by OpenCV's models of lenses.

The pinhole looks the same way from the same place with the same principal point; its focal length is the smallest with
which every pixel lies in the photograph, so that nothing has to be made up. What of the object lies outside is stated.
"""

import importlib.util
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contracts.camera import Array, Camera
from pipeline.contracts.capture import Distortion
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.machine import install_command
from pipeline.picture_file import Pixels

WIDEST, NARROWEST = 0.4, 4.0
"""Focal lengths that are tried, of the photograph's own."""
_HALVINGS: Final = 24
_FAINT: Final = 2
"""Alpha up to this level, which interpolation leaves beside edges, is none."""


def require_lenses(where: str, distortion: Distortion) -> None:
    """Raise ``ResourceError`` unless what undistorts is installed."""
    if importlib.util.find_spec("cv2") is None:
        raise ResourceError(
            f"{where}: the lens is distorted ({distortion.told}): install OpenCV to have it undistorted, "
            f"{install_command('portrait')}, or take the distortion out of the images"
        )


def undistorted(rgba: Pixels, camera: Camera, distortion: Distortion, where: str) -> tuple[Pixels, Camera, float]:
    """The picture and the camera without distortion, and the share of the object's pixels that fell outside.

    ``camera`` has the photograph's size and focal lengths. Raises ``DataError`` for a lens whose picture no pinhole
    shows.
    """
    require_lenses(where, distortion)
    import cv2

    pinhole = _pinhole(camera, distortion, where)
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    there = _distort(_directions(pinhole, columns, rows), camera, distortion) - 0.5  # OpenCV's pixel centres are whole
    map_x, map_y = (there[..., axis].reshape(columns.shape).astype(np.float32) for axis in (0, 1))
    alpha = rgba[..., 3:].astype(np.float32)
    premultiplied = np.concatenate((rgba[..., :3] * (alpha / 255), alpha), -1)
    moved = cv2.remap(premultiplied, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    covered = np.clip(moved[..., 3:], 0, 255)
    covered[covered <= _FAINT] = 0
    colour = np.clip(moved[..., :3] * 255 / np.maximum(moved[..., 3:], 1), 0, 255) * (covered > 0)
    flat = np.round(np.concatenate((colour, covered), -1)).astype(np.uint8)
    return flat, pinhole, _lost(rgba[..., 3] > 0, pinhole, camera, distortion)


def _pinhole(camera: Camera, distortion: Distortion, where: str) -> Camera:
    """The widest camera that sees nothing beyond the photograph."""
    narrow, wide = NARROWEST, WIDEST
    if not _is_inside(_scaled(camera, narrow), camera, distortion):
        raise DataError(f"{where}: no pinhole sees what a lens of {distortion.told} shows: undistort the images first")
    if _is_inside(_scaled(camera, wide), camera, distortion):
        return _scaled(camera, wide)
    for _ in range(_HALVINGS):
        middle = (narrow + wide) / 2
        if _is_inside(_scaled(camera, middle), camera, distortion):
            narrow = middle
        else:
            wide = middle
    return _scaled(camera, narrow)


def _scaled(camera: Camera, scale: float) -> Camera:
    return camera.model_copy(update={"fx": camera.fx * scale, "fy": camera.fy * scale})


def _is_inside(pinhole: Camera, camera: Camera, distortion: Distortion) -> bool:
    """Whether the borders of the pinhole's picture lie in the photograph, in the order in which they lie there."""
    for side, axis in zip(_borders(pinhole), (0, 1, 0, 1), strict=True):
        at = _distort(_directions(pinhole, side[:, 0], side[:, 1]), camera, distortion)
        inside = (at >= -1e-6) & (at <= np.array((camera.width, camera.height)) + 1e-6)
        # Beyond the angle that it was measured to, a polynomial turns back.
        steps = np.diff(at[:, axis]) * np.sign(side[-1, axis] - side[0, axis])
        if not (inside.all() and (steps > 0).all()):
            return False
    return True


def _borders(camera: Camera) -> tuple[Array, ...]:
    """Pixels (n, 2) along the four sides of a picture, one after the other."""
    corners = np.array(((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))) * (camera.width, camera.height)
    along = np.linspace(0, 1, 65)[:, None]
    return tuple(corners[i] * (1 - along) + corners[i + 1] * along for i in range(4))


def _directions(camera: Camera, columns: Array, rows: Array) -> Array:
    """(n, 2): x / z and y / z of the rays through pixels."""
    pair: Array = np.stack(((columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy), -1).reshape(-1, 2)
    return pair


def _distort(directions: Array, camera: Camera, distortion: Distortion) -> Array:
    """(n, 2): where the lens puts rays, in pixels."""
    import cv2

    matrix = np.array(((camera.fx, 0, camera.cx), (0, camera.fy, camera.cy), (0, 0, 1)))
    values = np.array(distortion.values, np.float64)
    if distortion.fisheye:
        return np.asarray(cv2.fisheye.distortPoints(directions[:, None], matrix, values)).reshape(-1, 2)
    points = np.concatenate((directions, np.ones((len(directions), 1))), 1)
    return np.asarray(cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, values)[0]).reshape(-1, 2)


def _lost(shown: npt.NDArray[np.bool_], pinhole: Camera, camera: Camera, distortion: Distortion) -> float:
    """Share of the shown pixels that lie outside of the new picture's borders."""
    import cv2

    if not shown.any():
        return 0.0
    sides = np.concatenate(_borders(pinhole))
    outline = _distort(_directions(pinhole, sides[:, 0], sides[:, 1]), camera, distortion) - 0.5
    seen = np.zeros(shown.shape, np.uint8)
    cv2.fillPoly(seen, [np.round(outline * 256).astype(np.int32)[:, None]], 1, shift=8)
    return float((shown & (seen == 0)).sum() / shown.sum())
