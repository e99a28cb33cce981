"""The local parameters of a face.

Faces come from a few shared factors (breadth, length, jaw, nose, softness, eyes, mouth) plus small independent parts,
so that no two local targets fight each other; a face whose independent parts are together improbable is drawn again
(``MAX_ODDITY``).
"""

from typing import Final

import numpy as np

from pipeline.contracts.appearance import (
    FACE_AXES,
)
from pipeline.people.chance import ramp

MAX_ODDITY: Final = 1.28
"""Mean square of a face's independent parts, in units of their variance: above this it is drawn again (about 8 %)."""


FACE_NOISE: Final = 0.13


def draw_face(
    rng: np.random.Generator, male: bool, age: float, ancestry: tuple[float, float, float], weight: float
) -> tuple[tuple[str, float], ...]:
    """Local parameters: shared factors (breadth, length, jaw, nose, softness, eyes, mouth) plus small noise."""
    african, asian, caucasian = ancestry
    broad, long, jaw, nose, soft, eyes, mouth = rng.normal(0, 1, 7)
    old, child = ramp(age, 30, 80), ramp(age, 15, 6)
    # Boys and girls differ less than men and women.
    sex = (1.0 if male else -1.0) * (0.25 + 0.75 * ramp(age, 11, 18))
    mean = dict.fromkeys(FACE_AXES, 0.0) | {
        "chin/chin-bones": 0.12 * sex + 0.14 * jaw,
        "chin/chin-cleft": 0.08 * sex + 0.06 * jaw,
        "chin/chin-height": 0.10 * long + 0.05 * sex - 0.10 * child,
        "chin/chin-jaw-drop": 0.10 * jaw + 0.08 * old,
        "chin/chin-prominent": 0.14 * jaw + 0.06 * sex - 0.10 * child,
        "chin/chin-width": 0.16 * sex + 0.16 * jaw + 0.08 * broad - 0.05,
        "cheek/cheek-bones": 0.12 * asian - 0.14 * soft - 0.06 * sex,
        "cheek/cheek-inner": 0.12 * soft - 0.15 * old,
        "cheek/cheek-volume": 0.16 * soft + 0.5 * (weight - 0.5) - 0.15 * old + 0.15 * child,
        "ears/ear-lobe": 0.2 * old,
        "ears/ear-scale": 0.2 * old + 0.05 * sex,
        "ears/ear-wing": -0.12,
        "eyebrows/eyebrows-angle": 0.08 * eyes,
        "eyebrows/eyebrows-trans": -0.16 * sex - 0.1 * old,
        "eyes/eye-bag": 0.3 * old,
        "eyes/eye-corner1": 0.12 * asian - 0.15 * old + 0.10 * eyes,
        "eyes/eye-corner2": 0.06 * eyes,
        "eyes/eye-scale": -0.11 * sex - 0.08 * old + 0.10 * eyes + 0.14 * child,
        "eyes/eye-trans": 0.06 * broad,
        "forehead/forehead-nubian": -0.08 * sex + 0.06 * soft,
        "forehead/forehead-scale-vert": 0.08 * long,
        "forehead/forehead-temple": -0.06 * jaw + 0.06 * soft,
        "head/head": 0.22 * sex + 0.20 * jaw - 0.30,
        "head/head-age": 0.75 * old - 0.1,
        "head/head-fat": 0.15 * soft + 0.7 * (weight - 0.5) + 0.10 * child,
        "head/head-scale-horiz": 0.16 * broad - 0.10,
        "head/head-scale-vert": 0.14 * long - 0.05 * broad,
        "mouth/mouth-angles": 0.10 * mouth - 0.12 * old + 0.06,
        "mouth/mouth-cupidsbow": 0.12 * mouth - 0.06 * sex - 0.15 * old,
        "mouth/mouth-lowerlip-height": 0.10 * mouth - 0.15 * old,
        "mouth/mouth-lowerlip-volume": 0.06 * african - 0.3 * old + 0.10 * mouth - 0.10 * sex,
        "mouth/mouth-scale-horiz": 0.10 * broad + 0.05 * sex + 0.08,
        "mouth/mouth-upperlip-height": 0.10 * mouth - 0.15 * old,
        "mouth/mouth-upperlip-volume": 0.06 * african - 0.35 * old + 0.10 * mouth - 0.12 * sex,
        "neck/neck-scale-horiz": 0.16 * sex + 0.4 * (weight - 0.5) - 0.10,
        "nose/nose-base": 0.06 * nose - 0.08 * old,
        "nose/nose-curve": 0.14 * nose + 0.08 * sex - 0.10 * child,
        "nose/nose-flaring": 0.08 * broad,
        "nose/nose-hump": 0.12 * caucasian + 0.14 * nose + 0.06 * sex - 0.12 * child,
        "nose/nose-point": -0.2 * old - 0.10 * sex - 0.08 * nose,
        "nose/nose-point-width": 0.08 * broad + 0.06 * soft,
        "nose/nose-scale-depth": 0.14 * nose - 0.06 * asian - 0.12 * child,
        "nose/nose-scale-vert": 0.12 * long + 0.10 * nose + 0.1 * old - 0.10 * child,
        "nose/nose-volume": 0.10 * nose + 0.06 * sex - 0.10 * child,
        "nose/nose-width1": 0.06 * broad,
        "nose/nose-width2": 0.10 * broad + 0.04 * african + 0.04 * sex,
        "nose/nose-width3": 0.10 * broad + 0.08 * nose + 0.04 * african + 0.08 * sex,
    }
    noise = rng.normal(0, 1, len(mean))
    while (noise**2).mean() > MAX_ODDITY:
        noise = rng.normal(0, 1, len(mean))
    noise *= FACE_NOISE
    return tuple((name, float(np.clip(m + e, -0.75, 0.75))) for (name, m), e in zip(mean.items(), noise, strict=True))
