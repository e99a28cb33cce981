"""One avatar as parts: the order in which the body, its skin, hair, clothes and glasses are made."""

from dataclasses import replace
from typing import Final

import numpy as np

from blender_scripts.body.body import Body, build_body, cut_height
from blender_scripts.body.eyes import build_eyes
from blender_scripts.body.mouth import build_mouth
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.body.pose import turn_head
from blender_scripts.body.skin import paint_skin, skin_labels
from blender_scripts.clothes.cut import CUTS
from blender_scripts.clothes.earrings import build_earrings
from blender_scripts.clothes.garment import build_garment, covered
from blender_scripts.clothes.glasses import build_glasses
from blender_scripts.clothes.hat import build_hat, press_hair
from blender_scripts.geometry.arrays import Floats, smoothstep
from blender_scripts.geometry.material import Skin
from blender_scripts.geometry.mesh import border_loops, clip, fan_cap
from blender_scripts.geometry.parts import MeshPart, Part
from blender_scripts.hair.colour import hair_colour
from blender_scripts.hair.facial import beard_density, brow_density, build_beard, build_brows, build_lashes
from blender_scripts.hair.hair import build_hair
from blender_scripts.hair.scalp import scalp_density
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
    scalp, beard, brow = scalp_density(spec, body), beard_density(spec, body), brow_density(spec, body.topology.rest)
    fields = paint_skin(spec, body, scalp, beard, brow, colour)
    triangles = body.topology.triangles
    hidden = covered(spec, body)
    seen = triangles[~(hidden[triangles].all(1) | low_vertices(body)[triangles].any(1))]
    skin = MeshPart(
        name="skin",
        role="skin",
        vertices=body.vertices,
        faces=seen,
        material=Skin(pores=0.10 + 0.30 * float(smoothstep(10, 35, np.asarray(spec.age_years)))),
        label="skin",
        face_labels=skin_labels(seen),
        colours=fields.pop("colour"),
        fields={"rest": body.topology.rest, **fields},
    )
    cut = CUTS[spec.garment.style]
    arms = bare_arms(skin, body) if cut.bare_arms else []
    garment = build_garment(spec, body)
    obstacle = Obstacle.of_parts(body, garment)
    parts: list[Part] = [skin, *arms, *build_eyes(spec, body), *build_mouth(body), *garment]
    parts += [*build_glasses(spec, body), *build_earrings(spec, body), *build_hat(spec, body)]
    parts += [*build_brows(spec, body), *build_lashes(spec, body), *build_beard(spec, body)]
    hair = build_hair(spec, body, obstacle, cut.hair_below_chin_m)
    if spec.hat is not None:
        skin_only = Obstacle.of_parts(body, [])
        hair = [replace(part, points=press_hair(spec.hat, body, skin_only, part.points)) for part in hair]
    parts += hair
    return [_fitted(spec, body, part) for part in parts]


def low_vertices(body: Body) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Vertices near or below the cut, whose triangles the skin leaves out."""
    low: np.ndarray[tuple[int], np.dtype[np.bool_]] = body.vertices[:, 1] < cut_height(body.vertices) + 0.012
    return low


def bare_arms(skin: MeshPart, body: Body) -> list[MeshPart]:
    """The lower part of the skin, cut off and closed where the bust ends: seen where no sleeve covers it."""
    names = tuple(skin.fields)
    columns = [skin.colours, *(np.atleast_2d(skin.fields[name].T).T for name in names)]
    packed = np.concatenate([body.vertices, *columns], 1)
    triangles = body.topology.triangles
    arm = (body.topology.matrix @ (body.topology.arm[0] + body.topology.arm[1])) > 0.02
    near = low_vertices(body)[triangles].any(1) & arm[triangles].any(1)
    vertices, faces, packed = clip(
        body.vertices, triangles[near], body.vertices[:, 1] - cut_height(body.vertices), packed
    )
    ends = np.cumsum([3, *(column.shape[1] for column in columns)])
    colours, *values = np.split(packed, ends[:-1], 1)[1:]
    fields = {n: v if v.shape[1] > 1 else v[:, 0] for n, v in zip(names, values, strict=True)}
    arm_skin = replace(skin, role="piece", face_labels={})
    parts = [replace(arm_skin, name="arms", vertices=vertices, faces=faces, colours=colours, fields=fields)]
    for number, loop in enumerate(border_loops(faces)):
        if np.abs(vertices[loop, 1] - cut_height(vertices[loop])).max() < 1e-4:
            ring, fan = fan_cap(vertices, loop)
            tint = np.repeat(0.5 * colours[loop].mean(0)[None], len(ring), 0)
            held = {n: np.concatenate((v[loop], v[loop].mean(0, keepdims=True))) for n, v in fields.items()}
            closed = replace(arm_skin, name=f"cap arm {number}", role="cap", vertices=ring, faces=fan)
            parts.append(replace(closed, colours=tint, fields=held))
    return parts


def _fitted(spec: AvatarSpec, body: Body, part: Part) -> Part:
    if isinstance(part, MeshPart):
        return replace(part, vertices=placed(spec, body, part.vertices))
    return replace(part, points=placed(spec, body, part.points))


def placed(spec: AvatarSpec, body: Body, points: Floats) -> Floats:
    """Where points of the built avatar end up in the scene, in metres: the head turned, all fitted into the cube."""
    return into_cube(turn_head(spec.pose, body, points))


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
