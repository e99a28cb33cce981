"""Pixels and their encodings: alpha over white, sizes, PNG and JPEG.

Nothing is written here: callers publish the bytes. Arrays are uint8, (height, width, 3) unless said otherwise.
"""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.contracts.errors import DataError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]


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


def decode_image(data: bytes, *, name: str) -> Pixels:
    """RGBA pixels of a PNG, JPEG or WebP file that a user gave, turned as its EXIF says; opaque where it has no alpha.

    Raises ``DataError`` that mentions ``name``, also for more pixels than Pillow takes for harmless, some 90 million.
    """
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        reason = "no PNG, JPEG or WebP image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"{name} cannot be read as an image: {reason}; give a PNG, JPEG or WebP file") from error


def decode_photograph(data: bytes, *, name: str) -> tuple[Pixels, Pixels | None]:
    """Colour (height, width, 3) and alpha (height, width) of a PNG, JPEG or WebP file as its pixels lie there.

    Alpha is None where the file has none. EXIF turns nothing: cameras are of the pixels. Raises ``DataError``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            image.load()
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{name} has {image.mode} pixels, not 8-bit colour: convert it")
            if image.has_transparency_data:
                rgba = np.asarray(image.convert("RGBA"))
                return rgba[..., :3], rgba[..., 3]
            return np.asarray(image.convert("RGB")), None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} cannot be read as a PNG, JPEG or WebP image ({error}): copy it again") from None
