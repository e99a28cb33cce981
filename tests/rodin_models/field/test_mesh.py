import math
from collections import Counter

import numpy as np
import pytest
import torch

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.mesh import SURFACE_LENGTH, extract_mesh
from rodin_models.field.render import PlaneField

pytest.importorskip("skimage")

CPU = torch.device("cpu")
EXTENT_M = 0.25
LEVEL = math.log(2) / SURFACE_LENGTH
"""The density at which SURFACE_LENGTH is half opaque: 1 - exp(-LEVEL SURFACE_LENGTH) = 1/2."""


class Balls:
    """Spheres (centre, radius), each with density LEVEL on its surface; ``hollow`` is a ball cut out of all of them."""

    def __init__(self, *balls, hollow=0.0, colour=None):
        self.balls, self.hollow, self.colour = balls, hollow, colour

    def density(self, points):
        depth = torch.stack([r - (points - torch.tensor(c)).norm(dim=-1) for c, r in self.balls]).amax(0)
        if self.hollow:
            depth = torch.minimum(depth, points.norm(dim=-1) - self.hollow)
        return LEVEL * torch.exp(20 * depth)

    def __call__(self, points, directions):
        rgb = torch.zeros_like(points) if self.colour is None else self.colour(points, directions.expand_as(points))
        return self.density(points), rgb


def mesh_of(field, resolution=48, **more):
    return extract_mesh(field, extent_m=EXTENT_M, resolution=resolution, device=CPU, **more)


def volume(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def is_closed(mesh):
    """Every edge is walked once in each direction."""
    edges = Counter(tuple(edge) for i in range(3) for edge in mesh.faces[:, [i, (i + 1) % 3]].tolist())
    return bool(edges) and all(count == 1 and edges[b, a] == 1 for (a, b), count in edges.items())


@pytest.mark.parametrize("resolution", [32, 64])
def test_a_sphere_has_its_radius_and_place_in_metres_at_any_resolution(resolution):
    centre = (0.3, -0.2, 0.1)
    mesh = mesh_of(Balls((centre, 0.5)), resolution)
    radii = np.linalg.norm(mesh.vertices - EXTENT_M * np.array(centre), axis=1)
    cell = EXTENT_M * 2 / resolution
    assert np.abs(radii - EXTENT_M * 0.5).max() < 0.1 * cell
    assert is_closed(mesh)
    # Counter-clockwise from outside: a positive volume; 4/3 pi r^3 less what the triangles cut off.
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * (EXTENT_M * 0.5) ** 3, rel=0.02)
    outwards = (mesh.vertices - EXTENT_M * np.array(centre)) / radii[:, None]
    assert (mesh.normals * outwards).sum(1).min() > 0.98


def test_a_mark_on_each_side_stays_there():
    """The three channels are the world's axes: what is red is on the avatar's left, green on top, blue in front."""
    mesh = mesh_of(Balls(((0.0, 0.0, 0.0), 0.6), colour=lambda points, _: (points > 0.3).to(points)))
    for axis in range(3):
        marked = mesh.colours[:, axis] > 0.5
        assert marked.any()
        # A colour is a mean over some three cells of SURFACE_LENGTH behind the surface.
        assert mesh.vertices[marked, axis].min() > 0.25 * EXTENT_M
        assert mesh.vertices[~marked, axis].max() < 0.35 * EXTENT_M


def test_colours_are_seen_along_the_inward_normal():
    mesh = mesh_of(Balls(((0.1, 0.0, 0.0), 0.5), colour=lambda _, directions: 0.5 - directions / 2))
    assert np.abs(mesh.colours - (0.5 + mesh.normals / 2)).max() < 1e-5


def test_colours_do_not_depend_on_the_chunk():
    field = Balls(((0.0, 0.0, 0.0), 0.5), colour=lambda points, _: points.abs())
    whole, parts = mesh_of(field), mesh_of(field, chunk=999)
    assert np.array_equal(whole.faces, parts.faces)
    assert np.abs(whole.colours - parts.colours).max() < 1e-5


def test_specks_go_and_other_pieces_stay():
    """Areas go by r^2: 0.09^2 / 0.5^2 = 3 % stays, 0.045^2 / 0.5^2 = 0.8 % goes."""
    big, small, speck = ((-0.4, 0.0, 0.0), 0.5), ((0.5, 0.5, 0.0), 0.09), ((0.5, -0.5, 0.0), 0.045)
    alone = mesh_of(Balls(speck), 64)
    assert len(alone.faces) > 0, "the grid sees the speck"
    mesh = mesh_of(Balls(big, small, speck), 64)
    assert (mesh.vertices[:, 1] > 0.35 * EXTENT_M).any() and mesh.vertices[:, 0].max() > 0.5 * EXTENT_M
    right = mesh.vertices[mesh.vertices[:, 0] > 0.3 * EXTENT_M]
    assert (right[:, 1] > 0).all()
    assert is_closed(mesh)


def test_a_hollow_inside_is_not_in_the_mesh():
    mesh = mesh_of(Balls(((0.0, 0.0, 0.0), 0.7), hollow=0.4))
    assert np.linalg.norm(mesh.vertices, axis=1).min() > 0.65 * EXTENT_M
    assert is_closed(mesh)


def test_what_reaches_the_border_of_the_cube_is_closed_there():
    """Solid planes are the cube itself: 1 at the last cell's centre, 0 a cell further, so 1/2 at the border."""
    settings = DecoderSettings(channels=4, hidden=8, colour_hidden=8, density_bias=12.0)
    generator = torch.Generator().manual_seed(0)
    field = PlaneField.of_planes(0.01 * torch.randn(3, 4, 8, 8, generator=generator), Decoder(settings, generator))
    mesh = mesh_of(field, 16)
    assert np.allclose(np.abs(mesh.vertices).max(0), EXTENT_M, atol=1e-6)
    assert is_closed(mesh)


def test_thin_air_has_no_surface():
    mesh = mesh_of(Balls(((9.0, 9.0, 9.0), 0.1)))
    assert [len(part) for part in mesh] == [0, 0, 0, 0]
    assert mesh.vertices.shape == mesh.colours.shape == (0, 3)
