"""A capture is read and checked whole: every image is opened, before anything of a run is written."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pipeline.capture.matte import join, key_background, parse_colour, shrink
from pipeline.capture.sight import Sight
from pipeline.config.stages import IngestConfig
from pipeline.contracts.errors import DataError
from pipeline.contracts.rendering import Split
from pipeline.images import decode_photograph
from pipeline.io.nerf_layout import Capture, CaptureFrame

MOST_VIEWS: Final = 900
"""Of one split, as the configuration has it."""
SMALLEST_SIDE: Final = 16
AlphaSource = Literal["from the file", "masks", "background"]


@dataclass(frozen=True)
class PreparedCapture:
    """A capture of which every image has been seen."""

    capture: Capture
    frames: tuple[CaptureFrame, ...]
    """Training frames first, splits as they will be published."""
    sights: tuple[Sight, ...]
    """In the same order."""
    sha256: str
    alpha: AlphaSource
    split_by_share: bool

    def count(self, split: Split) -> int:
        """Frames of one split."""
        return sum(frame.split == split for frame in self.frames)


def prepare_capture(capture: Capture, settings: IngestConfig, on_frame: Callable[[], None]) -> PreparedCapture:
    """Look at all images of a capture; raises ``DataError`` with one line for whatever is wrong with one."""
    digest = hashlib.sha256()
    for path in capture.documents:
        digest.update(path.read_bytes())
    sights: list[Sight] = []
    sources: set[AlphaSource] = set()
    size: tuple[int, int] | None = None
    holes, corner = False, ""
    for frame in capture.frames:
        rgba, source, data_sha256 = read_frame(frame, settings)
        digest.update(data_sha256.encode())
        height, width = rgba.shape[:2]
        if size is not None and size != (width, height):
            raise DataError(
                f"{frame.where} has {width}x{height} pixels, {capture.frames[0].where} {size[0]}x{size[1]}: "
                "all images of a capture must be of one size"
            )
        size = width, height
        if min(size) < SMALLEST_SIDE * settings.downscale or width % settings.downscale or height % settings.downscale:
            raise DataError(
                f"{frame.where} has {width}x{height} pixels: made {settings.downscale} times smaller "
                f"(ingest.downscale), both sides must be whole and at least {SMALLEST_SIDE}"
            )
        if not (rgba[..., 3] > 0).any():
            raise DataError(
                f"{frame.where} is empty: no pixel shows the object ({_empty_words(source, settings)}); "
                "take the frame out"
            )
        corner = corner or "#" + "".join(f"{level:02x}" for level in rgba[0, 0, :3])
        holes = holes or bool((rgba[..., 3] < 255).any())
        sources.add(source)
        camera = frame.intrinsics.camera(frame.cam2world, width, height)
        small = camera.resized(width // settings.downscale, height // settings.downscale)
        sights.append(Sight.of_alpha(frame.where, small, shrink(rgba, settings.downscale)[..., 3]))
        on_frame()
    if not holes:
        _refuse_solid(capture, sources, corner, settings)
    frames, by_share = _split(capture, settings)
    ordered = sorted(zip(frames, sights, strict=True), key=lambda pair: pair[0].split != "train")
    worst = max(sources, key=("from the file", "masks", "background").index)
    return PreparedCapture(
        capture=capture,
        frames=tuple(frame for frame, _ in ordered),
        sights=tuple(sight for _, sight in ordered),
        sha256=digest.hexdigest(),
        alpha=worst,
        split_by_share=by_share,
    )


def read_frame(frame: CaptureFrame, settings: IngestConfig) -> tuple[npt.NDArray[np.uint8], AlphaSource, str]:
    """Straight RGBA at the file's size, where its alpha is from, and a hash of what was read.

    Raises ``DataError`` for an image that cannot be read, or has neither alpha, mask nor a background's colour.
    """
    data = frame.image.read_bytes()
    rgb, alpha = decode_photograph(data, name=frame.where)
    sha256 = hashlib.sha256(data).hexdigest()
    if frame.mask is not None:
        mask_data = frame.mask.read_bytes()
        mask, _ = decode_photograph(mask_data, name=f"{frame.where}: mask {frame.mask.name}")
        if mask.shape != rgb.shape:
            raise DataError(
                f"{frame.where} has {rgb.shape[1]}x{rgb.shape[0]} pixels, its mask {frame.mask} "
                f"{mask.shape[1]}x{mask.shape[0]}: they must be of one size"
            )
        covered = mask.max(-1)
        # A mask kept as JPEG is neither quite black nor quite white.
        covered = np.where(covered <= settings.tolerance, 0, covered)
        covered = np.where(covered >= 255 - settings.tolerance, 255, covered).astype(np.uint8)
        alpha = covered if alpha is None else np.minimum(alpha, covered)
        return join(rgb, alpha), "masks", sha256 + hashlib.sha256(mask_data).hexdigest()
    if alpha is not None and ((alpha < 255).any() or not settings.background):
        return join(rgb, alpha), "from the file", sha256
    if not settings.background:
        raise DataError(
            f"{frame.where} has no alpha: give RGBA images, masks (mask_path in the JSON, or --masks FOLDER), "
            "or the colour behind the object, such as --background white"
        )
    return key_background(rgb, parse_colour(settings.background), settings.tolerance), "background", sha256


def _split(capture: Capture, settings: IngestConfig) -> tuple[tuple[CaptureFrame, ...], bool]:
    """Frames with their splits, in the file's order, and whether a share was held out."""
    frames = list(capture.frames)
    by_share = all(frame.split == "train" for frame in frames)
    if by_share:
        if len(frames) < 2:
            raise DataError(f"{frames[0].where} is the only frame: one to fit and one to hold out are the least")
        count = min(len(frames) - 1, max(1, round(settings.held_out_share * len(frames))))
        # In the middle of equal runs of frames, so that they are spread along a path of cameras.
        for place in range(count):
            index = int((place + 0.5) * len(frames) / count)
            frames[index] = replace(frames[index], split="held_out")
    for split in ("train", "held_out"):
        number = sum(frame.split == split for frame in frames)
        if number > MOST_VIEWS or len(frames) > 999:
            raise DataError(
                f"{capture.folder} has {len(frames)} frames, {number} of split {split}: at most {MOST_VIEWS} of a "
                "split and 999 in all can be taken; thin them out"
            )
    return tuple(frames), by_share


def _refuse_solid(capture: Capture, sources: set[AlphaSource], corner: str, settings: IngestConfig) -> None:
    if "background" in sources:
        raise DataError(
            f"{capture.folder}: no pixel of any frame is within {settings.tolerance} levels of the background "
            f"{settings.background}; the first image's first pixel is {corner}: give its colour, or masks"
        )
    raise DataError(
        f"{capture.folder}: every pixel of every image is opaque, so alpha says nothing of the object: give masks "
        "(mask_path in the JSON, or --masks FOLDER), or the colour behind it, such as --background white"
    )


def _empty_words(source: AlphaSource, settings: IngestConfig) -> str:
    if source == "background":
        return f"all are within {settings.tolerance} levels of the background {settings.background}"
    return "its mask is black" if source == "masks" else "alpha is 0 everywhere"
