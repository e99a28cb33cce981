"""Avatars as geometry, without Blender: inside the cube, finite, hair off the skin and off the face, the same twice."""

import functools
from typing import get_args

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from blender_scripts.body.body import EYES_M, Body, build_body, cut_height
from blender_scripts.body.expression import EXPRESSIONS, LID_RIMS
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.body.pose import turn_head
from blender_scripts.clothes.cut import CUTS
from blender_scripts.clothes.earrings import build_earrings
from blender_scripts.clothes.garment import build_garment
from blender_scripts.clothes.glasses import build_glasses
from blender_scripts.clothes.hat import build_hat, press_hair
from blender_scripts.geometry.mesh import border_loops, triangulate
from blender_scripts.geometry.parts import MeshPart, Part, StrandPart, skin_of
from blender_scripts.hair.facial import build_beard
from blender_scripts.hair.hair import build_hair
from blender_scripts.hair.style import STYLES, Head
from blender_scripts.person import RADIUS_M, TOP_M, build_person, into_cube
from pipeline.contracts.appearance import (
    EarringSpec,
    EarringStyle,
    Expression,
    FacialHairSpec,
    FacialHairStyle,
    GlassesShape,
    GlassesSpec,
    HairStyle,
    HatSpec,
    HatStyle,
    PoseSpec,
)
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.seconds

EXTENT_M = 0.25
DISTANCE = 4.6
INDICES = (3, 7, 11)
"""A short cut with beard and glasses, an afro, and long wavy hair."""


@functools.cache
def person(index: int) -> tuple[Part, ...]:
    return tuple(build_person(draw_avatar(0, index)))


@functools.cache
def dressed() -> tuple[Body, Obstacle]:
    """Body of avatar 11 and what its hair lies on; neither depends on hair or hat."""
    spec = draw_avatar(0, 11)
    body = build_body(spec)
    return body, Obstacle.of_parts(body, build_garment(spec, body))


@functools.cache
def hair_of(style: HairStyle, recession: float) -> StrandPart:
    """The hair of avatar 11, were it of that style."""
    spec = draw_avatar(0, 11)
    hair = spec.hair.model_copy(update={"style": style, "recession": recession})
    return build_hair(spec.model_copy(update={"hair": hair}), *dressed())[0]


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
def test_hair_leaves_the_face_free_and_starts_on_the_scalp(style: HairStyle) -> None:
    (body, _), hair = dressed(), hair_of(style, 0.0)
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


def test_a_fringe_falls_down_the_forehead() -> None:
    (body, _), hair = dressed(), hair_of("fringe", 0.0)
    head, skin = Head.of(body), Obstacle.of_parts(body, [])
    points = hair.points.reshape(-1, 3)
    before = (np.abs(points[:, 0]) < 0.04) & (points[:, 2] > EYES_M[2]) & (points[:, 1] < head.hairline)
    assert before.sum() > 500, "there is one"
    distance, _ = skin.tree.query(points[before])
    assert np.quantile(distance, 0.98) < 0.022, "and it stands off like no visor"


def test_kept_points_lie_between_their_heights() -> None:
    body, _ = dressed()
    skin = Obstacle.of_parts(body, [])
    crown = np.flatnonzero(skin.points[:, 1] > Head.of(body).hairline + 0.01)
    heights = np.random.default_rng(0).uniform(-0.01, 0.04, len(crown))
    kept = skin.keep(
        skin.points[crown] + heights[:, None] * skin.normals[crown],
        np.full(len(crown), 0.004), np.full(len(crown), 0.009),
    )  # fmt: skip
    distance, _ = skin.tree.query(kept)
    assert np.quantile(distance, 0.02) > 0.0035 and np.quantile(distance, 0.98) < 0.0115


@pytest.mark.parametrize("style", [s for s, cut in CUTS.items() if not cut.is_open])
def test_cloth_is_open_at_the_neck_only(style: str) -> None:
    spec = draw_avatar(0, 2)
    spec = spec.model_copy(update={"garment": spec.garment.model_copy(update={"style": style})})
    parts = build_garment(spec, build_body(spec))
    cloth = next(part for part in parts if part.role == "garment")
    height = cloth.vertices[:, 1] - cut_height(cloth.vertices)
    # A tank's armholes run into the cut; every other garment's borders lie on it altogether.
    how = np.min if CUTS[style].bare_arms else np.max
    on_cut = [how(np.abs(height[loop])) < 1e-4 for loop in border_loops(cloth.faces)]
    assert on_cut.count(False) == 1, "any border but the neckline and the cut is a hole"
    assert sum(part.role == "cap" for part in parts) == on_cut.count(True) >= 1


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
            assert all(len(values) == len(part.faces) for values in part.face_labels.values()), part.name
            if part.faces.shape[1] == 4:
                assert triangulate(part.faces).shape == (2 * len(part.faces), 3)


def test_every_facial_hair_style_is_rooted_on_the_lower_face() -> None:
    spec = draw_avatar(0, 0)
    body = build_body(spec)
    for style in get_args(FacialHairStyle):
        beard = build_beard(spec.model_copy(update={"facial_hair": FacialHairSpec(style=style, length=0.5)}), body)
        assert (not beard) == (style == "none")
        for part in beard:
            roots = part.points[:, 0]
            assert len(roots) > 500 and roots[:, 1].max() < EYES_M[1] and np.abs(roots[:, 0]).max() < 0.1, style


