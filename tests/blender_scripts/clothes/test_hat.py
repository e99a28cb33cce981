"""Hats: they cover the scalp above their rim, keep off the skin and near it, in one piece with their trims."""

from typing import get_args

import numpy as np
import pytest
from scipy.spatial import cKDTree

from blender_scripts.body.body import build_body
from blender_scripts.clothes.hat import build_hat, hat_field
from blender_scripts.job.checks import GAP_M
from pipeline.contracts.appearance import HatSpec, HatStyle
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.seconds


@pytest.mark.parametrize("style", get_args(HatStyle))
@pytest.mark.parametrize("index", [0, 7])
def test_a_hat_is_outside_the_head_and_sits_on_it(style: str, index: int) -> None:
    hat = HatSpec.model_validate({"style": style, "colour_name": "grey", "colour": (0.4, 0.4, 0.4), "depth": 0.6})
    spec = draw_avatar(0, index).model_copy(update={"hat": hat})
    body = build_body(spec)
    parts = build_hat(spec, body)
    assert all(part.label == "hat" for part in parts) and len({part.name for part in parts}) == len(parts)
    shell = next(part for part in parts if part.name == "hat")
    scalp = np.flatnonzero((hat_field(hat, body.topology.rest) > 0.15) & (body.topology.masks["ears"] < 0.1))
    distance, nearest = cKDTree(shell.vertices).query(body.vertices[scalp])
    height = ((shell.vertices[nearest] - body.vertices[scalp]) * body.normals[scalp]).sum(1)
    # What is nearest to skin deep under a wide hat may lie sideways of it.
    assert ((height < 0) & (distance < 0.01)).mean() < 0.005, "the scalp is under the hat"
    gap, _ = cKDTree(body.vertices).query(shell.vertices)
    assert gap.min() < GAP_M, "it sits on the head"
    middle = body.vertices[scalp].mean(0)
    a, b, c = (shell.vertices[shell.faces[:, k]] for k in range(3))
    outward = (np.cross(b - a, c - a) * (a - middle)).sum(1)
    assert (outward > 0).mean() > 0.9 or (outward < 0).mean() > 0.9, "faces turn one way"
