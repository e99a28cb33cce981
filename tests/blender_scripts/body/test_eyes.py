"""The eye's white is darker below the upper lid."""

import numpy as np

from blender_scripts.body.body import build_body
from blender_scripts.body.eyes import build_eyes
from pipeline.people.draw import draw_avatar


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
