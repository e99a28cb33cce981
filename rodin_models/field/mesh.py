"""Triangle meshes of radiance fields: where a field becomes opaque, coloured as it is seen from outside.

The surface is found by marching cubes (Lewiner et al. 2003, through scikit-image, imported when asked for) on opacity
and not on density: density grows exponentially inside matter, and the linear interpolation between grid points would
push the surface outwards by a different share of every cell. Frame of the vertices: the world's axes, which are those
of glTF (+y up, +z to the front, +x to the avatar's left), in metres. Hollows that the surface encloses are dropped with
the smallest pieces: nobody sees them. There is no smoothing. A texture is baked in :mod:`rodin_models.field.texture`.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rodin_models.field.occupancy import cell_centres
from rodin_models.field.rays import Rays, RaySamples
from rodin_models.field.volume import render_samples

SURFACE_LENGTH = 1 / 64
"""World length whose opacity tells matter from air: a cell of the grid of 128, whatever the grid is."""
SMALLEST_SHARE = 0.01
"""Pieces with less than this share of the largest one's area are dropped."""
SKIN_SAMPLES = 16
"""Samples along the short ray that sees a vertex's colour, from one ``SURFACE_LENGTH`` outside to three inside."""

Array = npt.NDArray[np.float32]


@runtime_checkable
class MeshField(Protocol):
    """What a mesh can be made of: :class:`rodin_models.field.render.PlaneField`, or anything alike."""

    def __call__(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Density [...] per world unit and colour [..., 3] at world points [..., 3] seen along unit directions."""

    def density(self, points: Tensor) -> Tensor:
        """Density alone."""


class Mesh(NamedTuple):
    """Closed surfaces, as plain arrays. Without any surface all arrays are empty."""

    vertices: Array
    """float32 [vertex, 3], metres."""
    faces: npt.NDArray[np.int32]
    """int32 [face, 3], counter-clockwise seen from outside."""
    normals: Array
    """float32 [vertex, 3], unit length, pointing outwards."""
    colours: Array
    """float32 [vertex, 3], sRGB in [0, 1]."""


@torch.no_grad()
def extract_mesh(
    field: MeshField,
    *,
    extent_m: float,
    resolution: int = 128,
    opacity: float = 0.5,
    triangles: int | None = None,
    device: torch.device,
    chunk: int = 1 << 18,
) -> Mesh:
    """The surface on which :data:`SURFACE_LENGTH` of the field has ``opacity``, in at most ``triangles`` if given.

    ``resolution`` is the number of cells along each side of the cube; the field is asked at their centres, ``chunk`` at
    a time. Outside the cube there is nothing, so what reaches the cube's border (shoulders) is closed there.
    ``extent_m`` metres are one world unit. Fewer triangles are left by edge collapses of least quadric error
    (Garland and Heckbert 1997, through fast-simplification, imported when asked for).
    """
    assert 0 < opacity < 1
    levels = _grid_opacity(field, resolution, device, chunk)
    vertices, faces = _surface(levels, opacity)
    vertices, faces = _without_specks_and_hollows(vertices, faces)
    if triangles is not None and len(faces) > triangles:
        vertices, faces = _simplified(vertices, faces, triangles)
    normals = _vertex_normals(vertices, faces)
    colours = seen_colours(field, vertices, normals, device, chunk)
    return Mesh((vertices * extent_m).astype(np.float32), faces, normals, colours)


def _grid_opacity(field: MeshField, resolution: int, device: torch.device, chunk: int) -> Array:
    """Opacity [x, y, z] at the cells' centres, with a layer of nothing around."""
    cells = torch.arange(resolution**3, device=device)
    parts = []
    for part in cells.split(chunk):
        index = torch.stack((part // resolution**2, part // resolution % resolution, part % resolution), -1)
        density = field.density(cell_centres(index, resolution)).float()
        parts.append(-torch.expm1(-density * SURFACE_LENGTH))
    grid: Array = torch.cat(parts).reshape(resolution, resolution, resolution).cpu().numpy()
    return np.pad(grid, 1)


def _surface(levels: Array, opacity: float) -> tuple[Array, npt.NDArray[np.int32]]:
    """Vertices in world units and faces of the level set; none if there is none."""
    from skimage import measure

    if not levels.max() > opacity:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    resolution = levels.shape[0] - 2
    # scikit-image turns faces by the left-hand rule: its "ascent" is counter-clockwise around what is opaque.
    found, faces, _, _ = measure.marching_cubes(levels, opacity, gradient_direction="ascent")
    # Grid point 1 is the centre of cell 0; point 0 is the padding.
    vertices: Array = ((2 * (found - 1) + 1) / resolution - 1).astype(np.float32)
    return vertices, faces.astype(np.int32)


def _without_specks_and_hollows(vertices: Array, faces: npt.NDArray[np.int32]) -> tuple[Array, npt.NDArray[np.int32]]:
    """Only the connected pieces that are turned outwards and not small."""
    if not len(faces):
        return vertices, faces
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate((faces[:, :2], faces[:, 1:]))
    graph = coo_array((np.ones(len(edges), bool), tuple(edges.T)), shape=(len(vertices), len(vertices)))
    count, piece_of_vertex = connected_components(graph, directed=False)
    piece = piece_of_vertex[faces[:, 0]]
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    cross = np.cross(b - a, c - a)
    area = np.bincount(piece, np.linalg.norm(cross, axis=1) / 2, count)
    # Six times a closed surface's volume (divergence theorem); a hollow's surface is turned inwards.
    volume = np.bincount(piece, (a * cross).sum(1), count)
    kept = (volume > 0) & (area >= SMALLEST_SHARE * area[volume > 0].max(initial=0))
    faces = faces[kept[piece]]
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3).astype(np.int32)


def _simplified(vertices: Array, faces: npt.NDArray[np.int32], triangles: int) -> tuple[Array, npt.NDArray[np.int32]]:
    """At most so many triangles; what has become a line goes, and so do vertices that nothing uses any more."""
    import fast_simplification

    vertices, faces = fast_simplification.simplify(vertices, faces, target_count=triangles)
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12]
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used].astype(np.float32), renumbered.reshape(-1, 3).astype(np.int32)


