"""What may be wrong with a capture whose photographs do not show one thing: other readings of it are tried.

Matrices the other way round or of other axes, pictures that are turned or mirrored, intrinsics of another size: where
the masks agree under one of them, and did not before, that is what it is. Nothing is mended here, it is only told.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.capture.agreement import Agreement
from pipeline.capture.placement import agreement_within, find_cube
from pipeline.capture.sight import Sight
from pipeline.contracts.camera import Array, Camera, swap_opengl
from pipeline.contracts.errors import DataError

Mask = npt.NDArray[np.bool_]

SURE: Final = 0.97
"""Masks that agree so well under another reading speak for it."""
FEWER: Final = 0.3
"""If what they disagree on is so much less than before."""
PLAINLY: Final = 0.02
"""And by no less: noise moves figures, and what is symmetric agrees with itself turned."""
_MOST_VIEWS: Final = 24


def score(sights: Sequence[Sight]) -> float:
    """Median agreement, the cube being found anew; 0 where none is found."""
    try:
        centre, half_side = find_cube(sights, "")
    except DataError:
        return 0.0
    return agreement_within(sights, centre, half_side, is_whole=True).median


def better_reading(sights: Sequence[Sight]) -> str:
    """What the capture shows one thing under, in words that end with what to do; empty where nothing explains it."""
    count = min(len(sights), _MOST_VIEWS)
    few = [sights[i] for i in np.linspace(0, len(sights) - 1, count).round().astype(int)]
    now = score(few)
    found = [(score(changed), told) for told, changed in _readings(few)]
    best, told = max(found, key=lambda pair: pair[0])
    return f"{told} (masks then agree to {best:.2f})" if explains_better(best, now) else ""


def explains_better(this: float, other: float) -> bool:
    """Whether one median agreement is that of a sound capture where another one is not."""
    return this >= max(SURE, other + PLAINLY) and 1 - this <= FEWER * (1 - other)


def frame_trouble(sights: Sequence[Sight], agreement: Agreement, number: int) -> str:
    """What may be wrong with one frame among sound ones, in words."""
    mask = sights[number].mask
    border = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])).mean()
    if mask.mean() > 0.99:
        return "every pixel of it is opaque"
    if border > 0.8:
        return "its mask or alpha is inverted, or what is behind the object was taken for it"
    others = [sight for i, sight in enumerate(sights) if i != number]
    for told, turn in _TURNS:
        changed = replace(sights[number], mask=turn(mask))
        centre, half_side = find_cube(others, "")
        again = agreement_within([*others, changed], centre, half_side, is_whole=True)
        if explains_better(again.frames[-1], agreement.frames[number]):
            return f"the picture is {told}"
    if agreement.unexplained[number] > 0.5:
        return "its pose, or its image or mask, is of something else"
    return "its pose, its intrinsics or its mask is wrong, or something else is in its mask"


_TURNS: Final[tuple[tuple[str, Callable[[Mask], Mask]], ...]] = (
    ("turned upside down", lambda mask: mask[::-1, ::-1]),
    ("mirrored left to right", lambda mask: mask[:, ::-1]),
    ("mirrored top to bottom", lambda mask: mask[::-1]),
)


def _readings(sights: Sequence[Sight]) -> Iterator[tuple[str, list[Sight]]]:
    """Other readings of a capture, with what would then have to be done."""

    def of_matrices(change: Callable[[Array], Array]) -> list[Sight]:
        return [replace(sight, camera=_with_matrix(sight.camera, change(sight.camera.matrix()))) for sight in sights]

    yield (
        "the matrices may be OpenCV's (y down, z forward); this layout has OpenGL's: negate their columns 1 and 2",
        of_matrices(swap_opengl),
    )
    yield (
        "the matrices are world to camera, this layout has camera to world: invert them",
        of_matrices(lambda matrix: swap_opengl(np.linalg.inv(swap_opengl(matrix)))),
    )
    yield (
        "the matrices are world to camera and OpenCV's, this layout has camera to world and OpenGL's: invert them, "
        "then "
        "negate their columns 1 and 2",
        of_matrices(lambda matrix: np.linalg.inv(swap_opengl(matrix))),
    )
    for told, turn in _TURNS:
        yield f"the pictures are {told}: turn them back", [replace(sight, mask=turn(sight.mask)) for sight in sights]
    camera = sights[0].camera
    ratio = 2 * camera.cx / camera.width
    if abs(ratio - 1) > 0.1 and abs(2 * camera.cy / camera.height - ratio) < 0.1 * ratio:
        told = (
            f"intrinsics (cx {camera.cx:g}, cy {camera.cy:g}) are of pictures {ratio:.3g} times as large as these, "
            "which "
            f"have {camera.width}x{camera.height} pixels: give fl_x, fl_y, cx, cy of these, or those pictures"
        )
        yield told, [replace(sight, camera=_scaled(sight.camera, 1 / ratio)) for sight in sights]


def _with_matrix(camera: Camera, matrix: Array) -> Camera:
    left, _, right = np.linalg.svd(matrix[:3, :3])
    rigid = matrix.copy()
    rigid[:3, :3] = left @ right
    rigid[3] = 0, 0, 0, 1
    return Camera.of_matrix(rigid, **camera.model_dump(exclude={"cam2world"}))


def _scaled(camera: Camera, scale: float) -> Camera:
    names = ("fx", "fy", "cx", "cy")
    return camera.model_copy(update={name: getattr(camera, name) * scale for name in names})
