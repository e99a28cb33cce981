"""A person before any background, once the face is found: GrabCut (Rother et al. 2004) from where people are around it.

All of it is in units of the face's box: its centre is (0, 0), its side 1, u to the right, v down. What surely belongs
to the person (face, neck, chest), what surely does not (above and beside the head), and what may (hair, shoulders) is
said in those units; GrabCut decides by colour, and a guided filter (He et al. 2010) softens its edge along the
picture's. Below, the figure ends where the bust of a rendered person ends.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

ROUNDS: Final = 6
"""Of GrabCut."""
CUT_SIDE: Final = 256
"""Pixels of a side of the picture that it sees; its time grows faster than their number."""
BUST_MIDDLE, BUST_WIDTH, BUST_HEIGHT = 0.76, 1.24, 0.775
"""The lower half of a superellipse of power 4, its middle's v, half its width and its height: measured on renders."""


def person_alpha(rgb: Pixels, centre: tuple[float, float], side: float, is_inside: npt.NDArray[np.bool_]) -> Pixels:
    """Alpha (height, width) of the person in ``rgb`` (height, width, 3) whose face's box is there, in pixels.

    Where ``is_inside`` is false there is no picture, and so no person.
    """
    import cv2

    height, width = rgb.shape[:2]
    scale = min(1.0, CUT_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    u, v = _face_units(size[1], size[0], (centre[0] * scale, centre[1] * scale), side * scale)
    marks = np.where(_may_be_person(u, v), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[_is_person(u, v)] = cv2.GC_FGD
    inside = cv2.resize(is_inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    marks[_is_background(u, v) | (inside == 0)] = cv2.GC_BGD
    # Its clusters start at random.
    cv2.setRNGSeed(0)
    empty = np.zeros((1, 65)), np.zeros((1, 65))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    cv2.grabCut(small, marks, None, *empty, ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = _without_islands((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD), round(side * scale / 14))
    person = cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR)
    soft = _guided(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, person, round(side / 24))
    alpha = np.clip((soft - 0.1) / 0.8, 0, 1) * bust(*_face_units(height, width, centre, side), side) * is_inside
    return np.asarray(np.round(alpha * 255), np.uint8)


def bust(u: Floats, v: Floats, side: float) -> Floats:
    """1 within the bust that renders show, 0 below, softened over two pixels; ``side`` is the face's in pixels."""
    down = np.maximum(v - BUST_MIDDLE, 0) / BUST_HEIGHT
    radius = (np.abs(u / BUST_WIDTH) ** 4 + down**4) ** 0.25
    edge = np.clip(0.5 + (1 - radius) * BUST_HEIGHT * side / 2, 0, 1)
    return np.where(v > BUST_MIDDLE - 0.4, edge, np.float32(1)).astype(np.float32)


def _face_units(height: int, width: int, centre: tuple[float, float], side: float) -> tuple[Floats, Floats]:
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return ((columns - centre[0]) / side).astype(np.float32), ((rows - centre[1]) / side).astype(np.float32)


def _is_person(u: Floats, v: Floats) -> npt.NDArray[np.bool_]:
    face = (u / 0.32) ** 2 + ((v + 0.04) / 0.5) ** 2 < 1
    neck = (np.abs(u) < 0.17) & (v > 0.4) & (v < 1.0)
    chest = (np.abs(u) < 0.35) & (v > 1.0) & (v < 1.45)
    return face | neck | chest


def _may_be_person(u: Floats, v: Floats) -> npt.NDArray[np.bool_]:
    head = (u / 0.58) ** 2 + ((v + 0.05) / 0.78) ** 2 < 1
    shoulders = (v > 0.72 + 0.4 * u**2) & (np.abs(u) < 1.3)
    return head | shoulders


def _is_background(u: Floats, v: Floats) -> npt.NDArray[np.bool_]:
    return (v < -1.3) | ((np.abs(u) > 0.95) & (v < 0.35))


def _without_islands(mask: npt.NDArray[np.bool_], reach: int) -> Floats:
    """The largest part of a mask, its holes filled, without what is thinner than twice ``reach``."""
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    thick = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc)
    filled = np.zeros(mask.shape, np.uint8)
    outlines, _ = cv2.findContours(thick, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(np.float32)


def _guided(guide: Floats, mask: Floats, reach: int, smoothness: float = 1e-3) -> Any:
    """Guided filter: the mask as a linear function of the guide in each window."""
    import cv2

    size = (2 * max(reach, 1) + 1,) * 2

    def mean(values: Floats) -> Any:
        return cv2.boxFilter(values, -1, size)

    of_guide, of_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - of_guide * of_mask) / (mean(guide * guide) - of_guide**2 + smoothness)
    return np.clip(mean(slope) * guide + mean(of_mask - slope * of_guide), 0, 1)
