"""One photograph of a capture, from its files to what is published: turned, alpha found, undistorted, made smaller.

What is computed per pixel is computed band by band, and a large JPEG is decoded smaller at once where it will be made
smaller, so that memory is that of the stored pixels at most, and of the published ones for JPEG.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pipeline.capture.lens import undistorted
from pipeline.capture.mask import Coverage, read_mask
from pipeline.capture.matte import EdgeColours, in_bands, join, key_rows, parse_colour, shrink, unpremultiplied
from pipeline.config.stages import IngestConfig
from pipeline.contracts.camera import Camera
from pipeline.contracts.errors import DataError
from pipeline.io.nerf_layout import CaptureFrame
from pipeline.picture_file import UPRIGHT, Header, Picture, Pixels, read_header, read_picture

SMALLEST_SIDE: Final = 16
LARGE: Final = 4_000_000
"""Pixels from which on a JPEG is decoded smaller, which is not quite the mean over blocks."""
AlphaSource = Literal["from the file", "masks", "background"]


@dataclass(frozen=True)
class Reading:
    """How the files of one capture are read, where neither settings nor JSON say it: found by looking at all of
    them.
    """

    upright: bool = False
    """Images that could be of stored or of turned pixels are turned."""
    premultiplied: bool = False
    """Colour was stored times alpha."""


@dataclass(frozen=True)
class Photograph:
    """What comes of one frame's files."""

    rgba: Pixels
    """Straight, of the published size."""
    camera: Camera
    """Of the published size, in the capture's world."""
    source: AlphaSource
    sha256: str
    """Of the files that were read."""
    size: tuple[int, int]
    """Width and height of the picture, turned if it was, before it is made smaller."""
    corner: str
    """Its first pixel, as #rrggbb."""
    mask: Coverage | None
    """What its mask covers, if it has one."""
    lost: float | None
    """Share of the object's pixels that undistorting moves out of the picture; None where nothing is distorted."""


