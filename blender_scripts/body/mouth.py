"""Teeth and tongue, seen when the mouth opens."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import linear, smoothstep
from blender_scripts.geometry.material import Wet
from blender_scripts.geometry.parts import MeshPart

SHOWN_M = 0.0042
"""How far the upper teeth come out below the lip of an open mouth."""
UNDER_SKIN_M = 0.0025
LIP_EDGES = (474, 493)
"""Vertices of the base mesh in the middle of the upper lip's lower and of the lower lip's upper edge."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One of MakeHuman's helper groups."""

    name: str
    colour: tuple[float, float, float]
    """sRGB."""
    levels: int
    """How often it is subdivided."""
    label: str
    """Its segmentation class."""


PIECES: Final = (
    Piece(name="upper-teeth", colour=(0.93, 0.90, 0.83), levels=2, label="teeth"),
    Piece(name="lower-teeth", colour=(0.88, 0.85, 0.77), levels=2, label="teeth"),
    Piece(name="tongue", colour=(0.70, 0.38, 0.37), levels=1, label="mouth interior"),
)


def build_mouth(body: Body) -> list[MeshPart]:
    """Teeth and tongue, seen when the mouth opens.

    MakeHuman's teeth stay behind the lips of an open mouth: as it opens they come to where they show, the upper ones
    by ``SHOWN_M`` below the lip.
    """
    parts = []
    meshes = {piece.name: body.helper(f"helper-{piece.name}", piece.levels) for piece in PIECES}
    upper, lower = (body.base[vertex] for vertex in LIP_EDGES)
    opened = float(smoothstep(0.0012, 0.006, upper[1] - lower[1]))
    moves = {}
    for name, edge, below in (("upper-teeth", upper, SHOWN_M), ("lower-teeth", lower, -0.0012)):
        teeth = meshes[name][0]
        reach = teeth[:, 1].min() if below > 0 else teeth[:, 1].max()
        down = np.clip(edge[1] - below - reach, -0.014, 0.010)
        moves[name] = opened * np.array((0.0, down, np.clip(edge[2] - 0.0065 - teeth[:, 2].max(), -0.004, 0.012)))
    moves["tongue"] = moves["lower-teeth"] * (0, 0.5, 0.5)
    front = body.vertices[(body.topology.masks["inside-mouth"] < 0.1) & (body.topology.rest[:, 2] > 0.9)]
    tree = cKDTree(front[:, :2])
    for piece in PIECES:
        vertices, quads = meshes[piece.name]
        vertices = vertices + moves[piece.name]
        # A small chin would let the roots of teeth that came down and forward out: they are held behind the skin.
        behind = front[tree.query(vertices[:, :2])[1], 2] - UNDER_SKIN_M
        vertices = np.column_stack((vertices[:, :2], np.minimum(vertices[:, 2], behind)))
        tint = np.repeat(linear(piece.colour)[None], len(vertices), 0)
        parts.append(
            MeshPart(name=piece.name, vertices=vertices, faces=quads, material=Wet(), label=piece.label, colours=tint)
        )
    return parts
