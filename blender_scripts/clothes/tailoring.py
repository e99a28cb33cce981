"""How cloth is cut, sewn and hangs: thread directions, seams and folds, as fields on the base shape.

Thread coordinates belong to panels, as in a real garment: one of the torso, whose lengthwise thread climbs the chest,
turns over the shoulder and meets the back's at the shoulder seam, and one of the sleeves, along the arm. They are
solved for once on the base shape (least squares of unit gradients along edges), so patterns keep their size on every
slope and follow each avatar's form. Folds are strokes: curves on the base shape along which cloth is under tension,
each a ridge beside a hollow, thinning out towards its ends.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from blender_scripts.body.body import topology
from blender_scripts.geometry.arrays import Floats, smoothstep
from blender_scripts.geometry.subdivision import catmull_clark

SHOULDER_Z: Final = 0.10
"""The shoulder seam's place from back to front on the base shape, in decimetres."""
SHOULDER: Final = np.array((1.677, 5.246, 0.146))
ARM: Final = np.array((0.638, -0.770, 0.0))
"""Joint and direction of the left arm on the base shape."""
ARM_RADIUS: Final = 0.62
FAR_M: Final = 0.1
"""A seam's distance where the seam is not."""


@dataclass(frozen=True, eq=False)
class Panels:
    """Thread coordinates of every vertex, in metres on the base shape."""

    torso: Floats
    """(vertex, 3): across from the middle, up (greatest at the shoulder seam), 0."""
    sleeve: Floats
    """(vertex, 2): around the arm, along it."""


@lru_cache
def refine() -> sp.csr_matrix:
    """Vertices of the surface subdivided twice from those of the surface subdivided once."""
    coarse = topology(1)
    return catmull_clark(coarse.quads, len(coarse.rest))[0]


@lru_cache
def panels() -> Panels:
    """Of the surface subdivided twice, which garments are cut from."""
    surface = topology(1)
    rest, normals = surface.rest, surface.rest_normals
    kept = rest[:, 1] < 6.6
    triangles = surface.triangles[kept[surface.triangles].all(1)]
    edges = np.concatenate((triangles[:, (0, 1)], triangles[:, (1, 2)], triangles[:, (2, 0)]))
    nx, ny, nz = normals.T
    # Uphill in planes of equal x, towards the shoulder seam from both sides.
    side = np.tanh((rest[:, 2] - SHOULDER_Z) / 0.2)
    level = np.hypot(nz, nx)
    up = np.stack((np.zeros_like(nx), level, -side * ny), -1)
    across = np.stack((np.hypot(nz, ny), -nx * ny, -np.abs(nx) * nz), -1)
    torso = np.stack([_integrate(rest, edges, _unit(field), len(rest)) for field in (across, up)], -1)
    torso[:, 0] -= torso[np.abs(rest[:, 0]) < 0.02, 0].mean()
    torso[:, 1] -= torso[(np.abs(rest[:, 0]) < 0.05) & (np.abs(rest[:, 1] - 4.6) < 0.1) & (rest[:, 2] > 0.5), 1].mean()
    fine = topology(2).rest
    from_joint = np.stack((np.abs(fine[:, 0]), fine[:, 1], fine[:, 2]), -1) - SHOULDER
    around = np.arctan2(from_joint[:, 2], from_joint @ (-ARM[1], ARM[0], 0.0)) * ARM_RADIUS
    sleeve = np.stack((around, from_joint @ ARM), -1)
    return Panels(0.1 * np.pad(refine() @ torso, ((0, 0), (0, 1))), 0.1 * sleeve)


def armhole_m(rest: Floats) -> Floats:
    """Signed distance to the seam of a set-in sleeve, in metres on the base shape; above 0 on the sleeve."""
    x = np.abs(rest[:, 0])
    line = 1.66 - 0.14 * smoothstep(5.6, 4.5, rest[:, 1]) - 0.10 * smoothstep(0.2, 0.8, rest[:, 2])
    return np.asarray(0.1 * (x - line))


def raglan_m(rest: Floats) -> Floats:
    """The same of a raglan sleeve, whose seam runs from the neck to the armpit."""
    x, y = np.abs(rest[:, 0]), rest[:, 1]
    line = 1.50 - 0.72 * smoothstep(4.3, 6.0, y)
    return np.asarray(0.1 * (x - line) / np.hypot(1, 0.55))


def seams_m(rest: Floats, sleeve_m: Floats, *, yoke: bool, shoulder: bool) -> Floats:
    """(point, 3) signed distances to the seams of armhole, shoulder and yoke, in metres; ``FAR_M`` where not sewn."""
    on_torso = sleeve_m < 0
    across, below = 0.1 * (rest[:, 2] - SHOULDER_Z), 0.1 * (rest[:, 1] - 5.25)
    # Where a seam is not, its distance changes sign only along other seams and under the arms.
    top = np.where(on_torso, np.where((rest[:, 1] > 5.15) & shoulder, across, np.copysign(FAR_M, across)), FAR_M)
    if not shoulder:
        top = np.full(len(rest), FAR_M)
    back = np.where(on_torso & (rest[:, 2] < SHOULDER_Z) & yoke, below, FAR_M)
    return np.stack((sleeve_m, top, back), -1)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def _integrate(points: Floats, edges: np.ndarray[tuple[int, int], np.dtype[np.int64]], field: Floats, n: int) -> Floats:
    """The function whose differences along ``edges`` fit the vector ``field`` best."""
    i, j = edges.T
    step = points[j] - points[i]
    wanted = (0.5 * (field[i] + field[j]) * step).sum(1)
    rows = np.arange(len(edges))
    ends = np.ones(len(edges))
    slope = sp.csr_matrix((np.r_[ends, -ends], (np.r_[rows, rows], np.r_[j, i])), shape=(len(edges), n))
    system = (slope.T @ slope + 1e-6 * sp.identity(n)).tocsc()
    return np.asarray(spsolve(system, slope.T @ wanted))


