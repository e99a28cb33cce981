"""Lids go where gaze and expression want them, and half-faced units leave the other half alone."""

import numpy as np
import pytest

from blender_scripts.body.body import build_body
from blender_scripts.body.expression import LID_RIMS
from blender_scripts.body.makehuman import find_assets
from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.seconds


def looking(pitch_deg: float) -> AvatarSpec:
    spec = draw_avatar(0, 6)
    iris = spec.iris.model_copy(update={"gaze_deg": (0.0, pitch_deg)})
    return spec.model_copy(update={"iris": iris, "expression": "neutral", "second_expression": None})


def lid_heights(spec: AvatarSpec) -> np.ndarray:
    """(eye, upper and lower): over the eyeball's centre, in its radii."""
    body = build_body(spec)
    return np.array(
        [
            [(body.base[vertex, 1] - centre[1]) / radius for vertex in LID_RIMS[side]]
            for side, (centre, radius) in zip("lr", body.eyes, strict=True)
        ]
    )


@pytest.mark.parametrize("index", range(0, 30, 5))
def test_neutral_lids_cover_the_iris_above_and_touch_it_below(index: int) -> None:
    iris = draw_avatar(0, index).iris.model_copy(update={"gaze_deg": (0.0, 0.0)})
    spec = draw_avatar(0, index).model_copy(update={"iris": iris, "expression": "neutral", "second_expression": None})
    upper, lower = lid_heights(spec).T
    assert (upper > 0.2).all() and (upper < 0.45).all() and (lower > -0.52).all() and (lower < -0.3).all()


def test_lids_follow_the_gaze() -> None:
    up, down = lid_heights(looking(7.0)), lid_heights(looking(-7.0))
    moved = (up - down) / (2 * np.sin(np.radians(7.0)))  # of the pupil's way
    assert (moved[:, 0] > 0.5).all() and (moved[:, 0] < 1.0).all(), "upper"
    assert (moved[:, 1] > 0.15).all() and (moved[:, 1] < 0.6).all(), "lower"


def test_a_smirk_moves_one_corner_of_the_mouth() -> None:
    neutral = looking(0.0)
    moved = build_body(neutral.model_copy(update={"expression": "smirk", "expression_intensity": 1.0})).base
    body = build_body(neutral)
    rest = find_assets().base.vertices
    corners = ((0.259, 6.609, 1.418), (-0.259, 6.609, 1.418))
    left, right = (np.linalg.norm(rest - corner, axis=1).argmin() for corner in corners)
    way = np.linalg.norm(moved - body.base, axis=1)
    assert way[left] > 0.003 and way[left] > 3 * way[right]
