"""Catmull-Clark as a matrix: identities that hold for any mesh."""

import numpy as np

from blender_scripts.geometry.mesh import triangulate, vertex_normals
from blender_scripts.geometry.subdivision import catmull_clark, subdivide

CUBE = np.array(((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)))
CORNERS = np.array(
    ((-1, -1, -1), (1, -1, -1), (1, 1, -1), (-1, 1, -1), (-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)), float
)


def test_rows_are_a_partition_of_unity() -> None:
    for quads, count in ((CUBE, 8), (CUBE[:3], 8), (np.array(((0, 1, 2, 3),)), 4)):
        matrix, _ = subdivide(quads, count, 2)
        np.testing.assert_allclose(np.asarray(matrix.sum(1)).ravel(), 1, atol=1e-12)
        assert matrix.data.min() >= 0


def test_one_level_of_a_cube() -> None:
    matrix, quads = catmull_clark(CUBE, 8)
    points = matrix @ CORNERS
    assert matrix.shape == (8 + 12 + 6, 8) and quads.shape == (24, 4)
    # Valence 3: (F + 2 R) / 3, with F the mean of three face centres, 1 / 3, and R that of edge midpoints, 2 / 3.
    np.testing.assert_allclose(points[6], (1 / 3 + 2 * 2 / 3) / 3, atol=1e-12)
    # Edge point: a quarter of its two ends and two face centres: (1 + 1 + 1 + 0) / 4 along the shared axes.
    assert np.isclose(np.abs(points[8:20]).max(), 3 / 4)
    np.testing.assert_allclose(np.linalg.norm(points[20:], axis=1), 1, atol=1e-12)


def test_orientation_is_kept() -> None:
    matrix, quads = subdivide(CUBE, 8, 2)
    points = matrix @ CORNERS
    normals = vertex_normals(points, triangulate(quads))
    assert ((normals * points).sum(1) > 0).all()


def test_border_stays_on_its_line() -> None:
    grid = np.array(((0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0)), float)
    quads = np.array(((0, 1, 4, 3), (1, 2, 5, 4)))
    matrix, _ = subdivide(quads, 6, 2)
    points = matrix @ grid
    assert np.isclose(points[:, 1].min(), 0) and np.isclose(points[:, 1].max(), 1)
