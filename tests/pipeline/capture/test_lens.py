"""Distorted pictures made straight, by every model: the same as the pinhole's own."""

import numpy as np
import pytest

from pipeline.capture import lens
from pipeline.capture.lens import undistorted
from pipeline.contracts.camera import Camera
from pipeline.contracts.capture import Distortion
from pipeline.contracts.errors import DataError, ResourceError

CAMERA = Camera.of_matrix(np.eye(4), fx=70.0, fy=72.0, cx=31.0, cy=25.5, width=64, height=50)


def scene(directions):
    """RGBA of rays (n, 2): a smooth colour, and a disc of alpha."""
    x, y = directions.T
    colour = 127 + 100 * np.sin(np.stack((9 * x, 8 * y + 1, 7 * (x + y)), -1))
    alpha = 255 * np.clip((0.25 - np.hypot(x, y)) * 70 + 0.5, 0, 1)
    return np.round(np.concatenate((colour, alpha[:, None]), -1)).astype(np.uint8)


def rays(camera):
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return lens._directions(camera, columns, rows)


def straightened(distortion):
    """A distorted picture, each pixel's ray found by a fixed point of the model, and what is made of it."""
    wanted = rays(CAMERA)
    ray = wanted.copy()
    pixels = np.stack((wanted[:, 0] * CAMERA.fx + CAMERA.cx, wanted[:, 1] * CAMERA.fy + CAMERA.cy), -1)
    for _ in range(60):
        ray -= (lens._distort(ray, CAMERA, distortion) - pixels) / (CAMERA.fx, CAMERA.fy)
    picture = scene(ray).reshape(CAMERA.height, CAMERA.width, 4)
    return undistorted(picture, CAMERA, distortion, "x")


MODELS = [
    Distortion(model="SIMPLE_RADIAL", fisheye=False, values=(-0.2, 0, 0, 0, 0)),
    Distortion(model="RADIAL", fisheye=False, values=(0.3, 0.05, 0, 0, 0)),
    Distortion(model="OPENCV", fisheye=False, values=(0.1, -0.02, 0.01, -0.015, 0)),
    Distortion(model="OPENCV_FISHEYE", fisheye=True, values=(0.02, -0.01, 0, 0)),
]


@pytest.mark.parametrize("distortion", MODELS, ids=[distortion.model for distortion in MODELS])
def test_a_distorted_picture_becomes_the_pinholes(distortion):
    rgba, camera, lost = straightened(distortion)
    truth = scene(rays(camera)).reshape(rgba.shape)
    solid = (truth[..., 3] == 255) & (rgba[..., 3] == 255)
    assert solid.mean() > 0.1 and np.abs(rgba[solid].astype(int) - truth[solid]).max() <= 4
    both = np.minimum(rgba[..., 3], truth[..., 3]).sum(dtype=float)
    assert both / np.maximum(rgba[..., 3], truth[..., 3]).sum(dtype=float) > 0.98 and lost == 0
    assert (camera.cx, camera.cy, camera.width) == (CAMERA.cx, CAMERA.cy, CAMERA.width)


def test_what_is_lost_is_told():
    whole = np.full((50, 64, 4), 255, np.uint8)
    _, camera, lost = undistorted(whole, CAMERA, MODELS[1], "x")
    assert camera.fx > CAMERA.fx and 0.02 < lost < 0.3, "the corners of a pincushion"


def test_a_lens_that_no_pinhole_shows():
    odd = Distortion(model="OPENCV", fisheye=False, values=(-30.0, 0, 0, 0, 0))
    with pytest.raises(DataError, match=r"k1 = -30"):
        undistorted(np.zeros((50, 64, 4), np.uint8), CAMERA, odd, "x")


def test_without_opencv_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(lens.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"distorted \(k1 = -0.2\)"):
        undistorted(np.zeros((50, 64, 4), np.uint8), CAMERA, MODELS[0], "x")