@pytest.mark.parametrize("style", get_args(HatStyle))
def test_a_hat_covers_the_crown_and_holds_the_hair_under_it(style: HatStyle) -> None:
    spec = draw_avatar(0, 11)
    hat = HatSpec(style=style, colour_name="red", colour=(0.6, 0.1, 0.1), depth=0.5)
    (body, _), strands = dressed(), hair_of("curly", spec.hair.recession)
    (shell, *_) = build_hat(spec.model_copy(update={"hat": hat}), body)
    pressed = press_hair(hat, body, Obstacle.of_parts(body, []), strands.points)
    assert shell.vertices[:, 1].max() > pressed[..., 1].max(), "nothing comes through the top"
    assert shell.vertices[:, 1].min() > EYES_M[1] - 0.03, "the rim stays above the eyes"
    above = strands.points[..., 1] > shell.vertices[:, 1].mean()
    moved = np.linalg.norm(pressed - strands.points, axis=-1)
    assert np.median(moved[above]) > 0.005


@pytest.mark.slow
def test_earrings_hang_from_both_ears_and_glasses_stand_before_the_eyes() -> None:
    spec = draw_avatar(0, 2)
    for style in get_args(EarringStyle):
        spec = spec.model_copy(update={"earrings": EarringSpec(style=style, metal="gold", size=0.5)})
        body = build_body(spec)
        x = np.concatenate([part.vertices[:, 0] for part in build_earrings(spec, body)])
        assert x.max() > 0.05 and x.min() < -0.05 and np.abs(x).min() > 0.05
    for shape in get_args(GlassesShape):
        glasses = GlassesSpec(shape=shape, colour=(0.1, 0.1, 0.1), thickness=0.5, width=0.5)
        body = build_body(spec.model_copy(update={"glasses": glasses}))
        rims = [
            p for p in build_glasses(spec.model_copy(update={"glasses": glasses}), body) if p.name.startswith("rim")
        ]
        for rim, (centre, radius) in zip(rims, body.eyes, strict=True):
            assert rim.vertices[:, 2].min() > centre[2] and np.ptp(rim.vertices[:, 0]) > 2 * radius


def test_a_turned_head_moves_as_one_and_leaves_the_chest() -> None:
    body = build_body(draw_avatar(0, 0))
    pose = PoseSpec(yaw_deg=10.0, pitch_deg=-5.0, roll_deg=4.0)
    eyes = np.stack([centre for centre, _ in body.eyes])
    turned = turn_head(pose, body, eyes)
    assert np.linalg.norm(turned[0] - turned[1]) == pytest.approx(np.linalg.norm(eyes[0] - eyes[1]), rel=1e-9)
    nose = np.array([[0.0, EYES_M[1], 0.12]])
    assert turn_head(PoseSpec(yaw_deg=10.0, pitch_deg=0.0, roll_deg=0.0), body, nose)[0, 0] > 0.01, "to its left: +x"
    assert turn_head(PoseSpec(yaw_deg=0.0, pitch_deg=10.0, roll_deg=0.0), body, nose)[0, 1] > EYES_M[1], "up"
    chest = np.array([[0.05, -0.15, 0.05]])
    np.testing.assert_array_equal(turn_head(pose, body, chest), chest)


@pytest.mark.parametrize("index", range(8))
def test_eyes_are_open_unless_the_expression_closes_them(index: int) -> None:
    for expression, low, high in (("neutral", 0.6, 0.95), ("amazed", 0.75, 1.3), ("sleepy", 0.0, 0.6)):
        iris = draw_avatar(0, index).iris.model_copy(update={"gaze_deg": (0.0, 0.0)})
        spec = draw_avatar(0, index).model_copy(
            update={"expression": expression, "expression_intensity": 1.0, "second_expression": None, "iris": iris}
        )
        body = build_body(spec)
        for side, (_, radius) in zip("lr", body.eyes, strict=True):
            upper, lower = LID_RIMS[side]
            assert low <= (body.base[upper, 1] - body.base[lower, 1]) / radius <= high, expression


def test_every_expression_differs_from_the_neutral_face() -> None:
    spec = draw_avatar(0, 5).model_copy(update={"second_expression": None, "expression_intensity": 1.0})
    neutral = build_body(spec.model_copy(update={"expression": "neutral"})).vertices
    assert set(EXPRESSIONS) == set(get_args(Expression)) and len(EXPRESSIONS) >= 20
    for name in set(EXPRESSIONS) - {"neutral"}:
        moved = np.linalg.norm(build_body(spec.model_copy(update={"expression": name})).vertices - neutral, axis=1)
        assert moved.max() > 0.001, name


def test_every_style_of_a_spec_can_be_built() -> None:
    assert set(STYLES) | {"bald"} == set(get_args(HairStyle))


@pytest.mark.parametrize("index", INDICES)
def test_one_part_is_the_skin_and_its_faces_are_lips_mouth_or_skin(index: int) -> None:
    (skin,) = (part for part in person(index) if part.role == "skin")
    assert skin_of(person(index)) is skin and skin.label == "skin"
    shares = np.stack(list(skin.face_labels.values()))
    assert set(skin.face_labels) == {"skin", "lips", "mouth interior"} and (shares.sum(0) == 1).all()
    assert (shares.sum(1) > 100).all(), "each of them is there"
    assert [part for part in person(index) if isinstance(part, MeshPart) and part.face_labels] == [skin]
