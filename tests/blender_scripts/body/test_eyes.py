"""Teeth keep behind the skin, and the eye's white is darker below the upper lid."""

import numpy as np
import pytest

from blender_scripts.body.body import build_body
from blender_scripts.body.eyes import build_eyes, build_mouth
from pipeline.people.draw import draw_avatar


@pytest.mark.parametrize("expression", ["amazed", "kiss", "shout", "pout"])
def test_nothing_of_the_mouth_comes_through_the_chin(expression: str) -> None:
    spec = draw_avatar(0, 18).model_copy(
        update={"expression": expression, "expression_intensity": 1.0, "second_expression": None}
    )
    body = build_body(spec)
    outer = body.vertices[(body.topology.masks["inside-mouth"] < 0.1) & (body.topology.rest[:, 2] > 0.9)]
    for part in build_mouth(body):
        for point in part.vertices[::7]:
            nearest = outer[np.linalg.norm(outer[:, :2] - point[:2], axis=1).argmin()]
            assert point[2] < nearest[2], part.name


def test_the_upper_lid_shades_the_eye() -> None:
    spec = draw_avatar(0, 6)
    body = build_body(spec)
    ball = next(part for part in build_eyes(spec, body) if part.name == "eyeball l")
    centre, radius = body.eyes[0]
    offset = (ball.vertices - centre) / radius
    white = ball.colours.min(1) > 0.2
    top = white & (offset[:, 1] > 0.2) & (offset[:, 1] < 0.3)
    middle = white & (np.abs(offset[:, 1]) < 0.1) & (np.abs(offset[:, 0]) < 0.6)
    assert top.any() and middle.any()
    assert ball.colours[top].mean() < 0.9 * ball.colours[middle].mean()
