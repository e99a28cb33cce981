"""Fewer triangles, and textures that hold what vertices would."""

import numpy as np
import pytest
import torch

from rodin_models.field.mesh import SURFACE_LENGTH, extract_mesh
from rodin_models.field.texture import bake_texture

pytest.importorskip("skimage")
pytest.importorskip("xatlas")
pytest.importorskip("fast_simplification")

CPU = torch.device("cpu")
EXTENT_M = 0.25
SIDE = 128


class Ball:
    """Radius 0.6, coloured by where it is seen: from 0 to 1 along each axis."""

    def density(self, points):
        return np.log(2) / SURFACE_LENGTH * torch.exp(20 * (0.6 - points.norm(dim=-1)))

    def __call__(self, points, directions):
        return self.density(points), (points + 1) / 2


def mesh_of(**more):
    return extract_mesh(Ball(), extent_m=EXTENT_M, resolution=40, device=CPU, **more)


@pytest.fixture(scope="module")
def baked():
    mesh = mesh_of(triangles=600)
    return mesh, bake_texture(Ball(), mesh, extent_m=EXTENT_M, side=SIDE, device=CPU)


def volume(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_fewer_triangles_are_the_same_ball():
    full, few = mesh_of(), mesh_of(triangles=600)
    assert len(full.faces) > 3000 and 500 < len(few.faces) <= 600
    radii = np.linalg.norm(few.vertices, axis=1)
    assert np.abs(radii / (0.6 * EXTENT_M) - 1).max() < 0.02
    assert volume(few) == pytest.approx(volume(full), rel=0.02)
    assert np.allclose(np.linalg.norm(few.normals, axis=1), 1, atol=1e-5)
    assert (few.normals * few.vertices / radii[:, None]).sum(1).min() > 0.95, "outwards"


def test_more_than_there_are_changes_nothing():
    assert np.array_equal(mesh_of().vertices, mesh_of(triangles=10**6).vertices)


def test_the_texture_shows_each_vertex_its_colour(baked):
    mesh, texture = baked
    assert texture.image.shape == (SIDE, SIDE, 3) and len(texture.mesh.faces) == len(mesh.faces)
    assert 0.4 < texture.share < 1
    column, row = np.clip((texture.uv * SIDE).astype(int), 0, SIDE - 1).T
    seen = texture.image[row, column] / 255
    # A texel is about a fiftieth of the ball, and the colour goes from 0.2 to 0.8 over it.
    assert np.abs(seen - texture.mesh.colours).max() < 0.05


def test_every_texel_of_a_triangle_has_the_colour_of_its_place(baked):
    """Each triangle's middle: a point that is no vertex."""
    _, texture = baked
    middles = texture.uv[texture.mesh.faces].mean(1)
    column, row = np.clip((middles * SIDE).astype(int), 0, SIDE - 1).T
    place = texture.mesh.vertices[texture.mesh.faces].mean(1) / EXTENT_M
    assert np.abs(texture.image[row, column] / 255 - (place + 1) / 2).max() < 0.06


def test_charts_do_not_overlap(baked):
    """The area of all triangles in the picture is the share that lies in charts."""
    _, texture = baked
    a, b, c = (texture.uv[texture.mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum() / 2
    assert area == pytest.approx(texture.share, rel=0.1)
