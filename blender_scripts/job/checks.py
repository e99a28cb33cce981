"""What must hold of every avatar, looked for without an eye: in numpy before rendering, and in each rendered frame.

A check raises :class:`Broken` with one line; the avatar is then drawn again. Limits are in metres, and each says what
it forgives: a few hairs of thousands may do what a head of hair may not.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, cKDTree

from blender_scripts.body.body import topology
from blender_scripts.body.landmarks import landmark_points
from blender_scripts.geometry.arrays import Floats, Ints
from blender_scripts.geometry.mesh import border_loops, triangulate, vertex_normals
from blender_scripts.geometry.parts import MeshPart, Part, StrandPart, skin_of
from blender_scripts.hair.style import STYLES
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.camera import Camera

MARGIN_PIXELS: Final = 1.0
"""Of background around the bust in every frame; the pixel filter reaches three quarters of one."""
GAP_M: Final = 0.008
"""Parts nearer than this to each other hold together."""
PUPIL_M: Final = 0.004
"""Radius around the middle between the lids in which no strand may hang: the pupil, and how far gaze moves it."""
PUPIL_STRANDS: Final = 2
"""Stray hairs that are forgiven in front of each pupil."""
UNDER_SKIN_M: Final = 0.002
FACE_STRANDS: Final = 0.008
"""Share of strands that may dip under the skin of the face."""
FACE_BEGINS: Final = 6.3
"""Height on the base shape, in decimetres, above which skin has no edge; below, clothes cover its end."""
HOLE_M: Final = 0.012
"""An edge of cloth with no trim, cap or other cloth this near is a hole's."""
SMALLEST_COVERAGE, LARGEST_COVERAGE = 0.08, 0.85


class Broken(Exception):
    """An avatar that must not be used, and why, in one line."""


def check_geometry(parts: Sequence[Part], spec: AvatarSpec, cameras: Sequence[Camera], extent_m: float) -> None:
    """Everything that can be known before the first frame; raises :class:`Broken`."""
    for part in parts:
        if not (np.isfinite(_points(part)).all() and np.isfinite(part.colours).all()):
            raise Broken(f"{part.name} has numbers that are not finite")
    skin = skin_of(parts)
    check_extent(parts, cameras, extent_m)
    check_mouth(skin, parts)
    check_pieces(parts)
    check_cloth([part for part in parts if isinstance(part, MeshPart) and part.label == "garment"])
    hair = [part for part in parts if isinstance(part, StrandPart) and part.label == "hair"]
    if hair:
        if not STYLES[spec.hair.style].over_eyes:
            check_pupils(skin, hair)
        check_face(skin, hair)


def check_extent(parts: Sequence[Part], cameras: Sequence[Camera], extent_m: float) -> None:
    """The whole bust lies in the cube, and every camera sees all of it."""
    points = np.concatenate([_points(part) for part in parts]) / extent_m
    reach = float(np.abs(points).max())
    if reach >= 1:
        raise Broken(f"the bust reaches {reach:.3f}, out of the unit cube")
    corners = points[ConvexHull(points).vertices]
    for number, camera in enumerate(cameras):
        x, y, _ = camera.project(corners).T
        room = min(x.min(), y.min(), camera.width - x.max(), camera.height - y.max())
        if room < MARGIN_PIXELS:
            raise Broken(f"view {number} cuts the bust: {room:.2f} pixels of room at its border")


