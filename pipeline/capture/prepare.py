"""A capture is read and checked whole: every image is opened, before anything of a run is written."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pipeline.capture.mask import Coverage, looks_inverted
from pipeline.capture.matte import EdgeColours
from pipeline.capture.photograph import AlphaSource, Reading, read_frame
from pipeline.capture.sight import Sight
from pipeline.config.stages import IngestConfig
from pipeline.contracts.errors import DataError
from pipeline.contracts.rendering import Split
from pipeline.io.nerf_layout import Capture, CaptureFrame

MOST_VIEWS: Final = 900
"""Of one split, as the configuration has it."""


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
    reading: Reading
    notes: tuple[str, ...] = ()
    """What was done to the images, and what of the capture was not used, in words."""

    def count(self, split: Split) -> int:
        """Frames of one split."""
        return sum(frame.split == split for frame in self.frames)


def prepare_capture(
    capture: Capture, settings: IngestConfig, on_frame: Callable[[], None], *, upright: bool = False
) -> PreparedCapture:
    """Look at all images of a capture; raises ``DataError`` with one line for whatever is wrong with one.

    ``upright`` turns images whose EXIF does so and whose cameras may be of either.
    """
    reading = Reading(upright=upright, premultiplied=settings.colour == "premultiplied")
    digest = hashlib.sha256()
    for path in capture.documents:
        digest.update(path.read_bytes())
    sights: list[Sight] = []
    sources: set[AlphaSource] = set()
    masks: list[Coverage] = []
    lost: list[float] = []
    edges = EdgeColours()
    size: tuple[int, int] | None = None
    holes, two_lengths, corner = False, False, ""
    for frame in capture.frames:
        photograph = read_frame(frame, settings, reading, edges)
        digest.update(photograph.sha256.encode())
        if size is not None and size != photograph.size:
            width, height = photograph.size
            raise DataError(
                f"{frame.where} has {width}x{height} pixels, {capture.frames[0].where} {size[0]}x{size[1]}: "
                "all images of a capture must be of one size"
            )
        size = photograph.size
        two_lengths = two_lengths or frame.intrinsics.says_two_focal_lengths(*size)
        alpha = photograph.rgba[..., 3]
        if not alpha.any():
            raise DataError(
                f"{frame.where} is empty: no pixel shows the object ({_empty_words(photograph.source, settings)}); "
                "take the frame out"
            )
        corner = corner or photograph.corner
        holes = holes or bool((alpha < 255).any())
        sources.add(photograph.source)
        masks += [photograph.mask] if photograph.mask is not None else []
        lost += [photograph.lost] if photograph.lost is not None else []
        sights.append(Sight.of_alpha(frame.where, photograph.camera, alpha))
        on_frame()
    if not holes:
        _refuse_solid(capture, sources, corner, settings)
    if settings.masks_show == "auto" and masks:
        _refuse_inverted(masks)
    if settings.colour == "auto" and edges.is_premultiplied:
        reading = replace(reading, premultiplied=True)
    for done in (reading.upright, reading.premultiplied and settings.colour == "auto"):
        digest.update(b"1" if done else b"")
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
        reading=reading,
        notes=_notes(capture, reading, lost, two_lengths=two_lengths),
    )


def _notes(capture: Capture, reading: Reading, lost: Sequence[float], *, two_lengths: bool) -> tuple[str, ...]:
    told = []
    if reading.upright:
        told.append("images turned by their EXIF")
    if reading.premultiplied:
        told.append("colour was premultiplied by alpha, and is no longer")
    if lost:
        models = sorted({f.intrinsics.distortion.model for f in capture.frames if f.intrinsics.distortion is not None})
        told.append(
            f"{len(lost)} images undistorted ({', '.join(models)}), by which {np.mean(lost):.1%} of the object's "
            "pixels fall "
            f"outside, of one image {max(lost):.1%} at most"
        )
    unused = [*capture.unused, *(["fields of view, which fl_x or fl_y contradict"] if two_lengths else [])]
    if unused:
        told.append(f"not used: {', '.join(unused)}")
    return tuple(told)


def _refuse_inverted(masks: Sequence[Coverage]) -> None:
    if looks_inverted(masks):
        worst = max(masks, key=lambda mask: mask.border)
        raise DataError(
            f"{worst.where}: its mask is white at {worst.border:.0%} of the picture's border and leaves the middle "
            "out, as most "
            "do: white seems to be what lies around the object; add --set ingest.masks_show=surroundings, or =object "
            "if "
            "it is the object"
        )


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