@dataclass(frozen=True, kw_only=True)
class Hang:
    """How a kind of garment folds."""

    width: float
    """Of a fold, in decimetres."""
    height_m: float
    count: float
    """Of strokes, as a share of the usual number."""


def folds_m(rest: Floats, normals: Floats, hang: Hang, rng: np.random.Generator) -> Floats:
    """Height of the folds at points of the base shape with these normals, in metres."""
    total = np.zeros(len(rest))
    mirrored = np.stack((np.abs(rest[:, 0]), rest[:, 1]), -1)
    left, front = rest[:, 0] > 0, smoothstep(-0.25, 0.35, normals[:, 2] + 0.3 * normals[:, 1])
    for side in (left, ~left):
        for face in (front, 1 - front):
            weight = side * face
            chosen = np.flatnonzero(weight > 0.02)
            for start, middle, end, size in _strokes(rng, hang):
                low = np.minimum(np.minimum(start, middle), end) - 2.6 * hang.width
                high = np.maximum(np.maximum(start, middle), end) + 2.6 * hang.width
                near = chosen[((mirrored[chosen] > low) & (mirrored[chosen] < high)).all(1)]
                total[near] += weight[near] * size * _stroke(mirrored[near], start, middle, end, hang.width)
    for turn in (1, -1):  # swags between the two halves of the chest and of the back
        face = front if turn > 0 else 1 - front
        for _ in range(rng.poisson(1.6 * hang.count)):
            y, reach = rng.uniform(4.5, 5.2), rng.uniform(0.5, 1.1)
            lean = rng.normal(0, 0.2)
            points = (np.array((-reach, y + 0.4 - lean)), np.array((rng.normal(0, 0.2), y - 0.35)))
            end = np.array((reach, y + 0.4 + lean))
            total += face * rng.uniform(0.4, 0.9) * _stroke(rest[:, :2], *points, end, hang.width * 1.2)
    # Near the middle the two halves must agree.
    return np.asarray(hang.height_m * np.tanh(total) * (1 - 0.35 * smoothstep(0.15, 0.0, mirrored[:, 0])))


def _strokes(rng: np.random.Generator, hang: Hang) -> list[tuple[Floats, Floats, Floats, float]]:
    """Begin, control point, end and size of the folds of one quarter: armpit, shoulder, chest and sleeve."""

    def near(x: float, y: float, by: float = 0.14) -> Floats:
        return np.asarray(np.array((x, y)) + rng.normal(0, by, 2))

    found = []
    kinds = (
        (2.6, (1.42, 4.62), (1.0, 4.75), (0.45, 4.62)),  # from the armpit to the middle
        (1.8, (1.40, 4.50), (1.25, 5.0), (0.95, 5.45)),  # from the armpit to the shoulder
        (1.6, (1.45, 5.55), (1.1, 5.05), (0.9, 4.3)),  # from the shoulder's end down
        (1.0, (0.65, 5.4), (0.6, 4.9), (0.5, 4.3)),  # from the neck down
        (2.2, (1.75, 5.45), (1.85, 5.1), (1.75, 4.6)),  # down the head of the sleeve
        (1.8, (2.3, 4.8), (2.0, 4.75), (1.65, 4.35)),  # across the sleeve
    )
    for mean, start, middle, end in kinds:
        for _ in range(rng.poisson(mean * hang.count)):
            size = float(rng.uniform(0.35, 1.0))
            found.append((near(*start, 0.07), near(*middle, 0.2), near(*end, 0.2), size))
    return found


def _stroke(points: Floats, start: Floats, middle: Floats, end: Floats, width: float) -> Floats:
    """A ridge along a quadratic curve, a shallower hollow beside it, nothing beyond its ends."""
    t = np.linspace(0, 1, 14)
    curve = ((1 - t) ** 2)[:, None] * start + (2 * t * (1 - t))[:, None] * middle + (t**2)[:, None] * end
    tangent = np.gradient(curve, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    nearest = ((curve**2).sum(1) - 2 * points @ curve.T).argmin(1)
    here, along = points - curve[nearest], tangent[nearest]
    across = (here[:, 0] * along[:, 1] - here[:, 1] * along[:, 0]) / width
    beyond = (here * along).sum(1) / width
    taper = np.sin(np.pi * (0.06 + 0.88 * t[nearest])) ** 0.7
    profile = np.exp(-0.5 * (across / 0.45) ** 2) - 0.55 * np.exp(-0.5 * ((across - 1.15) / 0.6) ** 2)
    return np.asarray(taper * profile * np.exp(-0.5 * (beyond / 0.5) ** 2))
