"""Captures understood: how their files are read, where each lies, and whether its photographs show that at all.

A capture is refused where its masks do not agree on one object, or one frame is far off what the others show, or
another reading of its files explains what this one does not. What is refused is told with the frame and what it may be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.capture.agreement import Agreement
from pipeline.capture.diagnosis import better_reading, explains_better, frame_trouble, score
from pipeline.capture.photograph import may_be_turned
from pipeline.capture.placement import agreement_within, find_cube, find_up, refuse_off_object
from pipeline.capture.prepare import PreparedCapture, prepare_capture
from pipeline.config.stages import IngestConfig
from pipeline.contracts.capture import CaptureWorld, Placement
from pipeline.contracts.errors import DataError
from pipeline.io.nerf_layout import Capture

LEAST_MEDIAN: Final = 0.8
"""Masks of sound captures agree to 0.96 and more in the median, with noisy poses and speckled masks too."""
MOST_UNEXPLAINED: Final = 0.1
"""The median of what of each mask no other one explains; of sound captures it is 0.03 at most."""
DOUBTFUL: Final = 0.99
"""Below, other readings are tried."""
FRAME_UNEXPLAINED: Final = 0.15
"""What of one mask others may leave unexplained more than of most masks: with poses off by a degree it is 0.08."""
FRAME_SHARE: Final = 0.85
"""And how little one frame may agree, of the median, with so much unexplained."""
SMALLEST_SHARE: Final = 0.05
"""Of several captures, none may fill less of the cube's side than this: they would be of different units."""


@dataclass(frozen=True)
class Understood:
    """Where a capture is put, and how well its photographs agree on that."""

    placement: Placement
    how: str
    """Where the cube is from."""
    agreement: Agreement


def prepare_understood(capture: Capture, settings: IngestConfig, on_frame: Callable[[], None]) -> PreparedCapture:
    """Prepare a capture; where EXIF turns images and nothing says whether cameras are of the turned ones, by what
    agrees.

    Raises ``DataError`` where that tells nothing, or for whatever else is wrong with it.
    """
    turned = [frame.where for frame in capture.frames if may_be_turned(frame, settings)]
    if not turned:
        return prepare_capture(capture, settings, on_frame)
    readings: list[PreparedCapture] = []
    errors: list[DataError] = []
    for upright in (False, True):
        try:
            readings.append(
                prepare_capture(capture, settings, (lambda: None) if upright else on_frame, upright=upright)
            )
        except DataError as error:
            errors.append(error)
    if not readings:
        raise errors[0]
    scores = [score(reading.sights) for reading in readings]
    best = int(np.argmax(scores))
    if len(readings) == 2 and not explains_better(scores[best], scores[1 - best]):
        raise DataError(
            f"{turned[0]}: its EXIF says to turn it, and neither w and h nor what the masks show (they agree to "
            f"{scores[0]:.2f} as stored, {scores[1]:.2f} turned) say whether its camera is of the turned picture: "
            "add --set "
            "ingest.exif=obey if it is, =ignore if it is not"
        )
    return readings[best]


def place_captures(prepared: Sequence[PreparedCapture], settings: IngestConfig) -> tuple[Understood, ...]:
    """Where each capture is put: as given, from the file, or estimated.

    Estimated cubes of one run are all as large as the largest, since a run has one unit. Raises ``DataError`` for what
    does not fit together, and for frames that do not show what the others show.
    """
    cubes: list[tuple[npt.NDArray[np.float64], float, str]] = []
    for item in prepared:
        world = item.capture.world
        if settings.centre:
            cubes.append((np.array(settings.centre), settings.half_side, "given"))
        elif world is not None:
            cubes.append((np.array(world.centre), world.half_side, "from the file"))
        else:
            cubes.append((*_find_cube(item), "estimated"))
    largest = max(half_side for _, half_side, _ in cubes)
    understood = []
    for item, (centre, half_side, how) in zip(prepared, cubes, strict=True):
        if half_side < SMALLEST_SHARE * largest:
            raise DataError(
                f"{item.capture.folder}: its cube has half side {half_side:.4g}, another's {largest:.4g}: "
                "captures of one run must be in one unit; give each a run of its own"
            )
        up = settings.up
        if up == "auto":
            world = item.capture.world
            cameras = [sight.camera for sight in item.sights]
            up = find_up(cameras, str(item.capture.folder)) if world is None else world.up
        is_whole = how == "estimated"
        placement = Placement(
            up=up,
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            half_side=largest if is_whole else half_side,
        )
        agreement = agreement_within(item.sights, centre, half_side, is_whole=is_whole)
        if is_whole:
            _refuse_disagreement(item, agreement)
        refuse_off_object(item.sights, placement, is_whole=is_whole)
        understood.append(Understood(placement, how, agreement))
    return tuple(understood)


