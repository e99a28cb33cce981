"""Named expressions as mixtures of MakeHuman's own (CC0) expression units, and how far the eyes are open.

Lids are not moved by fixed amounts: ages and ancestries differ in how open their eyes are, and a squint of one would
be the closed eye of another. ``lid_weights`` measures where the lids are and brings them to where they should be.
"""

import math
from dataclasses import dataclass
from typing import Final

from blender_scripts.geometry.arrays import Floats
from pipeline.contracts.avatar import AvatarSpec

Weights = dict[str, float]


@dataclass(frozen=True)
class Face:
    """One expression at full intensity."""

    units: dict[str, float]
    """Weights of ``targets/expression/units/ANCESTRY/NAME``; with " left" or " right", of one half of the face only."""
    open_left: float = 1.0
    """Gap between the lids over the neutral face's."""
    open_right: float = 1.0
    weary: float = 0.0
    """How baggy it makes the lower lids, 0..1."""


EXPRESSIONS: Final[dict[str, Face]] = {
    "neutral": Face({}),
    "faint smile": Face({"mouth-corner-puller": 0.38}, 0.97, 0.97),
    "smile": Face({"mouth-corner-puller": 0.85, "nose-left-elevation": 0.1, "nose-right-elevation": 0.1}, 0.84, 0.84),
    "grin": Face(
        {
            "mouth-corner-puller": 0.9,
            "mouth-parling": 0.4,
            "mouth-open": 0.09,
            "mouth-retraction": 0.35,
            "nose-left-elevation": 0.15,
            "nose-right-elevation": 0.15,
        },
        0.76,
        0.76,
    ),
    "laugh": Face(
        {
            "mouth-corner-puller": 0.95,
            "mouth-open": 0.26,
            "mouth-parling": 0.45,
            "eyebrows-left-up": 0.2,
            "eyebrows-right-up": 0.2,
        },
        0.6,
        0.6,
    ),
    "smirk": Face(
        {
            "mouth-corner-puller left": 0.9,
            "mouth-corner-puller right": 0.12,
            "mouth-compression": 0.15,
            "eyebrows-left-up": 0.35,
        },
        0.92,
        0.86,
    ),
    "sad": Face({"mouth-depression": 0.5, "eyebrows-left-inner-up": 0.75, "eyebrows-right-inner-up": 0.75}, 0.82, 0.82),
    "grieved": Face(
        {
            "mouth-depression": 0.6,
            "mouth-retraction": 0.3,
            "eyebrows-left-inner-up": 0.9,
            "eyebrows-right-inner-up": 0.9,
            "eyebrows-left-down": 0.25,
            "eyebrows-right-down": 0.25,
        },
        0.62,
        0.62,
    ),
    "angry": Face(
        {"mouth-compression": 0.4, "nose-compression": 0.25, "eyebrows-left-down": 0.85, "eyebrows-right-down": 0.85},
        0.82,
        0.82,
    ),
    "furious": Face(
        {
            "mouth-parling": 0.45,
            "mouth-open": 0.08,
            "nose-compression": 0.3,
            "eyebrows-left-down": 1.0,
            "eyebrows-right-down": 1.0,
            "nose-left-elevation": 0.4,
            "nose-right-elevation": 0.4,
        },
        0.85,
        0.85,
    ),
    "surprised": Face({"mouth-open": 0.28, "eyebrows-left-up": 0.95, "eyebrows-right-up": 0.95}, 1.26, 1.26),
    "amazed": Face({"mouth-open": 0.48, "eyebrows-left-up": 1.0, "eyebrows-right-up": 1.0}, 1.34, 1.34),
    "afraid": Face(
        {
            "mouth-open": 0.16,
            "mouth-retraction": 0.6,
            "mouth-parling": 0.3,
            "neck-platysma": 0.5,
            "eyebrows-left-inner-up": 0.95,
            "eyebrows-right-inner-up": 0.95,
            "eyebrows-left-up": 0.4,
            "eyebrows-right-up": 0.4,
        },
        1.28,
        1.28,
    ),
    "disgusted": Face(
        {
            "mouth-upward-retraction": 0.75,
            "mouth-depression": 0.3,
            "nose-compression": 0.5,
            "nose-left-elevation": 1.0,
            "nose-right-elevation": 1.0,
            "eyebrows-left-down": 0.6,
            "eyebrows-right-down": 0.6,
        },
        0.68,
        0.68,
    ),
    "contempt": Face(
        {
            "mouth-corner-puller right": 0.6,
            "mouth-compression": 0.35,
            "mouth-depression left": 0.25,
            "eyebrows-right-up": 0.5,
            "nose-right-elevation": 0.3,
        },
        0.72,
        0.78,
    ),
    "thoughtful": Face(
        {"mouth-compression": 0.3, "mouth-pursing": 0.15, "eyebrows-left-up": 0.35, "eyebrows-right-inner-up": 0.2},
        0.93,
        0.93,
    ),
    "sceptical": Face(
        {"mouth-pursing": 0.25, "mouth-compression": 0.15, "eyebrows-left-extern-up": 0.9, "eyebrows-right-down": 0.5},
        1.0,
        0.8,
    ),
    "worried": Face(
        {
            "mouth-compression": 0.2,
            "mouth-depression": 0.3,
            "eyebrows-left-inner-up": 0.9,
            "eyebrows-right-inner-up": 0.9,
        }
    ),
    "tired": Face(
        {"mouth-depression": 0.2, "eyebrows-left-inner-up": 0.25, "eyebrows-right-inner-up": 0.25}, 0.64, 0.64, 1.0
    ),
    "sleepy": Face({"mouth-open": 0.08, "eyebrows-left-up": 0.25, "eyebrows-right-up": 0.25}, 0.38, 0.38),
    "pout": Face(
        {
            "mouth-protusion": 0.35,
            "mouth-eversion": 0.15,
            "mouth-depression": 0.35,
            "mouth-compression": 0.4,
            "eyebrows-left-inner-up": 0.4,
            "eyebrows-right-inner-up": 0.4,
        },
        0.95,
        0.95,
    ),
    "kiss": Face({"mouth-pursing": 0.75, "mouth-compression": 0.45}, 0.75, 0.75),
    "wink": Face({"mouth-corner-puller": 0.6, "eyebrows-right-down": 0.3}, 0.95, 0.05),
    "squint": Face(
        {
            "mouth-corner-puller": 0.15,
            "eyebrows-left-down": 0.35,
            "eyebrows-right-down": 0.35,
            "nose-left-elevation": 0.2,
            "nose-right-elevation": 0.2,
        },
        0.55,
        0.55,
    ),
    "determined": Face(
        {
            "mouth-compression": 0.5,
            "eyebrows-left-down": 0.4,
            "eyebrows-right-down": 0.4,
            "nose-left-dilatation": 0.2,
            "nose-right-dilatation": 0.2,
        },
        0.9,
        0.9,
    ),
    "shout": Face(
        {
            "mouth-open": 0.7,
            "mouth-retraction": 0.25,
            "eyebrows-left-down": 0.55,
            "eyebrows-right-down": 0.55,
            "nose-left-dilatation": 0.3,
            "nose-right-dilatation": 0.3,
        },
        0.85,
        0.85,
    ),
    "pained": Face(
        {
            "mouth-retraction": 0.8,
            "mouth-parling": 0.7,
            "mouth-open": 0.05,
            "eyebrows-left-down": 0.6,
            "eyebrows-right-down": 0.6,
            "eyebrows-left-inner-up": 0.6,
            "eyebrows-right-inner-up": 0.6,
            "nose-left-elevation": 0.5,
            "nose-right-elevation": 0.5,
        },
        0.42,
        0.42,
    ),
}

