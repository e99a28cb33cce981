"""Each check passes sound avatars and finds the one defect that a test builds in; a rejected draw is replaced."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from blender_scripts.body.landmarks import landmark_points
from blender_scripts.geometry.material import Clear, Lens
from blender_scripts.geometry.parts import MeshPart, Part, StrandPart
from blender_scripts.job.checks import Broken, border_vertices, check_frame, check_geometry
from blender_scripts.job.preparation import prepare
from blender_scripts.person import build_person
from pipeline.contracts.appearance import GlassesSpec
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.conventions import SEGMENTATION_CLASSES
from pipeline.contracts.rendering import AvatarJob, ViewSpec
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.seconds

EXTENT_M = 0.25
SOUND = (3, 9)
CAMERAS = tuple(
    Camera.look_at(orbit_position(azimuth, 10, 4.6), np.zeros(3), fov_deg=30, width=64, height=64)
    for azimuth in (0, 90, 200)
)


GLASSES = GlassesSpec(shape="round", colour=(0.1, 0.1, 0.1), thickness=0.5, width=0.5)


def spec_of(index: int) -> AvatarSpec:
    """Avatar ``index``, short-haired, with glasses and without a hat, whatever else is drawn."""
    spec = draw_avatar(0, index)
    hair = spec.hair.model_copy(update={"style": "crop"})
    return spec.model_copy(update={"hair": hair, "glasses": GLASSES, "hat": None})


@functools.cache
def person(index: int) -> tuple[Part, ...]:
    return tuple(build_person(spec_of(index)))


def changed(parts: tuple[Part, ...], name: str, **changes: object) -> list[Part]:
    assert any(part.name == name for part in parts), name
    return [replace(part, **changes) if part.name == name else part for part in parts]  # type: ignore[arg-type]


def moved(points: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    return points + np.array((x, y, z))


def part_of(parts: tuple[Part, ...], name: str) -> Part:
    return next(part for part in parts if part.name == name)


def check(parts: list[Part], index: int = 3, cameras: tuple[Camera, ...] = CAMERAS) -> None:
    check_geometry(parts, spec_of(index), cameras, EXTENT_M)


@pytest.mark.parametrize("index", SOUND)
def test_sound_avatars_pass(index: int) -> None:
    check(list(person(index)), index)


def test_every_part_of_a_crowd_has_a_class_but_what_is_seen_through() -> None:
    for index in (3, 9, 11, 14):
        for part in person(index):
            assert part.label in SEGMENTATION_CLASSES or isinstance(part.material, Clear | Lens), part.name


def test_a_bust_out_of_the_cube_or_of_a_frame() -> None:
    hair = part_of(person(3), "hair")
    assert isinstance(hair, StrandPart)
    points = hair.points.copy()
    points[0, -1, 1] = 0.26
    with pytest.raises(Broken, match=r"reaches 1\.040, out of the unit cube"):
        check(changed(person(3), "hair", points=points))
    near = Camera.look_at(orbit_position(90, 10, 3.4), np.zeros(3), fov_deg=30, width=64, height=64)
    with pytest.raises(Broken, match="view 1 cuts the bust"):
        check(list(person(3)), cameras=(CAMERAS[0], near))


def test_numbers_that_are_not_finite() -> None:
    colours = part_of(person(3), "hair").colours.copy()
    colours[5, 1] = np.nan
    with pytest.raises(Broken, match="hair has numbers"):
        check(changed(person(3), "hair", colours=colours))


def test_floating_pieces() -> None:
    rim = part_of(person(3), "rim l")
    assert isinstance(rim, MeshPart)
    loose = [part for part in person(3) if not part.name.startswith(("arm", "bridge", "lens", "rim r"))]
    with pytest.raises(Broken, match="rim l floats"):
        check(changed(tuple(loose), "rim l", vertices=moved(rim.vertices, 0, 0, 0.03)))
    hair = part_of(person(3), "hair")
    assert isinstance(hair, StrandPart)
    with pytest.raises(Broken, match="hair floats"):
        check(changed(person(3), "hair", points=moved(hair.points * (0.85, 1, 0.85), 0, 0.04, 0)))


def test_a_hole_in_cloth() -> None:
    cloth = part_of(person(3), "garment")
    assert isinstance(cloth, MeshPart)
    middle = cloth.vertices[cloth.faces].mean(1)
    centre = middle[np.abs(middle - (0.12, -0.12, 0.03)).sum(1).argmin()]
    kept = np.linalg.norm(middle - centre, axis=1) > 0.03
    with pytest.raises(Broken, match="garment has a hole"):
        check(changed(person(3), "garment", faces=cloth.faces[kept]))


def test_a_mouth_without_a_lining_and_teeth_out_of_the_lips() -> None:
    skin, teeth = part_of(person(3), "skin"), part_of(person(3), "upper-teeth")
    assert isinstance(skin, MeshPart) and isinstance(teeth, MeshPart)
    from blender_scripts.body.body import topology

    lining = topology().masks["inside-mouth"][skin.faces].mean(1) > 0.9
    assert lining.any()
    with pytest.raises(Broken, match="the skin is open"):
        check(changed(person(3), "skin", faces=skin.faces[~lining]))
    with pytest.raises(Broken, match="upper-teeth stands"):
        check(changed(person(3), "upper-teeth", vertices=moved(teeth.vertices, 0, 0, 0.02)))


def test_hair_before_a_pupil_but_for_a_fringe() -> None:
    hair, eye = part_of(person(3), "hair"), part_of(person(3), "eyeball l")
    assert isinstance(hair, StrandPart) and isinstance(eye, MeshPart)
    centre = eye.vertices.mean(0)
    points = hair.points.copy()
    drop = np.linspace(0.05, -0.03, points.shape[1] - 1)
    line = np.stack((0 * drop, drop, 0 * drop), -1)
    points[:5, 1:] = moved(line, centre[0], centre[1], eye.vertices[:, 2].max() + 0.02)
    with pytest.raises(Broken, match=r"strands hang in front of the left pupil"):
        check(changed(person(3), "hair", points=points))
    points[2:5] = hair.points[2:5]
    check(changed(person(3), "hair", points=points))  # two stray hairs are forgiven


def test_hair_through_the_face() -> None:
    hair = part_of(person(3), "hair")
    assert isinstance(hair, StrandPart)
    points = hair.points.copy()
    few = len(points) // 50
    skin = part_of(person(3), "skin")
    assert isinstance(skin, MeshPart)
    cheek, normals = landmark_points(skin)
    points[:few, 3:] = cheek[35] - 0.005 * normals[35]
    with pytest.raises(Broken, match="go through the face"):
        check(changed(person(3), "hair", points=points))


def frame() -> tuple[np.ndarray, np.ndarray]:
    """A disc."""
    rows, columns = np.mgrid[:64, :64] - 31.5
    inside = np.hypot(rows, columns) < 20
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[inside] = 255
    return rgba, np.where(inside, 4.6, np.inf).astype(np.float32)


def test_frames() -> None:
    rgba, depth = frame()
    check_frame(rgba, depth, 0)

    def broken(told: str, rows: slice, columns: slice, alpha: int, far: float = 4.6) -> None:
        bad, z = rgba.copy(), depth.copy()
        bad[rows, columns, 3] = alpha
        z[rows, columns] = far
        with pytest.raises(Broken, match=told):
            check_frame(bad, z, 7)

    broken("view 7: alpha is 3 at the image's border", slice(20, 21), slice(0, 1), 3)
    broken("view 7: a piece of 16 pixels stands apart", slice(3, 7), slice(3, 7), 255)
    broken("not opaque", slice(28, 36), slice(28, 36), 200)
    broken("have no depth", slice(28, 36), slice(28, 36), 255, np.inf)
    broken("covers 0.0% of the image", slice(None), slice(None), 0)
    broken("covers 8", slice(2, 62), slice(2, 62), 255)


def test_border_vertices_are_those_of_one_triangle_only() -> None:
    square = np.array(((0, 1, 2), (0, 2, 3)))
    assert border_vertices(square).tolist() == [0, 1, 2, 3]
    closed = np.array(((0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2)))
    assert border_vertices(closed).tolist() == []


def job(redraws: int) -> AvatarJob:
    views = tuple(ViewSpec(view=i, camera=camera, split="train") for i, camera in enumerate(CAMERAS))
    draws = [draw_avatar(0, 3, sub_seed=draw) for draw in range(redraws + 1)]
    return AvatarJob(avatar=3, spec=draws[0], redraws=tuple(draws[1:]), views=views, held_out=False)


def test_a_rejected_draw_is_replaced_by_the_next_sub_seed() -> None:
    asked: list[int] = []

    def build(spec: AvatarSpec) -> list[Part]:
        asked.append(spec.sub_seed)
        parts = person(3)
        if spec.sub_seed < 2:
            return changed(parts, "hair", points=moved(part_of(parts, "hair").points, 0, 0.1, 0))  # type: ignore[union-attr]
        return list(parts)

    prepared = prepare(job(3), EXTENT_M, build=build)
    assert asked == [0, 1, 2] and prepared.draw == 2 and prepared.spec == draw_avatar(0, 3, sub_seed=2)
    assert [(r.avatar, r.sub_seed) for r in prepared.rejections] == [(3, 0), (3, 1)]
    assert all("out of the unit cube" in r.reason and "\n" not in r.reason for r in prepared.rejections)
    with pytest.raises(Broken, match="none of 2 draws passed the checks: the bust reaches"):
        prepare(job(1), EXTENT_M, build=build)


def test_sub_seeds_are_other_people_and_the_first_is_the_avatar_itself() -> None:
    assert draw_avatar(5, 8) == draw_avatar(5, 8, sub_seed=0)
    draws = [draw_avatar(5, 8, sub_seed=draw) for draw in range(4)]
    assert [spec.sub_seed for spec in draws] == [0, 1, 2, 3]
    assert len({spec.seed for spec in draws}) == 4 and draws[2] == draw_avatar(5, 8, sub_seed=2)
