"""Picture files by what they hold: right, or named for what they are."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.contracts.errors import DataError
from pipeline.picture_file import read_header, read_picture

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
ALPHA = np.random.default_rng(1).integers(0, 256, (6, 10), np.uint8)
GREY = COLOUR[..., 0]


def stored(image, kind="PNG", **how):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **how)
    return buffer.getvalue()


def read(data, upright=False, **how):
    return read_picture(data, name="x.png", upright=upright, **how)


def refused(data):
    with pytest.raises(DataError) as caught:
        read(data)
    assert str(caught.value).startswith("x.png cannot be read as an image: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_every_kind_of_pixel_is_eight_bit_colour():
    assert (read(stored(COLOUR)).rgb == COLOUR).all() and read(stored(COLOUR)).alpha is None
    rgba = read(stored(np.dstack((COLOUR, ALPHA))))
    assert (rgba.rgb == COLOUR).all() and (rgba.alpha == ALPHA).all()
    assert (read(stored(GREY)).rgb == GREY[..., None]).all()
    assert (read(stored(GREY.astype(np.uint16) * 257)).rgb == GREY[..., None]).all(), "16 bits"
    assert (read(stored(np.dstack((GREY, ALPHA)))).alpha == ALPHA).all(), "grey and alpha"
    bits = Image.fromarray(np.where(GREY > 127, 255, 0).astype(np.uint8)).convert("1")
    assert set(np.unique(read(stored(bits)).rgb)) == {0, 255}


def test_palettes_with_and_without_a_transparent_colour():
    image = Image.fromarray(GREY % 3, "P")
    image.putpalette([9, 8, 7, 200, 0, 0, 0, 0, 90] + [0] * 759)
    flat = read(stored(image))
    assert flat.alpha is None and (flat.rgb[GREY % 3 == 1] == (200, 0, 0)).all()
    cut = read(stored(image, transparency=0))
    assert ((cut.alpha == 0) == (GREY % 3 == 0)).all() and (cut.rgb[GREY % 3 == 2] == (0, 0, 90)).all()


def test_printers_colours():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(read(stored(cmyk, "JPEG")).rgb.astype(int) - (255, 0, 0)).max() <= 2
    rgb_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert "CMYK colours cannot be turned" in refused(stored(cmyk, "JPEG", icc_profile=rgb_profile))


def test_pixels_are_turned_where_that_is_wanted():
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = stored(COLOUR, exif=exif)
        assert (read(data).rgb == COLOUR).all(), "as they lie"
        upright, header = read(data, upright=True).rgb, read_header(data, name="x")
        assert upright.shape[1::-1] == header.upright_size and (header.width, header.height) == (10, 6)
    # Of 6, the stored first column is the upright picture's first row, from its end on.
    exif[0x0112] = 6
    assert (read(stored(COLOUR, exif=exif), upright=True).rgb[0] == COLOUR[::-1, 0]).all()
    exif[0x0112] = 99
    assert read_header(stored(COLOUR, exif=exif), name="x").orientation == 1


def test_a_jpeg_can_be_decoded_smaller():
    smooth = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (64, 48, 3)).copy()
    small = read(stored(smooth, "JPEG", quality=95), reduced=8).rgb
    means = smooth.reshape(8, 8, 6, 8, 3).mean((1, 3))
    assert small.shape == (8, 6, 3) and np.abs(small - means).max() < 3
    assert read(stored(smooth), reduced=8).rgb.shape == smooth.shape, "a PNG cannot"


def animation(kind):
    return stored(Image.fromarray(COLOUR), kind, save_all=True, append_images=[Image.fromarray(255 - COLOUR)])


BAD = [
    (b"", "it is empty"),
    (bytes(300), "300 bytes of 0"),
    (b"\0\0\0\x18ftypheic" + bytes(300), "it is HEIC"),
    (b"\0\0\0\x18ftypavif" + bytes(300), "it is AVIF"),
    (b"\0\0\0\x18ftypisom" + bytes(300), "it is a video"),
    (stored(COLOUR, "TIFF"), "it is TIFF"),
    (stored(COLOUR, "GIF"), "it is GIF"),
    (stored(COLOUR, "BMP"), "it is BMP"),
    (b"<!DOCTYPE HTML><html>404", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    (b"hello", "no PNG, JPEG or WebP"),
    (animation("PNG"), "an animation of 2 pictures"),
    (animation("WEBP"), "an animation of 2 pictures"),
    (stored(GREY.astype(np.uint16) * 16), "16-bit levels end at"),
    (stored(COLOUR)[:100], "truncated"),
]


@pytest.mark.parametrize(("data", "told"), BAD, ids=[told for _, told in BAD])
def test_what_is_no_still_picture_is_named(data, told):
    assert told in refused(data)
