"""Pixels and their encodings: alpha over white, sizes, PNG and JPEG.

Nothing is written here: callers publish the bytes. Arrays are uint8, (height, width, 3) unless said otherwise.
"""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.picture_file import Pixels as Pixels
from pipeline.picture_file import read_header, read_picture, refuse_larger

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]

MOST_PIXELS: Final = 90_000_000
"""Of a picture that is wanted smaller anyway, unless it is a JPEG."""


def over_white(rgba: Pixels) -> Pixels:
    """Composite straight-alpha RGBA (height, width, 4) over white."""
    colour = rgba[..., :3].astype(np.uint32)
    alpha = rgba[..., 3:].astype(np.uint32)
    blended: Pixels = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return blended


def to_uint8(image: Floats) -> Pixels:
    """[0, 1] to 0..255, clipped and rounded."""
    scaled: npt.NDArray[np.float64] = np.clip(np.asarray(image, np.float64), 0, 1) * 255
    return np.round(scaled).astype(np.uint8)


def resized(image: Pixels, width: int, height: int) -> Pixels:
    """Resize with a Lanczos filter, antialiased when shrinking."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def encode_png(image: Pixels, *, optimize: bool = True) -> bytes:
    """PNG of an RGB or RGBA array; a little larger, and several times faster, without ``optimize``."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=optimize)
    return buffer.getvalue()


def encode_jpeg(image: Pixels, *, quality: int = 88) -> bytes:
    """JPEG of an RGB array."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def decode_image(data: bytes, *, name: str, at_least: int = 0) -> Pixels:
    """RGBA pixels of a PNG, JPEG or WebP file that a user gave, turned as its EXIF says; opaque where it has no alpha.

    With ``at_least`` pixels of its longer side to be kept, a larger JPEG may come out up to eight times smaller and
    take as much less memory. Raises ``DataError`` that begins with ``name``.
    """
    reduced = 1
    if at_least:
        header = read_header(data, name=name)
        refuse_larger(header, MOST_PIXELS, name=name)
        side = max(header.width, header.height)
        reduced = next((factor for factor in (8, 4, 2) if side >= factor * at_least), 1)
    return read_picture(data, name=name, upright=True, reduced=reduced).rgba()
