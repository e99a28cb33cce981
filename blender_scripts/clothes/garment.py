"""Clothes: the torso smoothed and eased off the skin, cut at a neckline, folded, trimmed, and closed at the cut."""

from dataclasses import replace
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.body.body import Body, cut_height, topology
from blender_scripts.clothes.collar import Surface, build_collar, build_hems
from blender_scripts.clothes.cut import CUTS, INNER, UNDER_ZIP, Cut, Front, neckline, opening
from blender_scripts.clothes.jacket import build_front
from blender_scripts.clothes.tailoring import armhole_m, folds_m, panels, raglan_m, refine, seams_m
from blender_scripts.geometry.arrays import Floats, Ints, linear, smoothstep
from blender_scripts.geometry.material import Cloth
from blender_scripts.geometry.mesh import (
    adjacency,
    border_loops,
    clip,
    fan_cap,
    largest_component,
    smooth,
    vertex_normals,
    waves,
)
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.appearance import GarmentSpec
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

ADULT_M: Final = 0.215
"""Half an adult's width across the shoulders."""
PINCH_M: Final = 0.0016
"""How deep seams draw the cloth in."""
CLEAR_M: Final = 0.0025
"""Cloth stays this far off the skin."""
BELOW_M: Final = 0.05
"""Cloth is made this far below the cut, so that its end does not shape what is seen."""


def arm_weights(levels: int, body: Body) -> Floats:
    """Skinning weight of both arms on the surface subdivided ``levels`` times."""
    surface = topology(levels)
    return np.asarray(surface.matrix @ (body.topology.arm[0] + body.topology.arm[1]))


def covered(spec: AvatarSpec, body: Body) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Vertices of the skin that lie so deep under the garment that they need not be there."""
    rest, cut = body.topology.rest, CUTS[spec.garment.style]
    if cut.bare_arms:
        bare = opening(cut, rest, arm_weights(2, body))
        under: np.ndarray[tuple[int], np.dtype[np.bool_]] = (bare < -0.22) & (rest[:, 1] < 6.1)
        return under
    deep = (neckline(cut, rest) < -0.42) | (np.abs(rest[:, 0]) > 1.05) | (rest[:, 1] < 4.0)
    hidden: np.ndarray[tuple[int], np.dtype[np.bool_]] = deep & (rest[:, 1] < 6.1)
    return hidden


def build_garment(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """The garment's cloth, its trims, and caps that close the bust at the cut; if it is open, what is worn under it."""
    garment = spec.garment
    if not CUTS[garment.style].is_open:
        return _layer("garment", spec, garment, body)
    style = INNER[generator_for(spec.seed, 0, "inner style").integers(len(INNER))] if tailored(spec) else UNDER_ZIP
    changes = {"style": style, "colour": garment.accent, "pattern": "plain", "ease": 0.0, "folds": 0.0}
    inner = _layer("inner", spec, garment.model_copy(update=changes), body)
    outer = _layer("garment", spec, garment, body, inner[0])
    cloth, trims = _unhidden(inner[0], outer[0]), inner[1:]
    trims = [part if part.role == "cap" else replace(part, name=f"inner {part.name}") for part in trims]
    return [replace(cloth, role="inner garment"), *trims, *outer]


def _unhidden(inner: MeshPart, outer: MeshPart) -> MeshPart:
    """The inner layer without what lies close under the outer one, away from its edges, where it might come through."""
    edge = outer.vertices[np.concatenate(border_loops(outer.faces))]
    edge = edge[edge[:, 1] - cut_height(edge) > 0.004]
    inside = cKDTree(edge).query(outer.vertices)[0] > 0.022
    gap, nearest = cKDTree(outer.vertices).query(inner.vertices)
    hidden = inside[nearest] & (gap < 0.030)
    return replace(inner, faces=inner.faces[~hidden[inner.faces].all(1)])


