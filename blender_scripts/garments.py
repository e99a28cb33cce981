"""Clothes: the torso clipped at a neckline, smoothed, eased off the skin, folded, trimmed, and closed at the cut.

Necklines are scalar fields on the base shape (decimetres): above 0 is inside the opening. A plane that falls from the
nape to the chest meets the neck only, never the shoulders, so no hole can open there.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from blender_scripts.assets import Floats, Ints
from blender_scripts.body import Body, cut_height, topology
from blender_scripts.collar import build_collar, build_hems, build_lapels
from blender_scripts.mesh import (
    adjacency,
    border_loops,
    clip,
    fan_cap,
    largest_component,
    smooth,
    vertex_normals,
    waves,
)
from blender_scripts.parts import MeshPart, linear, smoothstep
from pipeline.contracts.appearance import GarmentSpec
from pipeline.contracts.avatar import AvatarSpec


@dataclass(frozen=True)
class Cut:
    """A neckline and the cloth below it: a plane at ``height`` where z = 0, falling by ``slope`` a unit of z."""

    height: float
    slope: float
    vee: float = 0.0
    """Depth of the V below the plane, in decimetres."""
    offset_m: float = 0.006
    ease_m: float = 0.008
    sheen: float = 0.2
    rib: float = 0.0


CUTS: Final[dict[str, Cut]] = {
    "tee": Cut(5.84, 0.50, sheen=0.1),
    "v-neck": Cut(5.88, 0.46, vee=0.50, rib=260.0),
    "turtleneck": Cut(6.24, 0.20, rib=300.0, sheen=0.4),
    "shirt": Cut(5.98, 0.44, vee=0.22, ease_m=0.010, sheen=0.05),
    "hoodie": Cut(5.88, 0.46, offset_m=0.009, ease_m=0.014, sheen=0.35),
    "jumper": Cut(5.86, 0.47, offset_m=0.008, ease_m=0.010, rib=220.0, sheen=0.5),
    "tank": Cut(5.80, 0.44, offset_m=0.004, ease_m=0.004, sheen=0.05),
    "polo": Cut(5.97, 0.44, vee=0.16, ease_m=0.008, rib=420.0, sheen=0.15),
    "jacket": Cut(6.00, 0.40, offset_m=0.0145, ease_m=0.010, sheen=0.1),
}
BARE_ARM = 0.35
"""A tank's armholes lie where an arm's skinning weight is this large."""


def neckline(style: str, rest: Floats) -> Floats:
    """Signed height above the neckline at points of the base shape, in decimetres."""
    cut = CUTS[style]
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    line = cut.height - cut.slope * z
    if cut.vee:
        front = smoothstep(0.25, 0.6, z)
        vee = cut.height - cut.slope * 0.8 - cut.vee + x * (cut.vee + 0.25) / 0.62
        line = line + front * np.minimum(0, vee - line)
    near_neck = smoothstep(0.96, 0.78, x)
    return (y - line) * near_neck - 1.6 * (1 - near_neck)


def opening(style: str, rest: Floats, arms: Floats) -> Floats:
    """Above 0 where the garment leaves the body free: the neck, a tank's arms, a jacket's front.

    ``arms`` is the skinning weight of the arms at each point.
    """
    field = neckline(style, rest)
    if style == "tank":
        return np.maximum(field, 1.1 * (arms - BARE_ARM))
    if style == "jacket":
        half = 0.16 + 0.30 * smoothstep(4.2, 5.7, rest[:, 1])
        front = np.where(rest[:, 2] > 0.15, half - np.abs(rest[:, 0]), -1.0)
        return np.maximum(field, front)
    return field


def arm_weights(levels: int, body: Body) -> Floats:
    """Skinning weight of both arms on the surface subdivided ``levels`` times."""
    surface = topology(levels)
    return np.asarray(surface.matrix @ (body.topology.arm[0] + body.topology.arm[1]))


def covered(spec: AvatarSpec, body: Body) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Vertices of the skin that lie so deep under the garment that they need not be there."""
    rest = body.topology.rest
    if spec.garment.style == "tank":
        bare = opening("tank", rest, arm_weights(2, body))
        under: np.ndarray[tuple[int], np.dtype[np.bool_]] = (bare < -0.30) & (rest[:, 1] < 6.1)
        return under
    deep = (neckline(spec.garment.style, rest) < -0.42) | (np.abs(rest[:, 0]) > 1.05) | (rest[:, 1] < 4.0)
    hidden: np.ndarray[tuple[int], np.dtype[np.bool_]] = deep & (rest[:, 1] < 6.1)
    return hidden


