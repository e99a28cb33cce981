"""Hats: the scalp's own surface above a rim line, smoothed and eased off, with what belongs to each style.

The rim is drawn on the base shape (decimetres): a plane that is higher in front than behind and passes above the ears.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from blender_scripts.assets import Floats, Ints
from blender_scripts.body import Body, topology
from blender_scripts.mesh import (
    adjacency,
    border_loops,
    clip,
    largest_component,
    resample_closed,
    smooth,
    sweep,
    tube,
    vertex_normals,
)
from blender_scripts.obstacle import Obstacle
from blender_scripts.parts import MeshPart, linear, smoothstep
from pipeline.contracts.appearance import HatSpec
from pipeline.contracts.avatar import AvatarSpec

UP = np.array((0.0, 1.0, 0.0))
STEPS = 120


@dataclass(frozen=True)
class Shape:
    """Numbers of one style."""

    height: float
    """Of the rim where z = 0, in decimetres, and its rise a unit of z."""
    rise: float
    offset_m: float
    rib: float = 0.0
    sheen: float = 0.2


SHAPES: Final[dict[str, Shape]] = {
    "beanie": Shape(7.46, 0.32, 0.010, rib=900.0, sheen=0.4),
    "cap": Shape(7.52, 0.29, 0.008),
    "bucket hat": Shape(7.54, 0.24, 0.012),
    "beret": Shape(7.62, 0.26, 0.007, sheen=0.5),
}


def hat_field(hat: HatSpec, rest: Floats) -> Floats:
    """Signed height above the rim, in decimetres."""
    shape = SHAPES[hat.style]
    return np.asarray(rest[:, 1] - (shape.height + 0.08 * (0.5 - hat.depth)) - shape.rise * rest[:, 2])


def build_hat(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """The hat's parts; nothing without one."""
    hat = spec.hat
    if hat is None:
        return []
    shape, coarse = SHAPES[hat.style], topology(1)
    surface = coarse.matrix @ body.base
    free = (coarse.masks["ears"] < 0.2) & (coarse.rest[:, 1] > 6.9)
    triangles = coarse.triangles[free[coarse.triangles].all(1)]
    vertices, triangles, rest = clip(surface, triangles, hat_field(hat, coarse.rest), coarse.rest)
    triangles = largest_component(triangles, len(vertices))
    used, compact = np.unique(triangles, return_inverse=True)
    vertices, triangles, rest = vertices[used], compact.reshape(-1, 3), rest[used]
    field = hat_field(hat, rest)
    vertices = _eased(hat, shape, vertices, triangles, rest, field)
    colour = linear(hat.colour)
    settings = {
        "melange": 0.15, "rib": shape.rib, "sheen": shape.sheen, "pattern": 0.0, "period": 1.0,
        "accent r": 0.0, "accent g": 0.0, "accent b": 0.0, "share": 0.5, "folds": 0.0,
    }  # fmt: skip
    around = np.arctan2(vertices[:, 0], vertices[:, 2]) * 0.09
    weave = np.stack((around, vertices[:, 1], vertices[:, 2]), -1)
    tint = np.repeat(colour[None], len(vertices), 0)
    parts = [MeshPart("hat", vertices, triangles, "cloth", "hat", tint, {"weave": weave}, settings)]
    loop = resample_closed(vertices[border_loops(triangles)[0]], STEPS)
    for _ in range(4):
        loop = 0.5 * loop + 0.25 * (np.roll(loop, 1, 0) + np.roll(loop, -1, 0))
    parts.append(_trim(loop, 0.0028 if hat.style != "beanie" else 0.0045, 0.9 * colour, settings))
    if hat.style == "cap":
        parts.append(_sheet("peak", _peak(loop), 0.95 * colour, settings))
    elif hat.style == "bucket hat":
        parts.append(_sheet("brim", _brim(loop), 0.97 * colour, settings))
    elif hat.style == "beret":
        stalk = vertices[vertices[:, 1].argmax()] + np.array([(0, -0.002, 0), (0, 0.004, 0), (0.001, 0.010, 0)])
        parts.append(_trim(stalk, 0.0022, colour, settings, False))
    return parts


def press_hair(hat: HatSpec, body: Body, skin: Obstacle, strands: Floats) -> Floats:
    """Hold hair under the hat: above the rim it lies on the scalp, and from there to below the rim it comes free."""
    flat = strands.reshape(-1, 3)
    _, index = skin.tree.query(flat)
    rest = body.topology.rest[_head_vertices(body)]
    height = ((flat - skin.points[index]) * skin.normals[index]).sum(1)
    share = smoothstep(-0.75, 0.02, hat_field(hat, rest[index]))
    excess = share * np.maximum(height - 0.0015 - (1 - share) * 0.016, 0)
    return np.asarray((flat - excess[:, None] * skin.normals[index]).reshape(strands.shape))


