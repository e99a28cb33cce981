"""Mesh tools: clipping, loops, caps and tubes on shapes whose answer is known."""

import numpy as np
import pytest

from blender_scripts.geometry.mesh import (
    adjacency,
    border_loops,
    clip,
    fan_cap,
    resample_closed,
    smooth,
    triangulate,
    tube,
    vertex_normals,
)


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    i = np.arange((n - 1) * n).reshape(n - 1, n)[:, :-1].reshape(-1)
    quads = np.stack((i, i + n, i + n + 1, i + 1), 1)
    return np.stack((x.ravel(), y.ravel(), 0 * x.ravel()), -1), triangulate(quads)


def _area(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return float(np.cross(b - a, c - a)[:, 2].sum() / 2)


@pytest.mark.parametrize("offset", [-0.731, 0.013, 0.402])
def test_clip_cuts_along_the_line(offset: float) -> None:
    vertices, triangles = _grid(9)
    kept, faces, carried = clip(vertices, triangles, vertices[:, 0] - offset, vertices[:, :2])
    assert np.isclose(kept[:, 0].min(), offset, atol=1e-4)
    np.testing.assert_allclose(_area(kept, faces), 2 * (1 - offset), rtol=1e-3)
    np.testing.assert_allclose(carried, kept[:, :2], atol=1e-12)
    assert len(border_loops(faces)) == 1


def test_hole_gives_two_loops_and_a_cap_closes_one() -> None:
    vertices, triangles = _grid(21)
    kept, faces, _ = clip(vertices, triangles, np.hypot(vertices[:, 0], vertices[:, 1]) - 0.5, vertices)
    loops = border_loops(faces)
    assert len(loops) == 2
    hole = min(loops, key=lambda loop: np.abs(kept[loop]).max())
    cap, fan = fan_cap(kept, hole)
    assert np.isclose(_area(kept, faces) + _area(cap, fan), 4, rtol=1e-3)


def test_smoothing_keeps_constants_and_shrinks_noise() -> None:
    vertices, triangles = _grid(11)
    mean = adjacency(triangles, len(vertices))
    noise = np.random.default_rng(0).normal(size=(len(vertices), 1))
    np.testing.assert_allclose(smooth(np.ones_like(noise), mean, 5), 1, atol=1e-12)
    assert smooth(noise, mean, 5).std() < 0.5 * noise.std()


def test_tube_has_its_radius_and_faces_outwards() -> None:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    path = np.stack((np.cos(angle), np.sin(angle), 0 * angle), -1)
    vertices, quads = tube(path, 0.1, 8, closed=True)
    ring = path[np.repeat(np.arange(60), 8)]
    np.testing.assert_allclose(np.linalg.norm(vertices - ring, axis=1), 0.1, atol=1e-9)
    outward = (vertex_normals(vertices, triangulate(quads)) * (vertices - ring)).sum(1)
    assert (outward > 0).all() or (outward < 0).all()


def test_resampling_is_even() -> None:
    square = np.array(((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)), float)
    steps = np.linalg.norm(np.diff(resample_closed(square, 40), axis=0), axis=1)
    np.testing.assert_allclose(steps, 0.1, atol=1e-9)