def _layer(
    name: str, spec: AvatarSpec, garment: GarmentSpec, body: Body, under: MeshPart | None = None
) -> list[MeshPart]:
    """The cloth first, then its caps and trims."""
    cut, fine = CUTS[garment.style], topology(2)
    rng = generator_for(spec.seed, 0, name)
    arms = arm_weights(2, body)
    surface = _eased(garment, cut, body)
    raglan = bool(rng.random() < cut.raglan)
    sleeve = raglan_m(fine.rest) if raglan else armhole_m(fine.rest)
    columns = (fine.rest, fine.rest_normals, panels().torso, panels().sleeve, sleeve[:, None], arms[:, None])
    kept = (fine.rest[:, 1] < 6.45) & (fine.masks["inside-mouth"] < 0.1)
    kept &= surface[:, 1] > cut_height(surface) - BELOW_M
    triangles = fine.triangles[kept[fine.triangles].all(1)]
    used, compact = np.unique(triangles, return_inverse=True)
    packed = np.concatenate(columns, 1)[used]
    field = opening(cut, packed[:, :3], packed[:, -1])
    vertices, triangles, packed = clip(surface[used], compact.reshape(-1, 3), -field, packed)
    vertices, triangles, packed = _whole(vertices, triangles, packed)
    seams = seams_m(packed[:, :3], packed[:, 11], yoke=cut.yoke, shoulder=not raglan)
    vertices = _folded(garment, cut, body, vertices, triangles, packed, seams, rng, under)
    packed = np.concatenate((packed, seams), 1)
    vertices, triangles, packed = clip(vertices, triangles, vertices[:, 1] - cut_height(vertices), packed)
    vertices, triangles, packed = _whole(vertices, triangles, packed)
    rest, torso, sleeve, seams = packed[:, :3], packed[:, 6:9], packed[:, 9:12], packed[:, 13:16]
    material = _material(garment, cut, rng)
    fields = {"weave": torso, "sleeve": sleeve, "seams": seams}
    colour = np.repeat(linear(garment.colour)[None], len(vertices), 0)
    contrast = raglan and cut.contrasting and garment.pattern == "plain"
    parts = [
        MeshPart(
            name=name,
            role="garment",
            vertices=vertices,
            faces=triangles,
            material=replace(material, sewn=not cut.bare_arms, accent_sleeves=contrast),
            label="garment",
            colours=colour,
            fields=fields,
        )
    ]
    plain = replace(material, pattern="plain")
    above = vertices[:, 1] - cut_height(vertices)
    free = []
    for number, loop in enumerate(border_loops(triangles)):
        on_cut = np.abs(above[loop]) < 1e-4
        if not on_cut.any():
            free.append(loop)
            continue
        if cut.is_open and not on_cut.all():  # one loop is neck, front edges and cut
            free.append(loop)
            loop = np.roll(loop, -int(np.flatnonzero(on_cut & ~np.roll(on_cut, 1))[0]))
            loop = loop[np.abs(above[loop]) < 1e-4]
            on_cut = np.ones(len(loop), bool)
        ring, fan = fan_cap(vertices, loop)
        shade = np.repeat(0.5 * linear(garment.colour)[None], len(ring), 0)
        parts.append(
            MeshPart(
                name=f"cap {name} {number}",
                role="cap",
                vertices=ring,
                faces=fan,
                material=plain,
                label="garment",
                colours=shade,
                fields={"weave": ring},
            )
        )
        parts += build_hems(vertices[loop], on_cut, garment, plain)
    free.sort(key=lambda loop: -vertices[loop, 1].max())
    cloth = Surface(vertices, vertex_normals(vertices, triangles))
    if isinstance(cut.trim, Front):
        edge = vertices[free[0]]
        at_neck = np.abs(neckline(cut, rest[free[0]])) < 0.03
        on_cut = above[free[0]] < 0.004
        return parts + build_front(garment, edge, at_neck, on_cut, cloth, tailored(spec), plain)
    for number, loop in enumerate(free[1:]):  # armholes that lie above the cut
        parts += build_hems(vertices[loop], np.zeros(len(loop), bool), garment, plain, number)
    return parts + build_collar(garment, cut.trim, vertices[free[0]], cloth, plain)


def _whole(vertices: Floats, triangles: Ints, packed: Floats) -> tuple[Floats, Ints, Floats]:
    """The largest piece alone, with the attributes of its vertices."""
    triangles = largest_component(triangles, len(vertices))
    used, compact = np.unique(triangles, return_inverse=True)
    return vertices[used], compact.reshape(-1, 3), packed[used]


def tailored(spec: AvatarSpec) -> bool:
    """Whether a jacket has lapels; else it has a zip and a standing collar."""
    return spec.age_years >= 14 and bool(generator_for(spec.seed, 0, "tailored").random() < 4 / 7)