def check_pieces(parts: Sequence[Part]) -> None:
    """Each piece of each mesh touches another, and all hang together with the skin; strands begin near something."""
    meshes = [part for part in parts if isinstance(part, MeshPart)]
    pieces: list[tuple[str, Floats]] = []
    for part in meshes:
        if part.role == "skin":
            pieces.append((part.name, part.vertices[np.unique(part.faces[::4])]))
            continue
        used, faces = np.unique(part.faces, return_inverse=True)
        faces = faces.reshape(part.faces.shape)
        ends = np.stack([faces[:, 0].repeat(faces.shape[1] - 1), faces[:, 1:].reshape(-1)])
        graph = coo_matrix((np.ones(ends.shape[1]), ends), shape=(len(used), len(used)))
        count, label = connected_components(graph, directed=False)
        # Faces of cloth are as large as the gap that is forgiven, so their middles count too.
        points = np.concatenate((part.vertices[used], part.vertices[part.faces].mean(1)))
        of_piece = np.concatenate((label, label[faces[:, 0]]))
        pieces += [(part.name, points[of_piece == i]) for i in range(count)]
    trees = [cKDTree(points) for _, points in pieces]
    boxes = [(points.min(0) - GAP_M, points.max(0) + GAP_M) for _, points in pieces]
    reached, front = {0}, [0]
    while front:
        i = front.pop()
        for j in set(range(len(pieces))) - reached:
            if touching(pieces[i][1], trees[i], boxes[i], pieces[j][1], trees[j], boxes[j]):
                reached.add(j)
                front.append(j)
    floating = sorted({pieces[i][0] for i in range(len(pieces)) if i not in reached})
    if floating:
        raise Broken(f"{floating[0]} floats: no other part within {1000 * GAP_M:g} mm")
    for strands in parts:
        if not isinstance(strands, StrandPart):
            continue
        others = [p.points[::5, ::2].reshape(-1, 3) for p in parts if isinstance(p, StrandPart) and p is not strands]
        around = [*trees, *(cKDTree(points) for points in others)]
        # Hair grows from skin; what is tied of hair, a bun, need only touch it.
        grown = strands.role == "grown"
        held = strands.points[:, 0] if grown else strands.points[::3].reshape(-1, 3)
        held = held[:: max(1, len(held) // 2000)]
        far = np.min([tree.query(held, distance_upper_bound=3 * GAP_M)[0] for tree in around], 0) > 2 * GAP_M
        if far.all() or (grown and far.mean() > 0.02):
            raise Broken(f"{strands.name} floats: {far.mean():.0%} of it begins far from everything")


Box = tuple[Floats, Floats]


def touching(a: Floats, tree_a: cKDTree, box_a: Box, b: Floats, tree_b: cKDTree, box_b: Box) -> bool:
    """Whether two clouds of points come nearer than ``GAP_M``; only what lies in the other's box is looked at."""
    if len(a) > len(b):
        a, tree_a, box_a, b, tree_b, box_b = b, tree_b, box_b, a, tree_a, box_a
    few = a[((a > box_b[0]) & (a < box_b[1])).all(1)]
    return len(few) > 0 and bool(np.isfinite(tree_b.query(few, distance_upper_bound=GAP_M)[0]).any())


def check_mouth(skin: MeshPart, parts: Sequence[Part]) -> None:
    """The skin has no edge in the face, so the mouth is lined; teeth stay behind the lips."""
    rest = topology().rest
    edge = rest[border_vertices(_triangles(skin))]
    edge = edge[edge[:, 1] > FACE_BEGINS]
    if len(edge):
        raise Broken(f"the skin is open at {np.round(edge[0], 2).tolist()} of the base shape, in decimetres")
    points, _ = landmark_points(skin)
    front = points[[51, 57], 2].max()
    for part in parts:
        if isinstance(part, MeshPart) and part.label == "teeth" and part.vertices[:, 2].max() > front:
            raise Broken(f"{part.name} stands {1000 * (part.vertices[:, 2].max() - front):.1f} mm out of the lips")


def check_cloth(garment: Sequence[MeshPart]) -> None:
    """Every edge of a piece of cloth is covered by another piece: a trim, a cap, a collar."""
    for part in garment:
        if part.role != "garment":
            continue
        others = [other.vertices for other in garment if other is not part]
        tree = cKDTree(np.concatenate(others)) if others else None
        for loop in border_loops(_triangles(part)):
            distance = tree.query(part.vertices[loop])[0] if tree else np.full(len(loop), np.inf)
            if np.quantile(distance, 0.9) > HOLE_M:
                at = np.round(part.vertices[loop].mean(0), 3).tolist()
                raise Broken(f"{part.name} has a hole of {len(loop)} edges at {at} metres")


def check_pupils(skin: MeshPart, hair: Sequence[StrandPart]) -> None:
    """Nothing of the hair hangs in front of a pupil."""
    points, _ = landmark_points(skin)
    for side, first in (("right", 36), ("left", 42)):
        lids = points[first : first + 6]
        centre, front = lids.mean(0), lids[:, 2].min() - 0.004
        count = 0
        for part in hair:
            box = (np.abs(part.points[..., :2] - centre[:2]) < 0.03).all(-1) & (part.points[..., 2] > front - 0.01)
            strands = part.points[box.any(1)]
            start, step = strands[:, :-1], np.diff(strands, axis=1)
            along = ((centre - start)[..., :2] * step[..., :2]).sum(-1) / np.maximum(
                (step[..., :2] ** 2).sum(-1), 1e-12
            )
            closest = start + np.clip(along, 0, 1)[..., None] * step
            near = np.hypot(*np.moveaxis((closest - centre)[..., :2], -1, 0)) < PUPIL_M
            count += int((near & (closest[..., 2] > front)).any(1).sum())
        if count > PUPIL_STRANDS:
            raise Broken(f"{count} strands hang in front of the {side} pupil")


def check_face(skin: MeshPart, hair: Sequence[StrandPart]) -> None:
    """Hair lies on the face, not in it: of the strands near its skin few dip under it."""
    rest = topology().rest
    region = (rest[:, 2] > 0.95) & (np.abs(rest[:, 0]) < 0.62) & (rest[:, 1] > 6.2) & (rest[:, 1] < 7.75)
    region &= topology().masks["inside-mouth"] < 0.1
    index = np.flatnonzero(region)[::3]
    tree, normals = cKDTree(skin.vertices[index]), vertex_normals(skin.vertices, topology().triangles)[index]
    low, high = skin.vertices[index].min(0) - 0.005, skin.vertices[index].max(0) + 0.02
    for part in hair:
        inner = part.points[:, 2:]
        near = ((inner > low) & (inner < high)).all(-1)
        points = inner[near]
        if not len(points):
            continue
        distance, found = tree.query(points, distance_upper_bound=0.02)
        known = np.isfinite(distance)
        at = found[known]
        height = ((points[known] - skin.vertices[index][at]) * normals[at]).sum(1)
        strand = np.nonzero(near)[0][known]
        share = len(np.unique(strand[height < -UNDER_SKIN_M])) / len(part.points)
        if share > FACE_STRANDS:
            raise Broken(f"{share:.1%} of the strands of {part.name} go through the face")


def check_frame(rgba: npt.NDArray[np.uint8], depth: npt.NDArray[np.float32], view: int) -> None:
    """Alpha of one frame: clear at every border, one piece, opaque inside; depth wherever it is opaque."""
    alpha = rgba[..., 3]
    border = max(int(line.max()) for line in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
    if border:
        raise Broken(f"view {view}: alpha is {border} at the image's border")
    solid = alpha > 127
    coverage = float(solid.mean())
    if not SMALLEST_COVERAGE < coverage < LARGEST_COVERAGE:
        raise Broken(f"view {view}: the avatar covers {coverage:.1%} of the image")
    labels, count = ndimage.label(solid, np.ones((3, 3)))
    sizes = np.sort(np.bincount(labels.ravel(), minlength=count + 1)[1:])
    # Tips of hair come apart in small dots.
    if count > 1 and sizes[-2] > max(6, 0.002 * sizes[-1]):
        raise Broken(f"view {view}: a piece of {sizes[-2]} pixels stands apart")
    inside = ndimage.binary_erosion(ndimage.binary_fill_holes(solid), np.ones((3, 3)), 3) & (labels > 0)
    thin = float((alpha[inside] < 250).mean()) if inside.any() else 0.0
    if thin > 0.02:
        raise Broken(f"view {view}: {thin:.1%} of the inside is not opaque")
    missing = float((~np.isfinite(depth[alpha == 255])).mean()) if (alpha == 255).any() else 1.0
    if missing > 0.001:
        raise Broken(f"view {view}: {missing:.1%} of the opaque pixels have no depth")


def border_vertices(triangles: Ints) -> Ints:
    """Vertices of the edges that only one triangle has."""
    ends = np.sort(np.concatenate((triangles[:, (0, 1)], triangles[:, (1, 2)], triangles[:, (2, 0)])), 1)
    keys, counts = np.unique(ends[:, 0] * (triangles.max() + 1) + ends[:, 1], return_counts=True)
    return np.asarray(np.unique(np.stack(np.divmod(keys[counts == 1], triangles.max() + 1))))


def _points(part: Part) -> Floats:
    """What is seen of a part, (point, 3)."""
    if isinstance(part, StrandPart):
        return part.points.reshape(-1, 3)
    used = np.zeros(len(part.vertices), bool)
    used[part.faces] = True
    return np.asarray(part.vertices[used])


def _triangles(part: MeshPart) -> Ints:
    return triangulate(part.faces) if part.faces.shape[1] == 4 else part.faces
