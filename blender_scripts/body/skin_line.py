"""Lines of the skin, finer than the mesh: a phase, at whose integers the shader draws them, and how deep they are.

Drawn on the base shape in decimetres, the same on both sides but for the noise that breaks them. Also that noise.
"""

from functools import cache
from typing import Final

import numpy as np

from blender_scripts.body.body import topology
from blender_scripts.body.relief import TROUGH, blob, moved
from blender_scripts.geometry.arrays import Floats, smoothstep
from blender_scripts.geometry.mesh import waves
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

BANK: Final = 5
FREQUENCIES: Final = {"broad": 1.5, "slow": 4.0, "blotch": 11.0, "speck": 26.0}
"""Of the stored noises, in cycles a decimetre."""


def lines(spec: AvatarSpec, rest: Floats) -> tuple[Floats, Floats]:
    """Two fields: the phase, at whose integers lines run, and how deep they are, 0..1."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    rng = generator_for(spec.seed, 0, "skin lines")
    slow, fast = noise(rng, "broad"), noise(rng, "slow")
    old, grown, face = spec.skin.wrinkles, float(smoothstep(11, 26, np.asarray(spec.age_years))), moved(spec)
    crow = np.hypot(x - 0.40, y - 7.28)
    late = float(smoothstep(0.45, 1.0, np.asarray(old)))
    spacing = rng.uniform(0.085, 0.115)
    front = z > 0.8
    kinds = (
        # Forehead.
        (
            (y + 0.012 * slow - 0.12 * x**2) / spacing,
            smoothstep(7.55, 7.66, y) * smoothstep(8.05, 7.92, y) * smoothstep(0.64, 0.40, x) * front,
            0.7 * old**1.3 + face.raised * grown * (0.25 + 0.6 * old),
        ),
        # Crow's feet.
        (
            np.arctan2(y - 7.28, x - 0.40) / 0.40 + 0.5 + 0.08 * slow,
            smoothstep(0.055, 0.10, crow) * smoothstep(0.30, 0.16, crow) * (x > 0.44) * (z > 0.6),
            0.8 * old**1.3 + face.smile * grown * (0.15 + 0.7 * old),
        ),
        # Between the brows.
        (
            x / 0.115 + 0.5 + 0.05 * slow,
            blob(rest, (0.055, 7.49, 1.55), (0.05, 0.06, 0.4)),
            0.55 * old + face.frown * grown * (0.4 + 0.6 * old),
        ),
        # Below the eyes.
        (
            (y - np.interp(x, *TROUGH) + 0.01 * slow) / 0.042,
            blob(rest, (0.32, 7.15, 1.4), (0.11, 0.05, 0.4)),
            0.5 * old,
        ),
        # Cheeks, upper lip and neck of the old.
        (
            (x + 0.35 * (6.75 - y) + 0.02 * slow) / 0.075,
            blob(rest, (0.47, 6.75, 1.2), (0.10, 0.20, 0.4)),
            0.55 * late,
        ),
        (
            rest[:, 0] / 0.055 + 0.3 * slow,
            smoothstep(0.24, 0.16, x) * smoothstep(6.69, 6.73, y) * smoothstep(6.85, 6.77, y) * (z > 1.2),
            0.5 * late,
        ),
        ((y + 0.03 * slow + 0.15 * x) / 0.17, smoothstep(6.15, 5.95, y) * smoothstep(0.6, 0.3, x), 0.55 * old),
    )
    weights = np.stack([weight * amount for _, weight, amount in kinds])
    phases = np.stack([phase for phase, _, _ in kinds])
    order = np.sort(weights, 0)
    # Nothing where two kinds meet: their phases do not fit together.
    depth = (order[-1] - order[-2]) * np.clip(0.68 + 0.42 * fast, 0.05, 1.2)
    return phases[weights.argmax(0), np.arange(len(rest))], np.clip(depth, 0, 1)


def noise(rng: np.random.Generator, frequency: str) -> Floats:
    """A smooth field of unit variance over the skin: a random mixture of stored ones of ``FREQUENCIES[frequency]``."""
    weights = rng.normal(size=BANK)
    return np.asarray(_bank(frequency) @ (weights / np.linalg.norm(weights)))


@cache
def _bank(frequency: str) -> Floats:
    rng, rest = generator_for(0, 0, f"{frequency} skin noise"), topology().rest
    cycles = np.full(3, FREQUENCIES[frequency] / np.sqrt(3))
    return np.stack([waves(rest, rng, cycles, 16) for _ in range(BANK)], -1)
