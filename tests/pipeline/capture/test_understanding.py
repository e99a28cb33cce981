"""Captures that explain themselves, and those that do not: named by frame and by what they may be."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.captures import CENTRE, FOCAL, SCALE, SIZE, Z_UP, poses, transform_matrix
from support.textured_ellipsoid import photograph

from pipeline.capture import understanding
from pipeline.capture.diagnosis import better_reading
from pipeline.capture.placement import agreement_within, find_cube
from pipeline.capture.sight import Sight
from pipeline.contracts.camera import Camera, swap_opengl
from pipeline.contracts.errors import DataError

pytestmark = pytest.mark.seconds

ALPHAS = [np.round(photograph(pose, FOCAL, SIZE)[..., 3] * 255).astype(np.uint8) for pose in poses(12)]
MATRICES = [swap_opengl(np.array(transform_matrix(pose))) for pose in poses(12)]


def as_it_is(value, number):
    return value


def sights(count=12, *, mask=as_it_is, matrix=as_it_is, focal=FOCAL, middle=SIZE / 2):
    found = []
    for number in np.linspace(0, 11, count).astype(int):
        pinhole = {"fx": focal, "fy": focal, "cx": middle, "cy": middle, "width": SIZE, "height": SIZE}
        camera = Camera.of_matrix(matrix(MATRICES[number], number), **pinhole)
        found.append(Sight.of_alpha(f"frame {number}", camera, mask(ALPHAS[number], number)))
    return found


def judged(found, alpha="masks"):
    """What ``ingest`` says of it; the agreement where it says nothing."""
    item = SimpleNamespace(sights=tuple(found), alpha=alpha, capture=SimpleNamespace(folder="capture"))
    centre, half_side = understanding._find_cube(item)
    agreement = agreement_within(found, centre, half_side, is_whole=True)
    understanding._refuse_disagreement(item, agreement)
    return agreement


def noisy(matrix, number):
    generator = np.random.default_rng(number)
    turn, _ = np.linalg.qr(np.eye(3) + np.radians(0.7) * generator.normal(size=(3, 3)))
    out = matrix.copy()
    out[:3, :3] = turn * np.sign(np.diag(turn)) @ matrix[:3, :3]
    out[:3, 3] += 0.02 * SCALE * generator.normal(size=3)
    return out


def speckled(alpha, number):
    return np.where(np.random.default_rng(number).random(alpha.shape) < 0.01, 255, alpha).astype(np.uint8)


def occluded(alpha, number):
    out = alpha.copy()
    if number % 4 == 0:
        out[:, SIZE // 2 + 2 :] = 0
    return out


SOUND = {
    "all": {},
    "three": {"count": 3},
    "five": {"count": 5},
    "noisy poses": {"matrix": noisy},
    "speckled masks": {"mask": speckled},
    "partly occluded": {"mask": occluded},
    "one half occluded": {"mask": lambda alpha, number: occluded(alpha, 0 if number == 7 else 1)},
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_captures_agree(name):
    agreement = judged(sights(**SOUND[name]))
    assert agreement.median > 0.93
    if name in ("all", "three", "five"):
        assert agreement.median > 0.98 and agreement.frames[agreement.worst] > 0.95


def dots(alpha, number):
    """Small balls in place of the egg, which looks the same when it is turned."""
    points = CENTRE + SCALE * np.array(((0.3, 0.1, 0.5), (-0.4, 0.2, -0.1), (0.1, -0.5, 0.0), (0.1, 0.3, -0.5)))
    camera = Camera.of_matrix(MATRICES[number], fx=FOCAL, fy=FOCAL, cx=SIZE / 2, cy=SIZE / 2, width=SIZE, height=SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    out = np.zeros_like(alpha)
    for column, row, depth in camera.project(points):
        out[np.hypot(rows - row, columns - column) < 0.17 * SCALE * FOCAL / depth] = 255
    return out


def vignette(alpha, number):
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    return np.where(np.hypot(rows, columns) > 0.55 * SIZE, 255, alpha).astype(np.uint8)


def only(wrong, of=5):
    return lambda alpha, number: wrong(alpha) if number == of else alpha


def world_to_camera(matrix, number):
    return swap_opengl(np.linalg.inv(swap_opengl(matrix)))


UNSOUND = {
    "OpenCV's": ({"matrix": lambda matrix, number: swap_opengl(matrix)}, "may be OpenCV's"),
    "world to camera": ({"matrix": world_to_camera}, "the matrices are world to camera"),
    "another size": ({"focal": 2 * FOCAL, "middle": SIZE}, "2 times as large as these"),
    "uneven background": ({"mask": vignette}, "not be of one colour"),
    "turned": ({"mask": lambda alpha, number: dots(alpha, number)[::-1, ::-1]}, "turned upside down"),
    "one opaque": ({"mask": only(lambda alpha: np.full_like(alpha, 255))}, "frame 5: .*every pixel of it is opaque"),
    "one inverted": ({"mask": only(lambda alpha: 255 - alpha)}, "frame 5: .*inverted"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_captures_are_refused_by_what_they_may_be(name):
    how, told = UNSOUND[name]
    with pytest.raises(DataError, match=told) as caught:
        judged(sights(**how), "background")
    assert "frame" in str(caught.value)


def test_a_frame_of_another_scale_is_seen_in_its_agreement():
    found = sights()
    camera = found[4].camera.model_copy(update={"fx": 2 * FOCAL, "fy": 2 * FOCAL})
    found[4] = replace(found[4], camera=camera)
    agreement = judged(found)
    assert agreement.worst == 4 and agreement.frames[4] < 0.6 < 0.95 < agreement.median


def test_a_sound_capture_has_no_better_reading():
    assert better_reading(sights(8, matrix=noisy)) == ""
    agreement = judged(sights(mask=dots))
    assert agreement.median > 0.97 and better_reading(sights(8, mask=dots)) == ""


def test_the_cube_of_what_is_thinner_than_the_grid():
    found = sights(8, mask=lambda alpha, number: np.where(np.arange(SIZE) == SIZE // 2, alpha, 0).astype(np.uint8))
    centre, half_side = find_cube(found, "capture")
    assert half_side < 2 * SCALE and np.abs(centre - CENTRE).max() < SCALE and Z_UP.shape == (3, 3)
