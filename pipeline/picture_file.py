"""Picture files that people give, all read here: by what they hold, never by how they are called.

PNG, JPEG and WebP, still, in any of their pixels (grey, palettes, 16 bits, CMYK) become 8-bit sRGB and alpha; whatever
else comes is named for what it is. Where cameras are not of the stored pixels, EXIF turns them.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from pipeline.contracts.errors import DataError

Pixels = npt.NDArray[np.uint8]

FORMATS: Final = ("PNG", "JPEG", "WEBP")
UPRIGHT: Final = 1
"""EXIF's orientation of pixels that lie as they are to be seen."""
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each orientation upright."""
_ON_ITS_SIDE: Final = (5, 6, 7, 8)
_JPEGS: Final = ("JPEG", "MPO")
_ORIENTATION_TAG: Final = 0x0112
_LEAST_16_BIT: Final = 4096
"""Of 16 bits, levels that stay below were counted in fewer: what their white is, nobody says."""
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""
_KINDS: Final = (
    (b"II*\0", "TIFF (or a camera's raw format)"),
    (b"MM\0*", "TIFF (or a camera's raw format)"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop's format"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer, not yet fetched by git lfs pull"),
)
"""First bytes (of letters, small ones too) and what they tell."""
_BRANDS: Final = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "a camera's raw format",
}
"""Of the ISO media files that are pictures; the others are videos."""


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before any pixel is read."""

    width: int
    """Of the stored pixels."""
    height: int
    orientation: int
    """As EXIF has it, 1 to 8."""
    is_jpeg: bool
    """So that it can be decoded smaller."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once it is turned."""
        return (self.height, self.width) if self.orientation in _ON_ITS_SIDE else (self.width, self.height)


@dataclass(frozen=True)
class Picture:
    """Pixels of a file."""

    rgb: Pixels
    """(height, width, 3)"""
    alpha: Pixels | None
    """(height, width); None where the file has none."""

    def rgba(self) -> Pixels:
        """(height, width, 4), opaque where the file has no alpha."""
        alpha = np.full(self.rgb.shape[:2], 255, np.uint8) if self.alpha is None else self.alpha
        return np.concatenate((self.rgb, alpha[..., None]), -1)


def read_header(data: bytes, *, name: str) -> Header:
    """Size and orientation of a picture; raises ``DataError`` that begins with ``name``."""
    with _opened(data, name) as image:
        return Header(image.width, image.height, _orientation(image), image.format in _JPEGS)


def refuse_larger(header: Header, most: int, *, name: str) -> None:
    """Raise ``DataError`` for a picture that has to be decoded whole and has more pixels than ``most``."""
    if header.width * header.height > most and not header.is_jpeg:
        raise _unreadable(name, f"its {header.width} x {header.height} pixels are too many")


def read_picture(data: bytes, *, name: str, upright: bool, reduced: int = 1) -> Picture:
    """The pixels of a picture, turned as its EXIF says if ``upright``, else as they lie there.

    ``reduced`` is a factor by which a JPEG, and no other file, comes out smaller if it is 2, 4 or 8: that many times
    fewer pixels of each side are decoded at all. Raises ``DataError`` that begins with ``name`` and says what the file
    is in place of a still picture with a known white.
    """
    with _opened(data, name) as image:
        try:
            if reduced > 1 and image.format in _JPEGS:
                image.draft(image.mode, (-(-image.width // reduced), -(-image.height // reduced)))
            image.load()
            turn = _TURNS.get(_orientation(image)) if upright else None
            plain: Any = _eight_bits(image, name)
            if turn is not None:
                plain = plain.transpose(turn)
        except _BROKEN as error:
            raise _unreadable(name, str(error)) from None
    pixels = np.asarray(plain)
    return Picture(pixels[..., :3], pixels[..., 3] if pixels.shape[2] == 4 else None)


def _opened(data: bytes, name: str) -> Image.Image:
    """The file, opened and found to be a still picture of a known format."""
    try:
        with warnings.catch_warnings():
            # Pillow takes 90 million pixels for an attack; a telephone makes 108. Twice 90 million stay an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise _unreadable(name, _kind(data)) from None
    except _BROKEN as error:
        raise _unreadable(name, str(error)) from None
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # which is a JPEG with previews behind it
        raise _unreadable(name, f"it is an animation of {frames} pictures")
    return image


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """RGB, or RGBA where it has alpha."""
    if image.mode.startswith("I;16"):
        levels = np.asarray(image)
        if 0 < levels.max() < _LEAST_16_BIT:
            raise _unreadable(name, f"its 16-bit levels end at {levels.max()}, so its white is not known")
        return Image.fromarray(np.round(levels / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _unreadable(name, f"its pixels are 32-bit numbers (mode {image.mode}), whose white is not known")
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            turned = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError as error:
            raise _unreadable(name, f"its CMYK colours cannot be turned to sRGB ({error})") from None
        assert turned is not None, "not in place"
        return turned
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode and "transparency" not in image.info else image.convert(mode)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, UPRIGHT)
    except _BROKEN:
        return UPRIGHT
    return value if value in _TURNS else UPRIGHT


def _kind(data: bytes) -> str:
    """What a file is that is no picture of ours."""
    if not data:
        return "it is empty (0 bytes)"
    if data[4:8] == b"ftyp":
        return f"it is {_BRANDS.get(data[8:12], 'a video')}, however it is called"
    start = data[:64].lstrip().lower() if data[:1] in b"< \n" else data
    for magic, kind in _KINDS:
        if start.startswith(magic):
            return f"it is {kind}, however it is called"
    return "no PNG, JPEG or WebP image" if data.strip(b"\0") else f"it is {len(data)} bytes of 0"


def _unreadable(name: str, reason: str) -> DataError:
    return DataError(f"{name} cannot be read as an image: {reason}; give a still PNG, JPEG or WebP file")
