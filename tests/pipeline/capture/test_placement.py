import numpy as np
import pytest
from support.captures import CENTRE, FOCAL, SCALE, SIZE, Z_UP, poses, transform_matrix
from support.textured_ellipsoid import AXES, photograph
from support.textured_ellipsoid import CENTRE as OBJECT

from pipeline.capture.placement import MARGIN, find_cube, find_up, refuse_off_object
from pipeline.capture.sight import Sight
from pipeline.contracts.camera import Camera, swap_opengl
from pipeline.contracts.capture import Placement
from pipeline.contracts.errors import DataError

TRUE_CENTRE = SCALE * Z_UP @ OBJECT + CENTRE
LARGEST = SCALE * AXES.max()


def sights(count=10, seed=0):
    found = []
    for number, pose in enumerate(poses(count, seed=seed)):
        camera = Camera.of_matrix(
            swap_opengl(np.array(transform_matrix(pose))),
            fx=FOCAL, fy=FOCAL, cx=SIZE / 2, cy=SIZE / 2, width=SIZE, height=SIZE,
        )  # fmt: skip
        alpha = np.round(photograph(pose, FOCAL, SIZE)[..., 3] * 255).astype(np.uint8)
        found.append(Sight.of_alpha(f"frame {number}", camera, alpha))
    return found


def turned(sight, turn):
    """The same picture from a camera whose axes are turned."""
    matrix = sight.camera.matrix()
    matrix[:3, :3] = matrix[:3, :3] @ turn
    camera = Camera.of_matrix(matrix, **sight.camera.model_dump(exclude={"cam2world"}))
    return Sight(sight.where, camera, sight.mask, sight.block)


ABOUT_Y = np.diag((-1.0, 1, -1))
ABOUT_X = np.diag((1.0, -1, -1))


def test_the_cube_is_around_the_object():
    centre, half_side = find_cube(sights(), "capture")
    assert np.abs(centre - TRUE_CENTRE).max() < 0.06 * LARGEST
    # The hull of ten outlines and a pixel is somewhat larger than the object, the margin comes on top.
    assert LARGEST * MARGIN < half_side < 1.25 * LARGEST


def test_up_is_where_most_images_have_it():
    cameras = [sight.camera for sight in sights()]
    assert find_up(cameras, "capture") == "+z"
    upside_down = [turned(sight, np.diag((-1.0, -1, 1))).camera for sight in sights()]
    assert find_up(upside_down, "capture") == "-z"
    with pytest.raises(DataError, match="--up"):
        find_up([*cameras, *upside_down], "capture")


def test_a_camera_that_looks_away_is_named():
    found = sights()
    found[3] = turned(found[3], ABOUT_Y)
    with pytest.raises(DataError, match=r"frame 3: its camera looks away .*1 of 10"):
        find_cube(found, "capture")


def test_opencv_matrices_are_recognised():
    with pytest.raises(DataError, match=r"10 of 10 do\): the matrices may be OpenCV's"):
        find_cube([turned(sight, ABOUT_X) for sight in sights()], "capture")


def test_cameras_that_all_look_the_same_way():
    with pytest.raises(DataError, match="--centre"):
        find_cube(sights()[:1] * 3, "capture")


def test_cameras_at_one_place_do_not_say_where_the_object_is():
    found = sights()
    turns = [sight.camera.matrix() for sight in found]
    for turn in turns:
        turn[:3, 3] = 0, 0, -3
    moved = [
        Sight(s.where, Camera.of_matrix(turn, **s.camera.model_dump(exclude={"cam2world"})), s.mask, s.block)
        for s, turn in zip(found, turns, strict=True)
    ]
    with pytest.raises(DataError, match="at one place"):
        find_cube(moved, "capture")


def placement(half_side=LARGEST * 1.1, centre=TRUE_CENTRE):
    return Placement(up="+z", centre=tuple(float(x) for x in centre), half_side=float(half_side))


def test_frames_that_do_not_show_what_the_others_show():
    refuse_off_object(sights(), placement())
    found = sights(12)
    found[5] = turned(found[5], ABOUT_Y)
    with pytest.raises(DataError, match="frame 5: its camera looks away"):
        refuse_off_object(found, placement())
    found = sights(12)
    found[2] = Sight("frame 2", found[2].camera, np.roll(found[2].mask, 15, 1), 1)
    with pytest.raises(DataError, match=r"frame 2: only \d+% of the object"):
        refuse_off_object(found, placement())
    with pytest.raises(DataError, match="holds nothing"):
        refuse_off_object(sights(), placement(half_side=0.2, centre=TRUE_CENTRE + np.array((0, 0, 1.9))))


def test_masks_of_large_images_are_kept_small_and_miss_nothing():
    alpha = np.zeros((450, 700), np.uint8)
    alpha[449, 699] = 1
    camera = sights(1)[0].camera.resized(700, 450)
    sight = Sight.of_alpha("x", camera, alpha)
    assert sight.block == 4 and sight.mask.shape == (113, 175)
    assert np.argwhere(sight.mask).tolist() == [[112, 174]]
