import numpy as np
import pytest

from pipeline.contracts.camera import Camera, orbit_position, swap_opengl
from pipeline.contracts.capture import TO_Y_UP, Placement

CAMERA = Camera.look_at(orbit_position(30.0, 20.0, 7.0), np.array((0.3, -0.2, 0.1)), fov_deg=40, width=64, height=48)
OFF_CENTRE = CAMERA.model_copy(update={"fx": 71.0, "fy": 69.0, "cx": 20.25, "cy": 30.5})


def unit(axis):
    return {"+": 1.0, "-": -1.0}[axis[0]] * np.eye(3)["xyz".index(axis[1])]


@pytest.mark.parametrize("axis", TO_Y_UP)
def test_each_axis_is_turned_up_by_a_rotation(axis):
    turn = np.array(TO_Y_UP[axis])
    assert np.array_equal(turn @ unit(axis), (0, 1, 0))
    assert np.array_equal(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)


def test_the_front_of_blenders_world_is_ours():
    assert np.array_equal(np.array(TO_Y_UP["+z"]) @ (0, -1, 0), (0, 0, 1))


@pytest.mark.parametrize("axis", TO_Y_UP)
def test_a_placed_camera_sees_the_placed_world_in_the_same_pixels(axis):
    placement = Placement(up=axis, centre=(0.5, -0.25, 0.125), half_side=2.5)
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    placed = np.array(TO_Y_UP[axis]) @ ((points - placement.centre) / 2.5)[..., None]
    seen = OFF_CENTRE.project(points)
    moved = placement.place(OFF_CENTRE).project(placed[..., 0])
    assert np.allclose(moved[:, :2], seen[:, :2], atol=1e-9)
    assert np.allclose(moved[:, 2] * 2.5, seen[:, 2], atol=1e-12)


def test_the_identity_changes_no_bit():
    assert Placement(up="+y", centre=(0.0, 0.0, 0.0), half_side=1.0).place(OFF_CENTRE) == OFF_CENTRE


def test_opengl_axes_are_up_and_backward():
    matrix = CAMERA.matrix()
    turned = swap_opengl(matrix)
    assert np.array_equal(turned[:3, 1], -matrix[:3, 1]), "y: down to up"
    assert np.array_equal(turned[:3, 2], -matrix[:3, 2]), "z: forward to backward"
    assert np.array_equal(turned[:, [0, 3]], matrix[:, [0, 3]])
    assert np.array_equal(swap_opengl(turned), matrix)
