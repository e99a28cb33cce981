"""Textures of meshes: a mesh laid out flat in charts, and the field's colours on the charts' texels.

The charts are xatlas's (imported when asked for). Each texel of a chart is a point of the surface with a normal, both
interpolated within its triangle, and has the colour that is seen there as a vertex has it
(:func:`rodin_models.field.mesh.seen_colours`). Texels between charts repeat the nearest one's, so that sampling and
smaller copies of the texture do not mix in anything else.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from rodin_models.field.mesh import Array, Mesh, MeshField, seen_colours

PADDING = 4
"""Texels between charts."""
EDGE = 1e-4
"""Share of a triangle by which a texel's centre may lie outside and still belong to it: no crack stays between two."""


class Texture(NamedTuple):
    """A mesh that is cut along its charts, and its picture."""

    mesh: Mesh
    """Vertices on a cut are there once for each chart."""
    uv: Array
    """float32 [vertex, 2] in [0, 1]: to the right along columns, down along rows, of the picture."""
    image: npt.NDArray[np.uint8]
    """uint8 [row, column, 3], sRGB."""
    share: float
    """Of the texels, those that lie in a chart."""


@torch.no_grad()
def bake_texture(
    field: MeshField, mesh: Mesh, *, extent_m: float, side: int, device: torch.device, chunk: int = 1 << 18
) -> Texture:
    """A texture of ``side`` texels each way for a mesh of :func:`rodin_models.field.mesh.extract_mesh`."""
    import xatlas
    from scipy.ndimage import distance_transform_edt

    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices / np.float32(extent_m), mesh.faces.astype(np.uint32), mesh.normals)
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = side, PADDING, True
    atlas.generate(pack_options=packing)
    source, faces, uv = atlas[0]
    cut = Mesh(mesh.vertices[source], faces.astype(np.int32), mesh.normals[source], mesh.colours[source])
    uv = uv.astype(np.float32)

    colours = np.zeros((side, side, 3), np.float32)
    is_known = np.zeros((side, side), bool)
    points, normals = cut.vertices / np.float32(extent_m), cut.normals
    for face, weights, texel in _texels(uv[cut.faces] * side, side):
        corners = cut.faces[face]
        place = (points[corners] * weights[..., None]).sum(1)
        outwards = (normals[corners] * weights[..., None]).sum(1)
        outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-12)
        colours[texel[:, 1], texel[:, 0]] = seen_colours(field, place, outwards, device, chunk)
        is_known[texel[:, 1], texel[:, 0]] = True
    nearest = distance_transform_edt(~is_known, return_distances=False, return_indices=True)
    image = np.round(colours[tuple(nearest)] * 255).astype(np.uint8)
    return Texture(cut, uv, image, float(is_known.mean()))


def _texels(
    triangles: Array, side: int, most: int = 1 << 22
) -> Iterator[tuple[npt.NDArray[np.intp], Array, npt.NDArray[np.intp]]]:
    """Texels whose centres lie in a triangle [triangle, 3, 2] (columns and rows, in texels), a part at a time.

    Yields the triangle's index, the weights of its corners [texel, 3], and column and row of each texel [texel, 2].
    Triangles of about one size go together, each with the square of texels around it, at most ``most`` at a time.
    """
    low = np.floor(triangles.min(1)).astype(np.intp)
    spans = np.floor(triangles.max(1)).astype(np.intp) - low + 1
    widths = 1 << np.ceil(np.log2(np.maximum(spans.max(1), 1))).astype(int)
    for width in np.unique(widths):
        those = np.flatnonzero(widths == width)
        square = np.stack(np.meshgrid(np.arange(width), np.arange(width)), -1).reshape(-1, 2)
        for part in np.array_split(those, -(-len(those) * len(square) // most)):
            texel = low[part, None] + square
            weights = _barycentric(triangles[part], texel + 0.5)
            inside = (weights >= -EDGE).all(-1) & (texel >= 0).all(-1) & (texel < side).all(-1)
            found, which = np.nonzero(inside)
            if len(found):
                yield part[found], weights[found, which].astype(np.float32), texel[found, which]


def _barycentric(triangles: Array, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights of the corners [triangle, 3, 2] at points [triangle, point, 2]; NaN where a triangle is a line."""
    a, b, c = (triangles[:, None, corner].astype(np.float64) for corner in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        area = _cross(b - a, c - a)
        second, third = _cross(points - a, c - a) / area, _cross(b - a, points - a) / area
    return np.stack((1 - second - third, second, third), -1)


def _cross(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    crossed: npt.NDArray[np.float64] = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return crossed