def _eased(garment: GarmentSpec, cut: Cut, body: Body) -> Floats:
    """The surface subdivided twice: skin smoothed to the forms that cloth spans, and eased off it."""
    coarse = topology(1)
    surface = coarse.matrix @ body.base
    kept = (coarse.rest[:, 1] < 6.6) & (surface[:, 1] > cut_height(surface) - BELOW_M - 0.03)
    used, compact = np.unique(coarse.triangles[kept[coarse.triangles].all(1)], return_inverse=True)
    triangles, vertices, rest = compact.reshape(-1, 3), surface[used], coarse.rest[used]
    mean = adjacency(triangles, len(vertices))
    depth = np.clip(-opening(cut, rest, arm_weights(1, body)[used]), 0, None)
    vertices = smooth(vertices, mean, 16, 0.5 * (0.35 + 0.65 * smoothstep(0.0, 0.5, depth)))
    normals = smooth(vertex_normals(vertices, triangles), mean, 8)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    offset = cut.offset_m + cut.ease_m * (0.35 + 0.65 * garment.ease) * smoothstep(0.1, 1.6, depth)
    if cut.roll_m:
        offset += cut.roll_m * smoothstep(0.0, 0.03, depth) * smoothstep(0.30, 0.26, depth)
    surface[used] = vertices + offset[:, None] * normals
    return np.asarray(refine() @ surface)


def _folded(
    garment: GarmentSpec,
    cut: Cut,
    body: Body,
    vertices: Floats,
    triangles: Ints,
    packed: Floats,
    seams: Floats,
    rng: np.random.Generator,
    under: MeshPart | None,
) -> Floats:
    """Lay folds, draw the seams in, and keep the cloth off the skin and off what is worn ``under`` it."""
    rest, normals_rest = packed[:, :3], packed[:, 3:6]
    mean = adjacency(triangles, len(vertices))
    border = np.zeros(len(vertices), bool)
    for loop in border_loops(triangles):
        border[loop] = True
    depth = np.clip(-opening(cut, rest, packed[:, -1]), 0, None)
    free = smoothstep(0.02, 0.45, depth)
    swell = 0.0022 * waves(rest, rng, np.array((0.62, 0.20, 0.62)), 7)
    swell += 0.0010 * waves(rest, rng, np.array((1.6, 1.0, 1.6)))
    # A child's clothes are no adult's shrunk: their folds are as shallow as the child is small.
    small = float(np.clip(np.abs(vertices[:, 0]).max() / ADULT_M, 0.4, 1.0)) ** 2
    share = small * (0.3 + 0.7 * garment.folds)
    height = share * (swell + folds_m(rest, normals_rest, cut.hang, rng)) * free
    if not cut.bare_arms:
        nearest = np.abs(seams[:, :2]).min(1)
        height -= PINCH_M * np.exp(-0.5 * (nearest / 0.0045) ** 2) * free
    normals = smooth(vertex_normals(vertices, triangles), mean, 12)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    vertices = vertices + height[:, None] * normals
    vertices = smooth(vertices, mean, 2, np.where(border, 0.0, 0.4))
    skin = (body.topology.rest[:, 1] < 6.6) & (body.vertices[:, 1] > cut_height(body.vertices) - 2 * BELOW_M)
    points, outward = body.vertices[skin], body.normals[skin]
    if under is not None:
        points = np.concatenate((points, under.vertices))
        outward = np.concatenate((outward, vertex_normals(under.vertices, under.faces)))
    _, index = cKDTree(points).query(vertices)
    lack = CLEAR_M - ((vertices - points[index]) * outward[index]).sum(1)
    lack = smooth(np.clip(lack, 0, 0.03), mean, 3)
    return np.asarray(vertices + lack[:, None] * normals)


def _material(garment: GarmentSpec, cut: Cut, rng: np.random.Generator) -> Cloth:
    red, green, blue = (float(value) for value in linear(garment.accent))
    period = rng.uniform(*cut.period_m)
    return Cloth(
        melange=0.6 if garment.pattern == "melange" else 0.12,
        rib=cut.rib,
        sheen=cut.sheen,
        nap=cut.nap,
        folds=garment.folds,
        pattern="plain" if garment.pattern == "melange" else garment.pattern,
        accent=(red, green, blue),
        period_m=float(period),
        share=float(rng.uniform(0.25, 0.5)),
    )
