"""The open front of a jacket: lapels that turn into a collar, or a standing collar above a zip."""

from dataclasses import replace
from typing import Final

import numpy as np

from blender_scripts.clothes.collar import UP, Surface, lay_on, outward, rope, swept_cloth
from blender_scripts.geometry.arrays import Floats, linear, smoothstep
from blender_scripts.geometry.material import Cloth, Frame
from blender_scripts.geometry.mesh import tube
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.appearance import GarmentSpec

STEPS: Final = 220
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


def build_front(
    garment: GarmentSpec,
    edge: Floats,
    at_neck: Flags,
    on_cut: Flags,
    cloth: Surface,
    tailored: bool,
    material: Cloth,
) -> list[MeshPart]:
    """What follows a jacket's ``edge``, a closed loop: the neck, one front edge, the cut below, the other front edge.

    ``at_neck`` and ``on_cut`` tell which points are which.
    """
    start = int(np.flatnonzero(on_cut & ~np.roll(on_cut, 1))[0])
    edge, at_neck, on_cut = np.roll(edge, -start, 0), np.roll(at_neck, -start), np.roll(on_cut, -start)
    line, neck = edge[~on_cut], at_neck[~on_cut]
    for _ in range(10):
        line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[2:] + line[:-2])
    arc = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))))
    first, last = arc[np.flatnonzero(neck)[[0, -1]]]
    at = np.linspace(0, arc[-1], STEPS)
    path = np.stack([np.interp(at, arc, line[:, k]) for k in range(3)], -1)
    for _ in range(6):
        path[1:-1] = 0.5 * path[1:-1] + 0.25 * (path[2:] + path[:-2])
    colour = linear(garment.colour)
    hem = rope("front edge", path, 0.0024, 0.9 * colour, material)
    if tailored:
        return [hem, _lapels(path, at, first, last, colour, cloth, material)]
    inside = (at > first) & (at < last)
    return [hem, _standing(path[inside], colour, material), *_zip(path[~inside], garment)]


def _lapels(
    path: Floats, at: Floats, first: float, last: float, colour: Floats, cloth: Surface, material: Cloth
) -> MeshPart:
    """A leaf turned back from the edge: lapels, a notch each side, and the collar over its stand behind the neck."""
    middle, half = (first + last) / 2, (last - first) / 2
    from_middle = np.abs(at - middle)
    to_end = np.minimum(at, at[-1] - at)
    front = from_middle > half * 0.80
    gorge = half * 0.80
    below = np.clip(from_middle - gorge, 0, None)
    lapel = 0.058 * smoothstep(0.0, 0.016, below) * (0.45 + 0.55 * smoothstep(-0.03, 0.10, to_end))
    collar = 0.052 - 0.010 * smoothstep(gorge * 0.6, 0.0, from_middle)
    leaf = np.where(front, np.maximum(lapel, 0.026), collar)[:, None]
    stand = (0.026 * smoothstep(gorge * 1.15, gorge * 0.35, from_middle))[:, None]
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    flat = outward(path)
    # Away from the opening, along the surface: sideways on the chest, outwards and down behind the neck.
    side = np.sign(path[:, :1]) * np.array((1.0, 0, 0)) - 0.25 * UP
    share = smoothstep(half * 0.75, half * 1.1, from_middle)[:, None]
    away = share * side + (1 - share) * (0.55 * flat - 0.85 * UP)
    away -= (away * tangent).sum(1, keepdims=True) * tangent
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    top = path + stand * UP
    lift = flat * (1 - share) + np.array((0, 0, 1.0)) * share
    rise = [path + stand * p * UP - flat * 0.002 * p for p in (0.0, 0.5, 0.95)]
    roll = [top + 0.002 * UP * (1 - share) + 0.0015 * lift, top + 0.001 * away + 0.0045 * lift]
    outer = [top + away * leaf * p + lift * 0.0060 for p in (0.12, 0.35, 0.6, 0.82, 0.97, 1.0)]
    under = [top + away * leaf * p + lift * 0.0025 for p in (0.985, 0.6, 0.15)]
    rings = np.stack([*rise, *roll, *outer, *under], 1)
    margin = np.concatenate((np.full(5, -1.0), np.linspace(0.005, 0.0065, 6), (0.0030, 0.0015, -1.0)))
    rings = lay_on(rings, cloth, np.broadcast_to(margin, rings.shape[:2]))
    return swept_cloth("lapels", rings, 0.97 * colour, material, closed_path=False, closed_rings=False)


def _standing(path: Floats, colour: Floats, material: Cloth) -> MeshPart:
    """A ribbed collar that stands about the neck."""
    out = outward(path)
    u = np.linspace(0, 1, len(path))
    height = (0.026 * smoothstep(0.0, 0.16, u) * smoothstep(1.0, 0.84, u) + 0.006)[:, None]
    inner = [path + height * p * UP + out * 0.002 * p for p in (0.0, 0.4, 0.8, 1.0)]
    outer = [path + height * p * UP + out * (0.002 * p + 0.0050) for p in (1.0, 0.8, 0.4, 0.0)]
    rings = np.stack([*inner, *outer], 1)
    ribs = replace(material, rib=1100.0)
    return swept_cloth("collar", rings, 0.92 * colour, ribs, closed_path=False, closed_rings=True)


def _zip(ends: Floats, garment: GarmentSpec) -> list[MeshPart]:
    """A row of metal along each front edge."""
    parts = []
    metal = np.array((0.45, 0.45, 0.46)) if garment.ease < 0.5 else np.array((0.06, 0.06, 0.06))
    for name, sign in (("l", 1.0), ("r", -1.0)):
        path = ends[sign * ends[:, 0] > 0] + np.array((-0.003 * sign, 0, 0.0008))
        if len(path) < 8:
            continue
        vertices, quads = tube(path, 0.0016, 6)
        tint = np.repeat(metal[None], len(vertices), 0)
        parts.append(
            MeshPart(
                name=f"zip {name}",
                vertices=vertices,
                faces=quads,
                material=Frame(metallic=0.8),
                label="garment",
                colours=tint,
            )
        )
    return parts