def read_frame(
    frame: CaptureFrame, settings: IngestConfig, reading: Reading, edges: EdgeColours | None = None
) -> Photograph:
    """Read one frame; what its edges say of stored colour is added to ``edges``.

    Raises ``DataError`` for an image that cannot be read, or has neither alpha, mask nor a background's colour.
    """
    data = frame.image.read_bytes()
    header = read_header(data, name=frame.where)
    upright = _is_turned(frame, header, settings, reading)
    size = header.upright_size if upright else (header.width, header.height)
    camera = frame.intrinsics.camera(frame.cam2world, *size, remark=_remark(header))
    _refuse_size(frame.where, size, settings.downscale)
    reduced = _reduced(size, settings.downscale)
    picture = read_picture(data, name=frame.where, upright=upright, reduced=reduced)
    reduced = size[0] // picture.rgb.shape[1]
    sha256 = hashlib.sha256(data).hexdigest()
    covered = None
    if frame.mask is not None:
        mask_data = frame.mask.read_bytes()
        sha256 += hashlib.sha256(mask_data).hexdigest()
        covered = _read_mask(frame, mask_data, size, header, upright, settings)
        covered = _means(covered, reduced)
    coverage = Coverage.of(frame.where, covered) if covered is not None else None
    if covered is not None and settings.masks_show == "surroundings":
        covered = np.invert(covered)
    source, rows = _rows(frame, picture, covered, settings, reading, edges)
    height, width = picture.rgb.shape[:2]
    factor, lost = settings.downscale // reduced, None
    if frame.intrinsics.distortion is not None:
        whole = np.concatenate([rows(first, last) for first, last in in_bands(height, width, factor)])
        bent = camera.resized(width, height)
        flat, pinhole, lost = undistorted(whole, bent, frame.intrinsics.distortion, frame.where)
        camera = pinhole.resized(*size)

        def rows(first: int, last: int) -> Pixels:
            return flat[first:last]

    rgba = np.concatenate([shrink(rows(first, last), factor) for first, last in in_bands(height, width, factor)])
    return Photograph(
        rgba=rgba,
        camera=camera.resized(size[0] // settings.downscale, size[1] // settings.downscale),
        source=source,
        sha256=sha256,
        size=size,
        corner="#" + "".join(f"{level:02x}" for level in picture.rgb[0, 0]),
        mask=coverage,
        lost=lost,
    )


def may_be_turned(frame: CaptureFrame, settings: IngestConfig) -> bool:
    """Whether a frame's EXIF turns it and nothing says whether its camera is of the turned picture."""
    if settings.exif != "auto":
        return False
    header = read_header(frame.image.read_bytes(), name=frame.where)
    return header.orientation != UPRIGHT and _fits_stored(frame, header) == _fits_upright(frame, header)


def _is_turned(frame: CaptureFrame, header: Header, settings: IngestConfig, reading: Reading) -> bool:
    if header.orientation == UPRIGHT or settings.exif == "ignore":
        return False
    if settings.exif == "obey":
        return True
    fits = _fits_upright(frame, header)
    return reading.upright if fits == _fits_stored(frame, header) else fits


def _fits_stored(frame: CaptureFrame, header: Header) -> bool:
    return frame.intrinsics.is_of_size(header.width, header.height)


def _fits_upright(frame: CaptureFrame, header: Header) -> bool:
    return frame.intrinsics.is_of_size(*header.upright_size)


def _remark(header: Header) -> str:
    return "" if header.orientation == UPRIGHT else f" as stored, and an EXIF orientation of {header.orientation}"


def _refuse_size(where: str, size: tuple[int, int], downscale: int) -> None:
    if min(size) < SMALLEST_SIDE * downscale or size[0] % downscale or size[1] % downscale:
        raise DataError(
            f"{where} has {size[0]}x{size[1]} pixels: made {downscale} times smaller (ingest.downscale), both sides "
            "must "
            f"be whole and at least {SMALLEST_SIDE}"
        )


def _reduced(size: tuple[int, int], downscale: int) -> int:
    """By how much a JPEG may be decoded smaller."""
    if size[0] * size[1] < LARGE:
        return 1
    return next(factor for factor in (8, 4, 2, 1) if downscale % factor == 0)


def _read_mask(
    frame: CaptureFrame,
    data: bytes,
    size: tuple[int, int],
    header: Header,
    upright: bool,
    settings: IngestConfig,
) -> Pixels:
    """The mask's (height, width), turned as its picture is."""
    assert frame.mask is not None
    where = f"{frame.where}: its mask {frame.mask.name}"
    picture = read_picture(data, name=where, upright=upright)
    covered = read_mask(picture, settings.tolerance, where)
    height, width = covered.shape
    if (width, height) != size:
        turned = f", and is turned by its EXIF orientation {header.orientation}" if upright else ""
        raise DataError(
            f"{frame.where} has {size[0]}x{size[1]} pixels{turned}, its mask {frame.mask} {width}x{height}: they "
            "must be of "
            "one size"
        )
    return covered


def _means(covered: Pixels, factor: int) -> Pixels:
    if factor == 1:
        return covered
    height, width = covered.shape
    bands = [
        covered[first:last].astype(np.float64).reshape(-1, factor, width // factor, factor).mean((1, 3))
        for first, last in in_bands(height, width, factor)
    ]
    means: Pixels = np.round(np.concatenate(bands)).astype(np.uint8)
    return means


def _rows(
    frame: CaptureFrame,
    picture: Picture,
    covered: Pixels | None,
    settings: IngestConfig,
    reading: Reading,
    edges: EdgeColours | None,
) -> tuple[AlphaSource, Callable[[int, int], Pixels]]:
    """Where alpha is from, and what makes straight RGBA of some rows."""
    rgb, alpha = picture.rgb, picture.alpha
    is_shaped = alpha is not None and bool((alpha < 255).any())
    if covered is None and not settings.background and alpha is None:
        raise DataError(
            f"{frame.where} has no alpha: give RGBA images, masks (mask_path in the JSON, or --masks FOLDER), "
            "or the colour behind the object, such as --background white"
        )
    if covered is None and settings.background and not is_shaped:
        behind = parse_colour(settings.background)
        return "background", lambda first, last: key_rows(rgb, first, last, behind, settings.tolerance)
    if alpha is not None and is_shaped:
        if edges is not None:
            edges.add(rgb, alpha)
        if reading.premultiplied:
            rgb = unpremultiplied(rgb, alpha)
    if covered is not None:
        both = covered if alpha is None else np.minimum(alpha, covered)
        return "masks", lambda first, last: join(rgb[first:last], both[first:last])
    assert alpha is not None
    return "from the file", lambda first, last: join(rgb[first:last], alpha[first:last])
