"""Cameras: projection and its inverse, the frames of the conventions, and where rigs look from."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.contracts.camera import Camera, orbit_position, sphere_rig, turntable_rig

azimuths = st.floats(-360, 360)
elevations = st.floats(-85, 85)
coordinates = st.floats(-1, 1)


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    return Camera.look_at(
        orbit_position(draw(azimuths), draw(elevations), draw(st.floats(2, 8))),
        np.array([draw(coordinates) / 4 for _ in range(3)]),
        fov_deg=draw(st.floats(5, 100)),
        width=draw(st.integers(1, 2000)),
        height=draw(st.integers(1, 2000)),
    )


def front(**changes: object) -> Camera:
    """Four units in front of the face, 90 degrees wide: the image plane's half width is the distance."""
    arguments: dict = {"fov_deg": 90.0, "width": 100, "height": 60}
    return Camera.look_at(np.array([0.0, 0.0, 4.0]), np.zeros(3), **(arguments | changes))


@given(cameras(), coordinates, coordinates, coordinates)
def test_unproject_inverts_project(camera: Camera, x: float, y: float, z: float) -> None:
    point = np.array([x, y, z])
    pixel = camera.project(point)
    if pixel[2] > 0.05:
        np.testing.assert_allclose(camera.unproject(pixel), point, atol=1e-9)


@given(cameras(), st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 10))
def test_project_inverts_unproject(camera: Camera, across: float, down: float, depth: float) -> None:
    pixel = np.array([across * camera.width, down * camera.height, depth])
    np.testing.assert_allclose(camera.project(camera.unproject(pixel)), pixel, rtol=1e-9, atol=1e-7)


@given(cameras())
def test_json_gives_the_same_camera_back(camera: Camera) -> None:
    assert Camera.from_json(camera.to_json()) == camera


@given(cameras(), st.integers(1, 3000), st.integers(1, 3000))
def test_resizing_scales_pixels_and_keeps_depth(camera: Camera, width: int, height: int) -> None:
    point = np.array([0.3, -0.2, 0.1])
    scale = np.array([width / camera.width, height / camera.height, 1.0])
    np.testing.assert_allclose(camera.resized(width, height).project(point), camera.project(point) * scale, rtol=1e-9)


def test_the_frames_are_those_of_the_conventions() -> None:
    camera = front()
    # At depth 4 a 90 degree camera sees 8 units across 100 pixels: 12.5 pixels a unit.
    np.testing.assert_allclose(camera.project(np.zeros(3)), (50, 30, 4))
    np.testing.assert_allclose(camera.project(np.array([1.0, 0, 0])), (50 + 12.5, 30, 4))  # avatar's left: image right
    np.testing.assert_allclose(camera.project(np.array([0, 1.0, 0])), (50, 30 - 12.5, 4))  # up: towards row 0
    np.testing.assert_allclose(camera.project(np.array([0, 0, 1.0])), (50, 30, 3))  # out of the face: nearer


def test_depth_is_along_the_axis_and_not_along_the_ray() -> None:
    corner = front().project(np.array([3.0, 2.0, 0.0]))
    assert corner[2] == pytest.approx(4)


@given(azimuths, elevations, st.floats(0.1, 20))
def test_orbit_positions_lie_on_the_sphere(azimuth: float, elevation: float, distance: float) -> None:
    position = orbit_position(azimuth, elevation, distance)
    assert np.linalg.norm(position) == pytest.approx(distance)
    assert math.degrees(math.asin(position[1] / distance)) == pytest.approx(elevation, abs=1e-6)


def test_azimuth_grows_to_the_avatars_left_and_elevation_upwards() -> None:
    np.testing.assert_allclose(orbit_position(0, 0, 5), (0, 0, 5), atol=1e-12)
    np.testing.assert_allclose(orbit_position(90, 0, 5), (5, 0, 0), atol=1e-12)
    np.testing.assert_allclose(orbit_position(0, 90, 5), (0, 5, 0), atol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_rig_has_one_camera_in_each_sector_within_its_bounds(seed: int, num_views: int) -> None:
    rig = sphere_rig(
        np.random.default_rng(seed), num_views, elevation_deg=(-20.0, 50.0), distance=5.0, fov_deg=30.0, size=64
    )
    positions = np.array([camera.matrix()[:3, 3] for camera in rig])
    azimuth = np.degrees(np.arctan2(positions[:, 0], positions[:, 2])) % 360
    elevation = np.degrees(np.arcsin(positions[:, 1] / 5))
    assert sorted((azimuth * num_views / 360 + 1e-9).astype(int) % num_views) == list(range(num_views))
    assert elevation.min() >= -20 - 1e-6 and elevation.max() <= 50 + 1e-6
    for camera in rig:
        np.testing.assert_allclose(camera.project(np.zeros(3)), (32, 32, 5), atol=1e-9)


def test_a_rig_depends_on_its_generator_alone() -> None:
    def rig(seed: int) -> tuple[Camera, ...]:
        return sphere_rig(
            np.random.default_rng(seed), 5, elevation_deg=(0.0, 10.0), distance=5.0, fov_deg=30.0, size=64
        )

    np.random.seed(1)
    first = rig(7)
    np.random.seed(2)
    assert rig(7) == first
    assert rig(8) != first


def test_a_turntable_turns_evenly_and_starts_in_front() -> None:
    rig = turntable_rig(8, elevation_deg=10.0, distance=4.0, fov_deg=30.0, size=32)
    positions = [camera.matrix()[:3, 3] for camera in rig]
    np.testing.assert_allclose(positions[0], orbit_position(0, 10, 4))
    steps = [np.linalg.norm(positions[i] - positions[i - 1]) for i in range(8)]
    np.testing.assert_allclose(steps, steps[0])


def test_a_matrix_that_is_not_rigid_is_refused() -> None:
    camera = front()
    fields = camera.model_dump()
    mirrored = camera.matrix() * np.array([-1, 1, 1, 1])
    sheared = camera.matrix() + np.eye(4, k=1) * 0.1
    shifted = camera.matrix()
    shifted[3, 0] = 0.5
    for matrix in (mirrored, sheared, shifted):
        rows = tuple(tuple(float(x) for x in row) for row in matrix)
        with pytest.raises(ValidationError):
            Camera.model_validate(fields | {"cam2world": rows})


@pytest.mark.parametrize("change", [{"width": 0}, {"fx": 0.0}, {"fx": float("nan")}, {"width": 1.5}, {"height": True}])
def test_impossible_intrinsics_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        Camera.model_validate(front().model_dump() | change)


@pytest.mark.parametrize("target", [(0.0, 0.0, 4.0), (0.0, 3.0, 4.0)])
def test_a_direction_that_leaves_the_image_undefined_is_refused(target: tuple) -> None:
    with pytest.raises(ValueError, match="up vector"):
        Camera.look_at(np.array([0.0, 0.0, 4.0]), np.array(target), fov_deg=30.0, width=8, height=8)
