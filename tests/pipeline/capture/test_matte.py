import numpy as np
import pytest
from support.captures import FOCAL, SIZE, over, poses
from support.textured_ellipsoid import photograph

from pipeline.capture.matte import join, key_background, parse_colour, shrink


def test_colours():
    assert parse_colour("white") == (255, 255, 255) and parse_colour("#0a10ff") == (10, 16, 255)


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (0, 177, 64)])
def test_alpha_comes_back_from_a_background_of_one_colour(background):
    truth = photograph(poses(5)[1], FOCAL, SIZE)
    flat = over(truth, background)
    rgba = key_background(flat, background, 0)
    again = over(rgba / 255, background).astype(int)
    assert np.abs(again - flat).max() <= 1, "over the same background it is the photograph again"
    alpha = rgba[..., 3] / 255
    assert (alpha[truth[..., 3] == 0] == 0).all() and (alpha[truth[..., 3] > 0.02] > 0).all()
    assert (alpha[truth[..., 3] == 1] == 1).mean() > 0.9, "only pixels beside the background are in question"
    edge = (truth[..., 3] > 0) & (truth[..., 3] < 1)
    thresholded = np.abs((alpha > 0) - truth[..., 3])[edge].mean()
    assert np.abs(alpha - truth[..., 3])[edge].mean() < 0.35 * thresholded


def test_the_tolerance_is_a_level_a_channel():
    rgb = np.full((1, 3, 3), 100, np.uint8)
    rgb[0, 1, 2], rgb[0, 2, 2] = 104, 105
    assert key_background(rgb, (100, 100, 100), 4)[0, :, 3].astype(bool).tolist() == [False, False, True]


def test_colour_is_zero_where_nothing_is():
    rgb = np.full((1, 2, 3), 9, np.uint8)
    assert join(rgb, np.array([[0, 3]], np.uint8)).tolist() == [[[0, 0, 0, 0], [9, 9, 9, 3]]]


def test_shrinking_weighs_colour_by_alpha():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0], rgba[1, 1] = (200, 0, 40, 255), (100, 0, 40, 85)
    # alpha (255 + 85) / 4, red (200 * 255 + 100 * 85) / (255 + 85)
    assert shrink(rgba, 2).tolist() == [[[175, 0, 40, 85]]]
    assert shrink(rgba, 1) is rgba