def build_garment(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """The garment's cloth, its trims, and caps that close the bust at the cut; a jacket is worn over a tee."""
    garment = spec.garment
    if garment.style != "jacket":
        return _layer("garment", spec, garment, body)
    inner = garment.model_copy(
        update={"style": "tee", "colour": garment.accent, "pattern": "plain", "ease": 0.0, "folds": 0.5 * garment.folds}
    )
    return _layer("tee", spec, inner, body) + _layer("garment", spec, garment, body)


def _layer(name: str, spec: AvatarSpec, garment: GarmentSpec, body: Body) -> list[MeshPart]:
    cut, coarse = CUTS[garment.style], topology(1)
    rng = np.random.Generator(np.random.PCG64([spec.seed, 8]))
    surface = coarse.matrix @ body.base
    arms = arm_weights(1, body)
    outside = (coarse.rest[:, 1] < 6.45) & (coarse.masks["inside-mouth"] < 0.1)
    triangles = coarse.triangles[outside[coarse.triangles].all(1)]
    packed = np.concatenate((surface, coarse.rest, arms[:, None]), 1)
    vertices, triangles, packed = clip(surface, triangles, -opening(garment.style, coarse.rest, arms), packed)
    triangles = largest_component(triangles, len(vertices))
    used, compact = np.unique(triangles, return_inverse=True)
    vertices, triangles, rest, arms = vertices[used], compact.reshape(-1, 3), packed[used, 3:6], packed[used, 6]
    field = opening(garment.style, rest, arms)
    vertices = _drape(garment, cut, vertices, triangles, rest, field, rng)
    weave = _weave(vertices, rest)
    vertices, triangles, packed = clip(
        vertices, triangles, vertices[:, 1] - cut_height(vertices), np.concatenate((weave, rest), 1)
    )
    weave, rest = packed[:, :3], packed[:, 3:]
    settings = _settings(garment, cut)
    colour = np.repeat(linear(garment.colour)[None], len(vertices), 0)
    parts = [MeshPart(name, vertices, triangles, "cloth", "garment", colour, {"weave": weave}, settings)]
    plain = {**settings, "pattern": 0.0}
    above = vertices[:, 1] - cut_height(vertices)
    free = []
    for number, loop in enumerate(border_loops(triangles)):
        on_cut = np.abs(above[loop]) < 1e-4
        if (garment.style == "jacket" and not on_cut.all()) or not on_cut.any():
            free.append(loop)
            continue
        ring, fan = fan_cap(vertices, loop)
        shade = np.repeat(0.5 * linear(garment.colour)[None], len(ring), 0)
        parts.append(MeshPart(f"cap {name} {number}", ring, fan, "cloth", "garment", shade, {"weave": ring}, plain))
        parts += build_hems(vertices[loop], on_cut, garment, plain)
    free.sort(key=lambda loop: -vertices[loop, 1].max())
    if garment.style == "jacket":
        edge = vertices[free[0]]
        at_neck = np.abs(neckline("jacket", rest[free[0]])) < 0.03
        on_cut = above[free[0]] < 0.004
        return parts + build_lapels(garment, edge, at_neck, on_cut, plain)
    return parts + build_collar(garment, vertices[free[0]], vertices, plain)


def _drape(
    garment: GarmentSpec,
    cut: Cut,
    vertices: Floats,
    triangles: Ints,
    rest: Floats,
    field: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Smooth the skin's forms away, ease the cloth off, and lay folds."""
    mean = adjacency(triangles, len(vertices))
    border = np.zeros(len(vertices), bool)
    for loop in border_loops(triangles):
        border[loop] = True
    depth = np.clip(-field, 0, None)
    free = np.where(border, 0.25, 0.5) * (0.35 + 0.65 * smoothstep(0.0, 0.5, depth))
    vertices = smooth(vertices, mean, 16, free)
    normals = smooth(vertex_normals(vertices, triangles), mean, 8)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    hang = smoothstep(0.1, 1.6, depth)
    offset = cut.offset_m + cut.ease_m * (0.35 + 0.65 * garment.ease) * hang
    if garment.style == "turtleneck":
        offset += 0.0045 * smoothstep(0.0, 0.03, depth) * smoothstep(0.30, 0.26, depth)
    # Folds run down from the shoulders and diagonally to the armpits: long waves along y, short ones across.
    across = waves(rest, rng, np.array((0.62, 0.20, 0.62)), 7)
    ridge = 1 - np.abs(across)
    armpit = np.exp(-0.5 * (((np.abs(rest[:, 0]) - 1.5) / 0.5) ** 2 + ((rest[:, 1] - 4.5) / 0.7) ** 2))
    slant = np.sin(7.0 * (np.abs(rest[:, 0]) * 0.8 + rest[:, 1]) + 1.5 * waves(rest, rng, np.array((0.3, 0.3, 0.3))))
    folds = (
        0.0055 * ridge * hang + 0.0050 * armpit * slant + 0.0022 * waves(rest, rng, np.array((1.6, 1.0, 1.6))) * hang
    )
    vertices = vertices + (offset + garment.folds * folds)[:, None] * normals
    return smooth(vertices, mean, 2, np.where(border, 0.0, 0.4))


def _weave(vertices: Floats, rest: Floats) -> Floats:
    """Coordinates that patterns run along, in metres: around the body, up, outwards."""
    around = np.arctan2(vertices[:, 0], vertices[:, 2] + 0.25) * 0.36
    return np.stack((around, vertices[:, 1], vertices[:, 2]), -1)


def _settings(garment: GarmentSpec, cut: Cut) -> dict[str, float]:
    accent = linear(garment.accent)
    patterns = {"plain": 0.0, "melange": 0.0, "stripes": 1.0, "checks": 2.0}
    return {
        "melange": 0.9 if garment.pattern == "melange" else 0.12,
        "rib": cut.rib,
        "sheen": cut.sheen,
        "pattern": patterns[garment.pattern],
        "accent r": float(accent[0]),
        "accent g": float(accent[1]),
        "accent b": float(accent[2]),
        "period": 0.030 + 0.05 * garment.ease if garment.style != "shirt" else 0.014 + 0.01 * garment.ease,
    }
