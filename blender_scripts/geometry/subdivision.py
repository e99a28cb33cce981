"""Catmull-Clark subdivision as a sparse matrix (Catmull and Clark 1978), so that it is computed once for a topology.

Creases are left out; borders follow the cubic B-spline rule.
"""

import numpy as np
import scipy.sparse as sp

from blender_scripts.geometry.arrays import Ints


def catmull_clark(quads: Ints, num_vertices: int) -> tuple[sp.csr_matrix, Ints]:
    """One level: matrix (new vertices, old vertices), and quads over the new vertices.

    New vertices are the old ones, then one an edge, then one a face. Every row sums to 1.
    """
    num_faces = len(quads)
    ends = np.sort(np.stack((quads, np.roll(quads, -1, 1)), -1).reshape(-1, 2), 1)
    edges, edge_of_corner = np.unique(ends, axis=0, return_inverse=True)
    edge_of_corner = edge_of_corner.reshape(-1)
    num_edges = len(edges)
    uses = np.bincount(edge_of_corner, minlength=num_edges)
    border = uses == 1

    corner_faces = np.repeat(np.arange(num_faces), 4)
    face_points = _matrix(corner_faces, quads.reshape(-1), 0.25, (num_faces, num_vertices))
    edge_ids = np.arange(num_edges)
    midpoints = _matrix(np.repeat(edge_ids, 2), edges.reshape(-1), 0.5, (num_edges, num_vertices))
    edge_to_face = _matrix(edge_of_corner, corner_faces, 1 / uses[edge_of_corner], (num_edges, num_faces))
    inner = sp.diags(np.where(border, 0.0, 0.5))
    edge_points = (sp.identity(num_edges) - inner) @ midpoints + inner @ (edge_to_face @ face_points)

    valence = np.bincount(edges.reshape(-1), minlength=num_vertices).astype(float)
    faces_at = np.bincount(quads.reshape(-1), minlength=num_vertices).astype(float)
    on_border = np.zeros(num_vertices, bool)
    on_border[edges[border].reshape(-1)] = True
    used = valence > 0
    safe = np.where(used, valence, 1.0)
    vertex_face = _matrix(quads.reshape(-1), corner_faces, 1 / faces_at[quads.reshape(-1)], (num_vertices, num_faces))
    ring = edges.reshape(-1)
    vertex_edge = _matrix(ring, np.repeat(edge_ids, 2), 1 / valence[ring], (num_vertices, num_edges))
    smooth = sp.diags(np.where(used & ~on_border, 1.0, 0.0))
    interior = (
        sp.diags(1 / safe) @ (vertex_face @ face_points)
        + sp.diags(2 / safe) @ (vertex_edge @ midpoints)
        + sp.diags((safe - 3) / safe)
    )
    border_ends = edges[border].reshape(-1)
    border_count = np.maximum(np.bincount(border_ends, minlength=num_vertices), 1)
    border_rows = np.repeat(edge_ids[border], 2)
    border_mean = _matrix(border_ends, border_rows, 1 / border_count[border_ends], (num_vertices, num_edges))
    fringe = sp.diags(np.where(on_border, 0.5, 0.0)) @ (sp.identity(num_vertices) + border_mean @ midpoints)
    lonely = sp.diags(np.where(used, 0.0, 1.0))
    matrix = sp.vstack((smooth @ interior + fringe + lonely, edge_points, face_points)).tocsr()

    edge_index = num_vertices + edge_of_corner.reshape(num_faces, 4)
    centre = np.repeat(num_vertices + num_edges + np.arange(num_faces)[:, None], 4, 1)
    new_quads = np.stack((quads, edge_index, centre, np.roll(edge_index, 1, 1)), -1).reshape(-1, 4)
    return matrix, new_quads


def subdivide(quads: Ints, num_vertices: int, levels: int) -> tuple[sp.csr_matrix, Ints]:
    """``levels`` times :func:`catmull_clark`, as one matrix."""
    matrix = sp.identity(num_vertices, format="csr")
    for _ in range(levels):
        step, quads = catmull_clark(quads, matrix.shape[0])
        matrix = step @ matrix
    return matrix.tocsr(), quads


def _matrix(rows: Ints, columns: Ints, values: object, shape: tuple[int, int]) -> sp.csr_matrix:
    return sp.csr_matrix((np.broadcast_to(np.asarray(values, float), rows.shape), (rows, columns)), shape=shape)
