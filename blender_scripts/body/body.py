"""The body: macro and local MakeHuman shapes, expression, arms brought down, subdivided, placed in the world.

Placement, the same for everyone: the midpoint between the centres of the two eyeballs lies at ``EYES_M``. From there
down to ``CUT_M`` the bust is kept. Metres throughout, in the axes of ``pipeline.contracts.conventions``; only ``rest``
is in the data's decimetres and is the same for every avatar, so that regions (scalp, lips, neckline) are drawn on it
once.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp

from blender_scripts.body.expression import lid_weights, mixture
from blender_scripts.body.makehuman import Assets, find_assets
from blender_scripts.body.relief import fold_height
from blender_scripts.geometry.arrays import Floats, Ints, smoothstep
from blender_scripts.geometry.mesh import triangulate, vertex_normals
from blender_scripts.geometry.subdivision import subdivide
from pipeline.contracts.appearance import FACE_AXES
from pipeline.contracts.avatar import AvatarSpec

EYES_M = (0.0, 0.055, 0.070)
"""Where the midpoint of the eyeballs lies, in metres, for every avatar."""
CUT_M = -0.212
"""Where the bust ends below the neck, in metres; its edge rises by ``RISE_M`` towards the arms."""
RISE_M = 0.03
ARM_DROP_DEG = 84.0
"""Upper arms hang this far below the horizontal."""
SMALLEST_FACE = 0.45
"""Share of local targets, made for grown faces, that a face of four years bears."""
HALF_DM = 0.16
"""Half the breadth of the passage from one half of the face to the other, where an expression moves only one."""
MASKS = ("lips", "ears", "eyelids", "face", "inside-mouth")
JOINTS = ("neck", "head", "head-2", "jaw", "l-shoulder", "r-shoulder", "l-eye", "r-eye", "mouth")


@dataclass(frozen=True, eq=False)
class Topology:
    """What every avatar's surface shares: computed once a process."""

    matrix: sp.csr_matrix
    """Fine vertices from the base mesh's."""
    quads: Ints
    triangles: Ints
    rest: Floats
    """(vertex, 3) in decimetres: positions on the base shape."""
    rest_normals: Floats
    masks: dict[str, Floats]
    arm: tuple[Floats, Floats]
    """Weight of the left and right arm on every base vertex."""


@dataclass(frozen=True, eq=False)
class Body:
    """One avatar's surface and where its parts are."""

    vertices: Floats
    normals: Floats
    topology: Topology
    base: Floats
    """All vertices of the base mesh with its helpers, posed and placed."""
    joints: dict[str, Floats]
    eyes: tuple[tuple[Floats, float], tuple[Floats, float]]
    """Centre and radius of the left and the right eyeball."""
    folds: Floats
    """(vertex,): metres by which folds have moved the skin along its normal; they are in ``vertices``."""

    def helper(self, group: str, levels: int) -> tuple[Floats, Ints]:
        """A helper group (teeth, tongue) as its own subdivided mesh: vertices and quads."""
        matrix, quads = _helper(group, levels)
        return matrix @ self.base, quads


@lru_cache
def topology(levels: int = 2) -> Topology:
    """Crop the base mesh to head, shoulders, chest and upper arms, and subdivide it: skin twice, cloth once."""
    assets = find_assets()
    base = assets.base
    faces = base.faces["body"]
    centres = base.vertices[faces].mean(1)
    kept = faces[(centres[:, 1] > 1.6) & (np.abs(centres[:, 0]) < 4.0)]
    used, compact = np.unique(kept, return_inverse=True)
    pick = sp.csr_matrix((np.ones(len(used)), (np.arange(len(used)), used)), shape=(len(used), len(base.vertices)))
    matrix, quads = subdivide(compact.reshape(-1, 4), len(used), levels)
    matrix = (matrix @ pick).tocsr()
    rest = matrix @ base.vertices
    triangles = triangulate(quads)
    masks = {name: matrix @ assets.mask(name) for name in MASKS}
    return Topology(
        matrix, quads, triangles, rest, vertex_normals(rest, triangles), masks, (_arm(assets, "L"), _arm(assets, "R"))
    )


def cut_height(points: Floats) -> Floats:
    """Height in metres at which the bust ends below (or above) each point: a shallow bowl about the y axis."""
    return np.asarray(CUT_M + RISE_M * (points[..., 0] ** 2 + points[..., 2] ** 2) / 0.22**2)


def build_body(spec: AvatarSpec) -> Body:
    """Shape, pose and place one avatar."""
    assets, shared = find_assets(), topology()
    base = assets.base.vertices + _offsets(assets, spec)
    for side, weights in zip("lr", shared.arm, strict=True):
        base = _lower_arm(assets, base, side, weights)
    base = base * 0.1
    eyes = [_fit_eye(base[assets.base.group_vertices(f"helper-{side}-eye")]) for side in "lr"]
    base = base + (np.asarray(EYES_M) - (eyes[0][0] + eyes[1][0]) / 2)
    eyes = [_fit_eye(base[assets.base.group_vertices(f"helper-{side}-eye")]) for side in "lr"]
    vertices = shared.matrix @ base
    folds = fold_height(spec, shared.rest, shared.masks["lips"])
    vertices = vertices + folds[:, None] * vertex_normals(vertices, shared.triangles)
    joints = {name: base[assets.base.group_vertices(f"joint-{name}")].mean(0) for name in JOINTS}
    normals = vertex_normals(vertices, shared.triangles)
    return Body(vertices, normals, shared, base, joints, (eyes[0], eyes[1]), folds)