def extent_m(prepared: Sequence[PreparedCapture], placements: Sequence[Placement], settings: IngestConfig) -> float:
    """Metres of the run's world unit; raises ``DataError`` where captures disagree on it."""
    extents = {_extent_m(item.capture.world, place, settings) for item, place in zip(prepared, placements, strict=True)}
    told = ", ".join(f"{extent:.4g}" for extent in sorted(extents))
    if max(extents) > 1.001 * min(extents):
        raise DataError(
            f"the captures' cubes are {told} m from centre to face, and "
            "a run has one unit: give --half-side, or each a run of its own"
        )
    return max(extents)


def pixels_across(prepared: Sequence[PreparedCapture], placements: Sequence[Placement]) -> float:
    """How many pixels the cube is wide where it stands, in the middle one of the photographs; of the finest capture.

    What planes can show of photographs goes by this and not by how large these are.
    """
    widths = []
    for item, place in zip(prepared, placements, strict=True):
        cameras = [place.place(sight.camera) for sight in item.sights]
        widths.append(np.median([2 * camera.fx / np.linalg.norm(camera.matrix()[:3, 3]) for camera in cameras]))
    return float(max(widths))


def _find_cube(item: PreparedCapture) -> tuple[npt.NDArray[np.float64], float]:
    try:
        return find_cube(item.sights, str(item.capture.folder))
    except DataError:
        told = better_reading(item.sights) if len(item.sights) > 1 else ""
        if not told:
            raise
        raise DataError(f"{item.sights[0].where}: cameras and masks do not show one object: {told}") from None


def _refuse_disagreement(item: PreparedCapture, agreement: Agreement) -> None:
    """Raise ``DataError`` for a capture whose masks do not show one object, or a frame that shows another."""
    worst = agreement.worst
    where, share = item.sights[worst].where, agreement.frames[worst]
    unexplained = float(np.median(agreement.unexplained))
    shown = f"masks agree to {agreement.median:.2f} in the median, this frame to {share:.2f}"
    told = better_reading(item.sights) if agreement.median < DOUBTFUL else ""
    if told:
        raise DataError(f"{where}: cameras and masks do not show one object ({shown}): {told}")
    if agreement.median < LEAST_MEDIAN or unexplained > MOST_UNEXPLAINED:
        raise DataError(
            f"{where}: cameras and masks do not show one object ({shown}; of the median mask, no other one explains "
            f"{unexplained:.0%}): {_whole_trouble(item)}; or give --centre and --half-side"
        )
    for number in np.argsort(agreement.frames):
        if (
            agreement.unexplained[number] > unexplained + FRAME_UNEXPLAINED
            and agreement.frames[number] < FRAME_SHARE * agreement.median
        ):
            trouble = frame_trouble(item.sights, agreement, int(number))
            raise DataError(
                f"{item.sights[number].where}: {agreement.unexplained[number]:.0%} of its mask is nothing that other "
                "frames "
                f"show there (it agrees to {agreement.frames[number]:.2f}, the median frame to "
                f"{agreement.median:.2f}): "
                f"{trouble}; mend it or take the frame out"
            )


def _whole_trouble(item: PreparedCapture) -> str:
    if item.alpha == "background":
        return (
            "what is behind the object may not be of one colour (uneven light, shadows), so that some of it stays: "
            "give "
            "masks, or more ingest.tolerance; or poses or intrinsics are wrong"
        )
    return "poses, intrinsics or masks are wrong, or of other pictures"


def _extent_m(world: CaptureWorld | None, placement: Placement, settings: IngestConfig) -> float:
    if settings.unit_m:
        return placement.half_side * settings.unit_m
    return placement.half_side * (world.extent_m / world.half_side if world is not None else 1.0)