LID_RIMS: Final = {"l": (6785, 6828), "r": (1, 44)}
"""Vertices of the base mesh in the middle of the upper and of the lower lid's edge."""
UPPER_LID, LOWER_LID = (0.33, 0.25, 0.40), (-0.42, -0.48, -0.35)
"""Height of the neutral lids' edges over the eye's centre, in radii of the eyeball: mean, lowest, highest. The upper
one covers the iris's rim, the lower one touches it."""
OWN_SHARE: Final = 0.4
"""Of how far a shape's lids are from the mean, what is kept: some eyes are wider than others."""
UPPER_FOLLOWS, LOWER_FOLLOWS = 0.75, 0.35
"""How far each lid goes with the pupil as it looks up or down."""
OPEN_DM, CLOSE_DM = 0.028, 0.102
"""How far one unit of a target moves the upper lid's edge, in decimetres, and nothing else."""
RAISE_DM, RAISE_UPPER_DM = 0.029, -0.038
"""How far a slit moves the lower and the upper edge."""
DROP_DM, DROP_UPPER_DM = -0.016, 0.010
"""How far ``eye-height3`` moves the lower and the upper edge."""


def mixture(spec: AvatarSpec) -> tuple[dict[str, float], float, float]:
    """Weights of the units, and how far the left and the right eye are open: both expressions together."""
    parts = [(spec.expression, spec.expression_intensity * (1 - spec.second_share))]
    if spec.second_expression is not None:
        parts.append((spec.second_expression, spec.expression_intensity * spec.second_share))
    units: dict[str, float] = {}
    left = right = 1.0
    for name, amount in parts:
        face = EXPRESSIONS[name]
        for unit, weight in face.units.items():
            units[unit] = min(1.0, units.get(unit, 0.0) + amount * weight)
        left += amount * (face.open_left - 1)
        right += amount * (face.open_right - 1)
    return units, left, right


