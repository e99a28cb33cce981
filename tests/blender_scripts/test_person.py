"""Avatars as geometry, without Blender: inside the cube, finite, hair off the skin and off the face, the same twice."""

import functools

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from blender_scripts.body import EYES_M, build_body, cut_height, topology
from blender_scripts.garments import build_garment, neckline
from blender_scripts.hair_style import STYLES, Head
from blender_scripts.mesh import border_loops, triangulate
from blender_scripts.obstacle import Obstacle
from blender_scripts.parts import MeshPart, Part, StrandPart
from blender_scripts.person import RADIUS_M, TOP_M, build_person, into_cube
from pipeline.contracts.avatar import AvatarSpec, draw_avatar
from pipeline.contracts.camera import Camera, orbit_position

EXTENT_M = 0.25
DISTANCE = 4.6
INDICES = (3, 7, 11)
"""A short cut with beard and glasses, an afro, and long wavy hair."""


@functools.cache
def person(index: int) -> tuple[Part, ...]:
    return tuple(build_person(draw_avatar(0, index)))


def places(part: Part) -> np.ndarray:
    return (part.vertices if isinstance(part, MeshPart) else part.points).reshape(-1, 3)


@pytest.mark.parametrize("index", INDICES)
def test_everything_is_finite_and_inside_the_cube(index: int) -> None:
    for part in person(index):
        assert np.isfinite(places(part)).all() and np.isfinite(part.colours).all(), part.name
        seen = part.vertices[np.unique(part.faces)] if isinstance(part, MeshPart) else places(part)
        assert np.abs(seen).max() < EXTENT_M, part.name


@pytest.mark.parametrize("index", INDICES)
def test_no_view_cuts_the_bust(index: int) -> None:
    points = np.concatenate(
        [part.vertices[np.unique(part.faces)] if isinstance(part, MeshPart) else places(part) for part in person(index)]
    )
    corners = points[ConvexHull(points).vertices]
    for azimuth in range(0, 360, 15):
        for elevation in (-15, 15, 40):
            position = orbit_position(azimuth, elevation, DISTANCE)
            camera = Camera.look_at(position, np.zeros(3), fov_deg=30, width=2, height=2)
            assert np.abs(camera.project(corners / EXTENT_M)[:, :2] - 1).max() < 1


def test_the_eyes_are_where_they_are_said_to_be() -> None:
    for index in (0, 1):
        body = build_body(draw_avatar(0, index))
        np.testing.assert_allclose((body.eyes[0][0] + body.eyes[1][0]) / 2, EYES_M, atol=1e-9)
        assert body.eyes[0][0][0] > 0.02, "the left eye is at +x"
        rest = body.topology.rest
        nose = body.vertices[np.where(np.abs(rest[:, 0]) < 0.5, rest[:, 2], 0).argmax()]
        assert nose[2] > EYES_M[2] and abs(nose[0]) < 0.02, "the face looks along +z"


def test_the_same_spec_gives_the_same_arrays() -> None:
    again = build_person(draw_avatar(0, 11))
    for first, second in zip(person(11), again, strict=True):
        np.testing.assert_array_equal(places(first), places(second))
        np.testing.assert_array_equal(first.colours, second.colours)


@pytest.mark.parametrize("style", sorted(set(STYLES)))
def test_hair_leaves_the_face_free_and_starts_on_the_scalp(style: str) -> None:
    spec = draw_avatar(0, 11)
    spec = spec.model_copy(update={"hair": spec.hair.model_copy(update={"style": style, "recession": 0.0})})
    body, (hair, *_) = build_body(spec), _hair(spec)
    assert len(hair.points) >= 5000
    head = Head.of(body)
    x, y, z = np.moveaxis(hair.points, -1, 0)
    on_face = (np.abs(x) < 0.035) & (y < head.brow - 0.006) & (y > head.chin) & (z > EYES_M[2])
    assert on_face.mean() < 1e-3
    skin = Obstacle.of_parts(body, [])
    distance, index = skin.tree.query(hair.points[:, 0])
    assert np.quantile(distance, 0.99) < 0.012
    distance, index = skin.tree.query(hair.points[:, -1])
    height = ((hair.points[:, -1] - skin.points[index]) * skin.normals[index]).sum(1)
    assert (height > -0.003).mean() > 0.97, "tips end outside the skin"


def _hair(spec: AvatarSpec) -> list[StrandPart]:
    from blender_scripts.hair import build_hair

    body = build_body(spec)
    return build_hair(spec, body, Obstacle.of_parts(body, build_garment(spec, body)))


@pytest.mark.parametrize("style", ["tee", "v-neck", "turtleneck", "shirt", "hoodie", "jumper"])
def test_cloth_is_open_at_the_neck_only(style: str) -> None:
    spec = draw_avatar(0, 2)
    spec = spec.model_copy(update={"garment": spec.garment.model_copy(update={"style": style})})
    parts = build_garment(spec, build_body(spec))
    cloth = next(part for part in parts if part.name == "garment")
    height = cloth.vertices[:, 1] - cut_height(cloth.vertices)
    on_cut = [np.abs(height[loop]).max() < 1e-4 for loop in border_loops(cloth.faces)]
    assert on_cut.count(False) == 1, "any border but the neckline and the cut is a hole"
    assert sum(part.name.startswith("cap") for part in parts) == on_cut.count(True) >= 1


@pytest.mark.parametrize("style", ["tee", "v-neck", "turtleneck", "shirt", "hoodie", "jumper"])
def test_the_neckline_never_reaches_the_shoulders(style: str) -> None:
    rest = topology(1).rest
    shoulders = (np.abs(rest[:, 0]) > 1.2) & (rest[:, 1] < 6)
    assert shoulders.any() and (neckline(style, rest[shoulders]) < 0).all()


def test_fitting_into_the_cube_is_bounded_and_leaves_the_middle_alone() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 3)) * 0.3
    fitted = into_cube(points)
    assert np.hypot(fitted[:, 0], fitted[:, 2]).max() <= RADIUS_M and fitted[:, 1].max() <= TOP_M
    middle = (np.hypot(points[:, 0], points[:, 2]) < 0.7 * RADIUS_M) & (points[:, 1] < 0.7 * TOP_M)
    np.testing.assert_allclose(fitted[middle], points[middle], atol=1e-12)


def test_faces_index_their_vertices() -> None:
    for part in person(3):
        if isinstance(part, MeshPart):
            assert part.faces.min() >= 0 and part.faces.max() < len(part.vertices), part.name
            assert all(len(values) == len(part.vertices) for values in part.fields.values()), part.name
            if part.faces.shape[1] == 4:
                assert triangulate(part.faces).shape == (2 * len(part.faces), 3)