def _offsets(assets: Assets, spec: AvatarSpec) -> Floats:
    total = np.zeros_like(assets.base.vertices)

    def add(name: str, weight: float, side: str = "") -> None:
        if abs(weight) > 1e-4:
            index, offset = assets.target(name)
            if side:
                across = assets.base.vertices[index, :1] * (1 if side == "left" else -1)
                offset = offset * smoothstep(-HALF_DM, HALF_DM, across)
            np.add.at(total, index, weight * offset)

    races = dict(zip(("african", "asian", "caucasian"), spec.ancestry, strict=True))
    ages, genders = _age_parts(spec.age_years), {"female": 1 - spec.gender, "male": spec.gender}
    muscles = _level_parts(spec.muscle, "muscle")
    weights = _level_parts(spec.weight, "weight")
    for gender, g in genders.items():
        for age, a in ages.items():
            for race, r in races.items():
                add(f"macrodetails/{race}-{gender}-{age}", g * a * r)
            for muscle, m in muscles.items():
                for fat, w in weights.items():
                    add(f"macrodetails/universal-{gender}-{age}-{muscle}-{fat}", g * a * m * w)
    small = SMALLEST_FACE + (1 - SMALLEST_FACE) * float(smoothstep(4, 14, np.asarray(spec.age_years)))
    for name, value in spec.face:
        folder, _, stem = name.partition("/")
        ending = FACE_AXES[name][value > 0]
        for target in (f"{folder}/{side}{stem}-{ending}" for side in ("", "l-", "r-")):
            if assets.has_target(target):
                add(target, small * abs(value))
    for name, value in spec.asymmetry:
        add(f"asym/asym-{name}-{'r' if value > 0 else 'l'}", small * abs(value))
    units, *openness = mixture(spec)

    def add_unit(unit: str, weight: float) -> None:
        name, _, side = unit.partition(" ")
        for race, r in races.items():
            add(f"expression/units/{race}/{name}", weight * r, side)

    for unit, weight in units.items():
        add_unit(unit, small * weight)
    shaped = assets.base.vertices + total
    for side, opening in zip("lr", openness, strict=True):
        eye = _fit_eye(shaped[assets.base.group_vertices(f"helper-{side}-eye")])
        for target, weight in lid_weights(spec, shaped, side, eye, opening).items():
            kind, _, name = target.partition("/")
            if kind == "unit":
                add_unit(name, weight)
            else:
                add(target, weight)
    return total


def _age_parts(years: float) -> dict[str, float]:
    """MakeHuman's ages: baby 1, child 11, young 25, old 90 years."""
    if years < 11:
        t = (years - 1) / 10
        return {"baby": 1 - t, "child": t}
    if years < 25:
        t = (years - 11) / 14
        return {"child": 1 - t, "young": t}
    t = (years - 25) / 65
    return {"young": 1 - t, "old": t}


def _level_parts(value: float, noun: str) -> dict[str, float]:
    extreme = f"max{noun}" if value > 0.5 else f"min{noun}"
    t = abs(value - 0.5) * 2
    return {f"average{noun}": 1 - t, extreme: t}


def _arm(assets: Assets, side: str) -> Floats:
    bones = ["upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist"]
    return np.clip(sum((assets.bone_weights(f"{bone}.{side}") for bone in bones), np.zeros(1)), 0, 1)


def _lower_arm(assets: Assets, base: Floats, side: str, weights: Floats) -> Floats:
    """Turn one arm about its shoulder joint, in the frontal plane, until it hangs."""
    joint = base[assets.base.group_vertices(f"joint-{side}-shoulder")].mean(0)
    elbow = base[assets.base.group_vertices(f"joint-{side}-elbow")].mean(0)
    reach = elbow - joint
    angle = math.radians(ARM_DROP_DEG) - math.atan2(-reach[1], abs(reach[0]))
    turn = -np.sign(reach[0]) * angle * weights
    offset = base - joint
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.stack(
        (cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1], offset[:, 2]), -1
    )
    return np.asarray(joint + turned)


def _fit_eye(points: Floats) -> tuple[Floats, float]:
    """Sphere of the eyeball: the helper's back half is round, its front bulges."""
    low, high = points.min(0), points.max(0)
    radius = float((high - low)[:2].mean() / 2)
    centre = (low + high) / 2
    centre[2] = low[2] + radius
    return centre, radius


@lru_cache
def _helper(group: str, levels: int) -> tuple[sp.csr_matrix, Ints]:
    base = find_assets().base
    used, compact = np.unique(base.faces[group], return_inverse=True)
    pick = sp.csr_matrix((np.ones(len(used)), (np.arange(len(used)), used)), shape=(len(used), len(base.vertices)))
    matrix, quads = subdivide(compact.reshape(-1, 4), len(used), levels)
    return (matrix @ pick).tocsr(), quads