def lid_weights(spec: AvatarSpec, base: Floats, side: str, eye: tuple[Floats, float], openness: float) -> Weights:
    """Targets that bring both lids' edges to where the gaze and an ``openness`` over the neutral one want them.

    ``base`` holds the base mesh in decimetres, shaped, with its expression but with lids as the shape left them;
    ``eye`` is the eyeball's centre and radius.
    """
    (centre, radius), word = eye, {"l": "left", "r": "right"}[side]
    upper, lower = (float(base[vertex, 1] - centre[1]) / radius for vertex in LID_RIMS[side])
    wanted_upper, wanted_lower = (_neutral(at, *lid) for at, lid in ((upper, UPPER_LID), (lower, LOWER_LID)))
    gap, pupil = wanted_upper - wanted_lower, math.sin(math.radians(spec.iris.gaze_deg[1]))
    # Eyes narrow with both lids and widen with the upper one.
    wanted_lower += max(0.0, 1 - openness) * 0.2 * gap
    wanted_upper = wanted_lower + openness * gap + (UPPER_FOLLOWS - LOWER_FOLLOWS) * pupil * min(1.0, openness)
    wanted_lower += LOWER_FOLLOWS * pupil
    wanted_upper += LOWER_FOLLOWS * pupil
    weights: Weights = {}
    down, up = (wanted_lower - lower) * radius, (wanted_upper - upper) * radius
    if down > 0:
        weights[f"unit/eye-{word}-slit"] = share = min(1.5, down / RAISE_DM)
        up -= share * RAISE_UPPER_DM
    else:
        weights[f"eyes/{side}-eye-height3-incr"] = share = min(1.5, down / DROP_DM)
        up -= share * DROP_UPPER_DM
    if up > 0:
        weights[f"unit/eye-{word}-opened-up"] = min(2.0, up / OPEN_DM)
    else:
        weights[f"unit/eye-{word}-closure"] = min(1.3, -up / CLOSE_DM)
    return weights


def _neutral(height: float, mean: float, lowest: float, highest: float) -> float:
    return min(highest, max(lowest, mean + OWN_SHARE * (height - mean)))