def _vertex_normals(vertices: Array, faces: npt.NDArray[np.int32]) -> Array:
    """Unit mean of the adjacent faces' normals, weighted by their areas."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    cross = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(cross[:, axis], 3), len(vertices)) for axis in range(3)], -1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    # Faces around a vertex that cancel each other say nothing of a direction, and any has unit length.
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), (0.0, 0.0, 1.0)).astype(np.float32)


def seen_colours(field: MeshField, vertices: Array, normals: Array, device: torch.device, chunk: int) -> Array:
    """What is seen through the surface along the inward normal: the field's own rendering over a short ray.

    ``vertices`` are points of the surface in world units, ``normals`` point outwards; sRGB in [0, 1], [point, 3].
    """
    step = 4 * SURFACE_LENGTH / SKIN_SAMPLES
    colours = [np.zeros((0, 3), np.float32)]
    for first in range(0, len(vertices), max(1, chunk // SKIN_SAMPLES)):
        rows = slice(first, first + max(1, chunk // SKIN_SAMPLES))
        outwards = torch.from_numpy(normals[rows]).to(device)
        origins = torch.from_numpy(vertices[rows]).to(device) + outwards * SURFACE_LENGTH
        middles = (torch.arange(SKIN_SAMPLES, device=device) + 0.5) * step
        distances = middles.expand(len(origins), -1)
        rays = Rays(origins, -outwards, torch.ones_like(origins[:, 0]))
        pixels = render_samples(field, rays, RaySamples(distances, torch.full_like(distances, step)))
        seen = pixels.rgb / pixels.alpha.clamp(min=1e-6)[:, None]
        colours.append(seen.clamp(0, 1).float().cpu().numpy())
    return np.concatenate(colours)
