"""One avatar as parts: the order in which the body, its skin, hair, clothes and glasses are made."""

from dataclasses import replace
from typing import Final

import numpy as np

from blender_scripts.accessories import build_glasses
from blender_scripts.assets import Floats
from blender_scripts.body import build_body, cut_height
from blender_scripts.eyes import build_eyes, build_mouth
from blender_scripts.facial_hair import beard_density, build_beard, build_brows, build_lashes
from blender_scripts.garments import build_garment, covered
from blender_scripts.hair import build_hair, hair_colour, scalp_density
from blender_scripts.obstacle import Obstacle
from blender_scripts.parts import MeshPart, Part
from blender_scripts.skin import paint_skin
from pipeline.contracts.avatar import AvatarSpec

RADIUS_M: Final = 0.220
"""All parts lie within this distance of the world's y axis."""
TOP_M: Final = 0.242
"""All parts lie below this height."""
SOFT: Final = 0.22


def build_person(spec: AvatarSpec) -> list[Part]:
    """All parts of one avatar, in metres. The same spec gives the same arrays."""
    body = build_body(spec)
    colour = hair_colour(spec)
    scalp, beard = scalp_density(spec, body), beard_density(spec, body)
    fields = paint_skin(spec, body, scalp, beard, colour)
    triangles = body.topology.triangles
    hidden = covered(spec, body)
    low = body.vertices[:, 1] < cut_height(body.vertices) + 0.012
    seen = triangles[~(hidden[triangles].all(1) | low[triangles].any(1))]
    skin = MeshPart(
        "skin",
        body.vertices,
        seen,
        "skin",
        fields.pop("colour"),
        {"rest": body.topology.rest, **fields},
        {"wrinkles": spec.skin.wrinkles},
    )
    garment = build_garment(spec, body)
    obstacle = Obstacle.of_parts(body, garment)
    parts: list[Part] = [skin, *build_eyes(spec, body), *build_mouth(body), *garment]
    parts += build_glasses(spec, body)
    parts += [*build_brows(spec, body), *build_lashes(spec, body), *build_beard(spec, body)]
    parts += build_hair(spec, body, obstacle)
    return [_fitted(part) for part in parts]


def _fitted(part: Part) -> Part:
    if isinstance(part, MeshPart):
        return replace(part, vertices=into_cube(part.vertices))
    return replace(part, points=into_cube(part.points))


def into_cube(points: Floats) -> Floats:
    """Compress what lies far out, so that wide shoulders and big hair stay in the cylinder that cameras see whole.

    Nothing moves within ``SOFT`` of its limit; beyond, distances approach the limit and never reach it.
    """
    radius = np.hypot(points[..., 0], points[..., 2])
    scale = _limit(radius, RADIUS_M) / np.maximum(radius, 1e-9)
    height = np.where(points[..., 1] > 0, _limit(points[..., 1], TOP_M), points[..., 1])
    return np.stack((points[..., 0] * scale, height, points[..., 2] * scale), -1)


def _limit(value: Floats, bound: float) -> Floats:
    start = bound * (1 - SOFT)
    over = np.maximum(value - start, 0) / (bound - start)
    return np.where(value > start, start + (bound - start) * np.tanh(over), value)
