"""Lenses as nerfstudio, instant-ngp and COLMAP write them: understood or refused, never passed over."""

import math

import numpy as np
import pytest

from pipeline.contracts.errors import DataError
from pipeline.io.lens_keys import read_intrinsics

TOP = {"fl_x": 50, "fl_y": 60, "w": 40, "h": 30}


def lens(top=None, frame=None):
    return read_intrinsics(TOP if top is None else top, frame or {}, "x")


def focal(top, frame):
    camera = lens(top, frame).camera(np.eye(4), 40, 30)
    return camera.fx, camera.fy


def test_what_a_frame_says_goes_before_what_the_top_says():
    assert focal(TOP, {"fl_x": 100}) == (100, 120), "the shape of its pixels stays"
    half = 20 / math.tan(0.3)
    assert focal({"fl_x": 50}, {"camera_angle_x": 0.6}) == pytest.approx((half, half))
    assert focal({"x_fov": 90}, {}) == pytest.approx((20, 20))
    assert focal({"fl_x": 50}, {"fl_y": 60}) == (50, 60)
    found = lens({**TOP, "k1": 0.1, "cx": 20}, {"k1": 0.0, "cx": 21})
    assert found.distortion is None and found.cx == 21
    found = lens({**TOP, "k1": 0.1, "k2": 0.2}, {"k2": 0.3})
    assert found.distortion.values == (0.1, 0.3, 0, 0, 0)
    found = lens({**TOP, "k1": 0.1, "k2": 0.2}, {"distortion_params": [0.4, 0, 0, 0, 0, 0]})
    assert found.distortion.values == (0.4, 0, 0, 0, 0)


MODELS = [
    ({"k1": 0.1}, False, (0.1, 0, 0, 0, 0)),
    ({"camera_model": "SIMPLE_RADIAL", "k1": 0.1}, False, (0.1, 0, 0, 0, 0)),
    ({"camera_model": "radial", "k1": 0.1, "k2": 0.2}, False, (0.1, 0.2, 0, 0, 0)),
    ({"camera_model": "OPENCV", "k1": 1, "k2": 2, "k3": 3, "p1": 4, "p2": 5}, False, (1, 2, 4, 5, 3)),
    ({"camera_model": "FULL_OPENCV", "k4": 0.1}, False, (0, 0, 0, 0, 0, 0.1, 0, 0)),
    ({"camera_model": "OPENCV_FISHEYE"}, True, (0, 0, 0, 0)),
    ({"is_fisheye": True, "k1": 1, "k4": 4}, True, (1, 0, 0, 4)),
    ({"camera_model": "OPENCV_FISHEYE", "distortion_params": [1, 2, 3, 4]}, True, (1, 2, 3, 4)),
    # nerfstudio's order: k1 k2 k3 k4 p1 p2
    ({"distortion_params": [1, 2, 3, 0, 4, 5]}, False, (1, 2, 4, 5, 3)),
    ({"distortion_params": [1, 2, 0, 0]}, False, (1, 2, 0, 0, 0)),
    ({"distortion_params": [1, 0, 0, 0, 0, 0, 0, 0]}, False, (1, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("keys", "fisheye", "values"), MODELS, ids=[str(keys) for keys, _, _ in MODELS])
def test_distorted_lenses(keys, fisheye, values):
    for top, frame in ((TOP | keys, {}), (TOP, keys)):
        found = lens(top, frame).distortion
        assert (found.fisheye, found.values) == (fisheye, values)


@pytest.mark.parametrize(
    "keys",
    [{}, {"camera_model": "PINHOLE"}, {"camera_model": "OPENCV", "k1": 0}, {"distortion_params": [0] * 6},
     {"is_fisheye": False}, {"rolling_shutter": [0, 0, 0, 0]}, {"camera_type": "perspective"}, {"camera_id": 3}],
)  # fmt: skip
def test_a_pinhole(keys):
    assert lens(TOP | keys).distortion is None


BAD = [
    ({"k1": "0.1"}, "k1 is '0.1', not a number"),
    ({"k1": True}, "k1 is True"),
    ({"distortion_params": 0.3}, "distortion_params is 0.3, not a list"),
    ({"distortion_params": [0.3, "a"]}, "distortion_params is 'a'"),
    ({"distortion_params": [0.1, 0.2, 0.3, 0.4]}, "has 4 numbers"),
    ({"distortion_params": [0.1, 0, 0, 0, 0, 0], "k1": 0.2}, "differ"),
    ({"camera_model": 3}, "camera_model is 3"),
    ({"camera_model": "EQUIRECTANGULAR"}, "camera model EQUIRECTANGULAR"),
    ({"camera_model": "PINHOLE", "k1": 0.1}, "which has no distortion, and k1 = 0.1"),
    ({"camera_model": "SIMPLE_RADIAL", "k2": 0.1}, "k2 = 0.1"),
    ({"k4": 0.1}, "k4 = 0.1"),
    ({"is_fisheye": 1}, "is_fisheye is 1"),
    ({"is_fisheye": True, "camera_model": "OPENCV"}, "take one of them out"),
    ({"fisheye_crop_radius": 400}, "fisheye_crop_radius is 400"),
    ({"rolling_shutter": [0, 0, 0.1, 0]}, "rolling_shutter"),
    ({"intrinsic_matrix": [[1, 0, 0]]}, "intrinsic_matrix"),
    ({"K": [1, 0, 0]}, "K is"),
    ({"omega": 0.9}, "omega"),
    ({"coordinate_system": "opencv"}, "coordinate_system"),
    ({"x_fov": 200}, "x_fov is 200"),
]


@pytest.mark.parametrize(("keys", "told"), BAD, ids=[told for _, told in BAD])
def test_what_is_not_understood_is_refused(keys, told):
    for top, frame in ((TOP | keys, {}), (TOP, keys)):
        with pytest.raises(DataError) as caught:
            lens(top, frame)
        assert str(caught.value).startswith("x: ") and told in str(caught.value)


def test_two_focal_lengths_that_differ_are_seen():
    found = lens({"fl_x": 50, "camera_angle_x": 1.5})
    assert found.camera(np.eye(4), 40, 30).fx == 50 and found.says_two_focal_lengths(40, 30)
    assert not lens({"fl_x": 50, "camera_angle_x": 2 * math.atan(0.4)}).says_two_focal_lengths(40, 30)
