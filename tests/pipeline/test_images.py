import io

import numpy as np
import pytest
from PIL import Image

from pipeline.contracts.errors import DataError
from pipeline.images import Pixels, decode_image, encode_png, over_white, to_uint8


def straight_from_white(rgb, alpha):
    """Straight-alpha RGBA of colour over white (height, width, 3) and alpha (height, width), both in [0, 1].

    The inverse of ``over_white``; where alpha rounds to 0, colour is 0.
    """
    opacity = np.clip(alpha, 0, 1)[..., None]
    colour = 1 - (1 - rgb) / np.maximum(opacity, 1e-3)
    levels = to_uint8(np.concatenate((colour, opacity), -1))
    levels[levels[..., 3] == 0] = 0
    return levels


def _solid(height: int, width: int, *colour: int) -> Pixels:
    return np.full((height, width, len(colour)), colour, np.uint8)


def test_over_white_at_its_ends_and_in_the_middle() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51]]], np.uint8)
    # alpha 51 is one fifth: 0 -> 204, 100 -> 20 + 204, 255 -> 255
    assert over_white(rgba).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 224, 255]]]


def test_straight_colour_and_over_white_are_inverses() -> None:
    generator = np.random.default_rng(0)
    alpha, straight = generator.uniform(0.2, 1, (8, 8)), generator.uniform(0, 1, (8, 8, 3))
    over = straight * alpha[..., None] + 1 - alpha[..., None]
    rgba = straight_from_white(over, alpha)
    assert np.abs(rgba[..., :3] - straight * 255).max() <= 0.51
    assert np.abs(over_white(rgba).astype(int) - over * 255).max() <= 1.1
    assert straight_from_white(np.ones((2, 2, 3)), np.zeros((2, 2))).tolist() == [[[0] * 4] * 2] * 2


def test_to_uint8_clips_and_rounds() -> None:
    assert to_uint8(np.array([-1.0, 0.0, 0.5, 0.999, 2.0])).tolist() == [0, 0, 128, 255, 255]


def test_png_round_trip_keeps_alpha() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    assert (decode_image(encode_png(rgba), name="x.png") == rgba).all()
    assert encode_png(rgba) == encode_png(rgba.copy())


def test_decode_turns_and_refuses() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    Image.fromarray(_solid(8, 16, 200, 10, 10)).save(buffer, "JPEG", exif=exif)
    assert decode_image(buffer.getvalue(), name="x.jpg").shape == (16, 8, 4)
    with pytest.raises(DataError, match=r"portrait\.txt cannot be read as an image: no PNG, JPEG or WebP"):
        decode_image(b"hello", name="portrait.txt")
    with pytest.raises(DataError, match=r"cut\.png cannot be read"):
        decode_image(encode_png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[:900], name="cut.png")