def _head_vertices(body: Body) -> Ints:
    """The vertices that ``Obstacle.of_parts`` takes from the body, in its order."""
    on_head = (body.topology.rest[:, 1] > 5.9) & (body.topology.masks["inside-mouth"] < 0.1)
    return np.asarray(np.flatnonzero(on_head)[::3])


def _eased(hat: HatSpec, shape: Shape, vertices: Floats, triangles: Ints, rest: Floats, field: Floats) -> Floats:
    mean = adjacency(triangles, len(vertices))
    vertices = smooth(vertices, mean, 12, 0.5 * smoothstep(0.0, 0.15, field))
    normals = smooth(vertex_normals(vertices, triangles), mean, 6)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    offset = np.full(len(vertices), shape.offset_m)
    up = np.zeros(len(vertices))
    if hat.style == "beanie":
        offset = offset + 0.0055 * smoothstep(0.40, 0.36, field)  # the cuff
        up = 0.014 * smoothstep(0.5, 1.1, field)
    elif hat.style == "cap":
        offset = offset + 0.004 * smoothstep(0.1, 0.6, field)
        up = 0.008 * smoothstep(0.2, 0.8, field)
    elif hat.style == "bucket hat":
        offset = offset + 0.008 * smoothstep(0.3, 0.9, field)
        up = 0.006 * smoothstep(0.4, 0.9, field)
    else:
        rim = smoothstep(0.05, 0.22, field) * smoothstep(0.9, 0.35, field)
        offset = offset + 0.026 * rim * (1 + 0.45 * np.tanh(2 * rest[:, 0])) + 0.006 * smoothstep(0.3, 0.9, field)
    vertices = vertices + offset[:, None] * normals + up[:, None] * UP
    return smooth(vertices, mean, 4, 0.5 * smoothstep(0.04, 0.2, field))


def _outward(loop: Floats) -> Floats:
    out = (loop - loop.mean(0)) * (1, 0, 1)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


def _peak(loop: Floats) -> Floats:
    """(path, across, 3): the front of the rim drawn forward, curved down at the sides."""
    out = _outward(loop)
    front = np.argsort(-out[:, 2])[: STEPS // 3]
    front = front[np.argsort(loop[front, 0])]
    edge, span = loop[front], np.abs(out[front, 0])
    reach = 0.066 * np.sqrt(np.clip(1 - (span / span.max()) ** 2.4, 0, 1))
    t = np.linspace(0, 1, 14)
    ahead = np.array((0, -0.16, 1.0)) + 0.35 * out[front] * (1, 0, 0)
    drop = 0.020 * (span / span.max()) ** 2
    return np.asarray(
        edge[:, None]
        + (reach[:, None] * t[None])[..., None] * ahead[:, None]
        - (drop[:, None] * t[None] ** 1.5)[..., None] * UP
    )


def _brim(loop: Floats) -> Floats:
    """(path, across, 3): all round, outwards and down."""
    t = np.linspace(0, 1, 10)
    out = _outward(loop)
    return np.asarray(
        loop[:, None] + 0.040 * t[None, :, None] * out[:, None] - (0.024 * t + 0.006 * t**2)[None, :, None] * UP
    )


def _sheet(name: str, rows: Floats, colour: Floats, settings: dict[str, float]) -> MeshPart:
    """A sheet of cloth with thickness: upper and lower face joined at the outer edge."""
    thick = 0.0022
    rings = np.concatenate((rows + thick / 2 * UP, rows[:, ::-1] - thick / 2 * UP), 1)
    closed = name == "brim"
    vertices = rings.reshape(-1, 3)
    quads = sweep(rings, closed_rings=False, closed_path=closed)
    weave = np.stack((vertices[:, 0], vertices[:, 2], vertices[:, 1]), -1)
    tint = np.repeat(colour[None], len(vertices), 0)
    return MeshPart(name, vertices, quads, "cloth", "hat", tint, {"weave": weave}, {**settings, "rib": 0.0})


def _trim(path: Floats, radius: float, colour: Floats, settings: dict[str, float], closed: bool = True) -> MeshPart:
    vertices, quads = tube(path, radius, 10, closed)
    tint = np.repeat(colour[None], len(vertices), 0)
    name = "hat band" if closed else "stalk"
    return MeshPart(name, vertices, quads, "cloth", "hat", tint, {"weave": vertices}, settings)
