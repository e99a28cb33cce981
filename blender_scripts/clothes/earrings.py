"""Earrings: studs, hoops and drops that hang from the lobes."""

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats, Ints, linear
from blender_scripts.geometry.material import Frame
from blender_scripts.geometry.mesh import sweep, tube
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.avatar import AvatarSpec

METALS = {"gold": (0.83, 0.63, 0.28), "silver": (0.72, 0.73, 0.75)}


def build_earrings(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """A pair; nothing without."""
    ring = spec.earrings
    if ring is None:
        return []
    parts = []
    for side, sign in (("l", 1.0), ("r", -1.0)):
        lobe = _lobe(body, sign)
        shapes: list[tuple[Floats, Ints]] = []
        if ring.style == "stud":
            shapes.append(_ball(lobe, 0.0022 + 0.0016 * ring.size))
        elif ring.style == "hoop":
            radius = 0.0075 + 0.0125 * ring.size
            angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
            circle = np.stack((0.10 * sign * np.sin(angle), np.cos(angle), np.sin(angle)), -1) * radius
            shapes.append(tube(lobe - np.array((0, radius, 0)) + circle, 0.0011, 8, closed=True))
        else:
            length = 0.010 + 0.016 * ring.size
            t = np.linspace(0, 1, 8)[:, None]
            shapes.append(tube(lobe - t * np.array((0, length, 0)), 0.0006, 6))
            shapes.append(_ball(lobe - np.array((0, length + 0.003, 0)), 0.0034 + 0.002 * ring.size))
            shapes.append(_ball(lobe, 0.0018))
        for number, (vertices, quads) in enumerate(shapes):
            tint = np.repeat(linear(METALS[ring.metal])[None], len(vertices), 0)
            name = f"earring {side}{number}"
            parts.append(
                MeshPart(
                    name=name,
                    vertices=vertices,
                    faces=quads,
                    material=Frame(metallic=1.0),
                    label="earrings",
                    colours=tint,
                )
            )
    return parts


def _lobe(body: Body, sign: float) -> Floats:
    """On the outside of the ear's lowest part."""
    rest, ears = body.topology.rest, body.topology.masks["ears"] > 0.5
    ear = body.vertices[ears & (sign * rest[:, 0] > 0)]
    low = ear[:, 1].min()
    lobe = ear[ear[:, 1] < low + 0.006]
    out = lobe[(sign * lobe[:, 0] + 0.6 * lobe[:, 2]).argmax()]
    return np.asarray(np.array((out[0], low + 0.0045, lobe[:, 2].mean())) + np.array((sign * 0.0012, 0, 0)))


def _ball(centre: Floats, radius: float) -> tuple[Floats, Ints]:
    polar, around = np.meshgrid(
        np.linspace(0.01, np.pi - 0.01, 12), np.linspace(0, 2 * np.pi, 16, endpoint=False), indexing="ij"
    )
    grid = np.stack((np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)), -1)
    return centre + radius * grid.reshape(-1, 3), sweep(grid)
