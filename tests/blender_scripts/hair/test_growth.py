"""Combing gives directions along the head, each way its own; a way that nobody knows is an error."""

from functools import cache
from typing import get_args

import numpy as np
import pytest

from blender_scripts.body.body import Body, build_body
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.hair.growth import Grower
from blender_scripts.hair.style import Comb, Head
from pipeline.people.draw import draw_avatar

SPEC = draw_avatar(0, 11)


@cache
def body() -> Body:
    return build_body(SPEC)


@cache
def scalp() -> np.ndarray:
    return body().vertices[body().topology.rest[:, 1] > 8.0]


def combed(comb: str) -> np.ndarray:
    grower = Grower(SPEC, Head.of(body()), Obstacle.of_parts(body(), []), np.random.default_rng(0))
    sides, front = np.where(scalp()[:, 0] > 0, 0.8, -0.8), np.zeros((len(scalp()), 1))
    return grower.comb(comb, scalp(), sides, front, Head.of(body()).nape[None])


def test_directions_have_length_1_and_those_of_lying_hair_run_along_the_head() -> None:
    out = scalp() - Head.of(body()).centre
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    for comb in get_args(Comb):
        directions = combed(comb)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-9)
        if comb not in ("radial", "tied"):
            assert np.abs((directions * out).sum(1)).max() < 1e-6, comb
    assert ((combed("radial") * out).sum(1) > 0.5).all(), "an afro stands"


def test_each_way_goes_its_own() -> None:
    assert combed("forward")[:, 2].mean() > 0.1 > -0.1 > combed("swept")[:, 2].mean()
    for comb in ("side", "parted"):
        assert (combed(comb)[:, 0] * np.sign(scalp()[:, 0]) > 0).mean() > 0.9, comb
    with pytest.raises(AssertionError, match="upwards"):
        combed("upwards")
