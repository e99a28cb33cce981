"""Teeth keep behind the skin."""

import numpy as np
import pytest

from blender_scripts.body.body import build_body
from blender_scripts.body.mouth import build_mouth
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.seconds


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
