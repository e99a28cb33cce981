"""The 68 face landmarks of iBUG 300-W as vertices of the subdivided skin, and whether an image shows them.

Each is a vertex of MakeHuman's base mesh, followed to the fine mesh that is rendered (Catmull-Clark keeps old vertices
first), so it moves with shape, expression and whatever else displaces the mesh before Blender gets it. Brows are
coarse in the base mesh: their points are given on the base shape, in decimetres, and stick to the nearest fine vertex.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from blender_scripts.body.body import topology
from blender_scripts.geometry.arrays import Floats, Ints
from blender_scripts.geometry.mesh import vertex_normals
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.camera import Camera
from pipeline.contracts.rendering import Landmarks

JAW: Final = (5402, 868, 869, 912, 895, 893, 891, 914, 5225, 7616, 7593, 7595, 7597, 7614, 7574, 7573, 12001)
BROW_REST: Final = ((0.13, 7.513, 1.505), (0.245, 7.542, 1.467), (0.36, 7.56, 1.408), (0.472, 7.55, 1.327),
                    (0.59, 7.492, 1.168))  # fmt: skip
"""The left brow from its inner end; the right one is its mirror image."""
NOSE: Final = (133, 131, 201, 5054, 358, 359, 343, 7120, 7119)
EYES: Final = (21, 0, 54, 63, 47, 41, 6847, 6838, 6784, 6805, 6825, 6831)
LIPS: Final = (422, 447, 457, 466, 7216, 7207, 7182, 7166, 7235, 492, 480, 406, 416, 470, 474, 7226, 7176, 7236, 493,
               481)  # fmt: skip
TOLERANCE: Final = 0.012
"""World units between a landmark's depth and its pixel's that still count as the same surface: 3 mm of 0.25 m."""


@lru_cache(maxsize=1)
def landmark_vertices() -> Ints:
    """(68,) indices into the fine skin mesh, in the order of ``conventions.LANDMARK_ORDER``."""
    shared = topology()
    used = np.unique(shared.matrix.indices)

    def fine(base: tuple[int, ...]) -> Ints:
        index = np.searchsorted(used, base)
        assert (used[index] == base).all(), "a landmark lies off the bust"
        return np.asarray(index)

    left = np.asarray(BROW_REST)
    brows = np.concatenate((left[::-1] * (-1, 1, 1), left))
    nearest = ((shared.rest[:, None] - brows[None]) ** 2).sum(-1).argmin(0)
    return np.concatenate((fine(JAW), nearest, fine(NOSE), fine(EYES), fine(LIPS)))


def landmark_points(skin: MeshPart) -> tuple[Floats, Floats]:
    """Positions in metres and unit normals, (68, 3) each, on the skin as it is rendered."""
    index, triangles = landmark_vertices(), topology().triangles
    assert len(skin.vertices) == len(topology().rest), "the skin has lost or gained vertices"
    chosen = np.zeros(len(skin.vertices), bool)
    chosen[index] = True
    around = triangles[chosen[triangles].any(1)]
    return skin.vertices[index], vertex_normals(skin.vertices, around)[index]


def observe_landmarks(points: Floats, normals: Floats, camera: Camera, depth: npt.NDArray[np.float32]) -> Landmarks:
    """Project world points and compare them with a rendered z-depth image (infinite where there is no surface)."""
    projected = camera.project(points)
    toward = camera.matrix()[:3, 3] - points
    facing = (normals * toward).sum(1) > 0
    # Slanted surfaces differ in depth by about a pixel's width from one pixel to the next.
    tolerance = np.maximum(TOLERANCE, projected[:, 2] / camera.fx)
    corner = np.floor(projected[:, :2] - 0.5).astype(int)
    shown = np.zeros(len(points), bool)
    for offset in ((0, 0), (0, 1), (1, 0), (1, 1)):
        column, row = (corner + offset).T
        inside = (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
        met = np.full(len(points), np.inf)
        met[inside] = depth[row[inside], column[inside]]
        shown |= np.abs(met - projected[:, 2]) < tolerance
    return Landmarks(
        pixels=tuple((round(float(x), 4), round(float(y), 4)) for x, y, _ in projected),
        points_world=tuple((round(float(x), 6), round(float(y), 6), round(float(z), 6)) for x, y, z in points),
        visible=tuple(bool(v) for v in facing & shown),
    )
