"""Folds that age and expression leave in skin, as displacement of the surface: wider than the mesh is fine.

Drawn on the base shape in decimetres (eyes at y 7.28, mouth at y 6.6, nose tip at (0, 6.95, 1.65)). Finer lines are in
``skin_line``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from blender_scripts.body.expression import EXPRESSIONS, mixture
from blender_scripts.geometry.arrays import Floats, smoothstep
from blender_scripts.geometry.mesh import waves
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

NASOLABIAL: Final = ((6.50, 6.60, 6.70, 6.80, 6.90, 6.98), (0.375, 0.365, 0.335, 0.285, 0.228, 0.190))
"""Heights and distances from the middle of the fold from the nose's wing around the mouth."""
MARIONETTE: Final = ((6.32, 6.42, 6.54), (0.325, 0.305, 0.280))
TROUGH: Final = ((0.16, 0.24, 0.33, 0.44), (7.195, 7.135, 7.105, 7.135))
"""Distances from the middle and heights of the furrow below the lower lid's bag."""


@dataclass(frozen=True)
class Moved:
    """How strongly the expression folds each part of the face, 0..1."""

    smile: float
    raised: float
    frown: float
    snarl: float
    weary: float


def moved(spec: AvatarSpec) -> Moved:
    """From the units of both expressions."""
    units, _, _ = mixture(spec)
    mixed = [EXPRESSIONS[name] for name in (spec.expression, spec.second_expression) if name is not None]

    def mean(*names: str) -> float:
        return float(np.mean([units.get(name, 0.0) for name in names]))

    brows = ("eyebrows-left", "eyebrows-right")
    lifted = mean(*(f"{brow}-up" for brow in brows)) + 0.5 * mean(*(f"{brow}-inner-up" for brow in brows))
    return Moved(
        smile=units.get("mouth-corner-puller", 0.0) + 0.5 * units.get("mouth-corner-puller left", 0.0),
        raised=min(1.0, lifted + 0.4 * mean(*(f"{brow}-extern-up" for brow in brows))),
        frown=mean(*(f"{brow}-down" for brow in brows)),
        snarl=mean("nose-left-elevation", "nose-right-elevation"),
        weary=max(face.weary for face in mixed),
    )


def blob(rest: Floats, centre: tuple[float, float, float], size: tuple[float, float, float]) -> Floats:
    """A Gaussian bump on the base shape, the same on both sides of the face."""
    offset = (np.abs(rest * (1, 0, 0)) + rest * (0, 1, 1) - np.asarray(centre)) / np.asarray(size)
    return np.asarray(np.exp(-0.5 * (offset**2).sum(1)))


def fold_height(spec: AvatarSpec, rest: Floats, lips: Floats) -> Floats:
    """(vertex,): metres by which the skin is moved along its normal."""
    x, y, front = np.abs(rest[:, 0]), rest[:, 1], smoothstep(0.75, 0.95, rest[:, 2])
    old, grown, face = spec.skin.wrinkles, float(smoothstep(11, 26, np.asarray(spec.age_years))), moved(spec)
    across = 0.9 * (x - np.interp(y, *NASOLABIAL))
    along = front * smoothstep(6.46, 6.60, y) * smoothstep(7.01, 6.93, y)
    fold = -1.0 * np.exp(-0.5 * (across / 0.024) ** 2) + 0.8 * np.exp(-0.5 * ((across - 0.075) / 0.055) ** 2)
    depth = grown * (0.10 + 0.75 * old + 0.5 * face.snarl) + face.smile * (0.15 + 0.3 * grown + 0.25 * old)
    height = min(1.15, depth) * 0.00115 * along * fold
    across = x - np.interp(y, *MARIONETTE)
    along = front * smoothstep(6.30, 6.38, y) * smoothstep(6.57, 6.50, y)
    fold = -1.0 * np.exp(-0.5 * (across / 0.02) ** 2) + 0.7 * np.exp(-0.5 * ((across - 0.06) / 0.045) ** 2)
    height = height + 0.0009 * old * along * fold
    across = y - np.interp(x, *TROUGH)
    along = front * smoothstep(0.13, 0.19, x) * smoothstep(0.50, 0.40, x)
    fold = -0.8 * np.exp(-0.5 * (across / 0.022) ** 2) + 0.9 * np.exp(-0.5 * ((across - 0.048) / 0.026) ** 2)
    height += 0.0009 * min(1.0, 0.14 * grown + 0.85 * old + 0.3 * face.weary) * along * fold
    rng = generator_for(spec.seed, 0, "lips")
    ridges = waves(rest, rng, np.array((22.0, 3.0, 0.5)), 10)
    return np.asarray(height + 0.00007 * (0.4 + 0.6 * grown + 0.8 * old) * smoothstep(0.5, 0.95, lips) * ridges)
