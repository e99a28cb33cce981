"""Where hair grows on the head, drawn on the base shape (decimetres) in polar angles about the head's middle."""

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats, smoothstep
from blender_scripts.geometry.mesh import waves
from blender_scripts.hair.style import STYLES
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

HAIRLINE = (
    (0, 8.03), (18, 8.06), (32, 8.08), (44, 7.92), (52, 7.66), (62, 7.52), (70, 7.40), (78, 7.12), (88, 7.10),
    (94, 7.36), (108, 7.40), (118, 7.12), (128, 6.88), (150, 6.66), (180, 6.62),
)  # fmt: skip
"""Lower border of the scalp: degrees from the front about (0, 0.5) in x and z, height in decimetres."""


def scalp_field(spec: AvatarSpec, body: Body) -> Floats:
    """Signed height above the hairline at every vertex, in decimetres: above 0 hair grows."""
    rest, rng = body.topology.rest, generator_for(spec.seed, 0, "hairline")
    degrees = np.degrees(np.arctan2(np.abs(rest[:, 0]), rest[:, 2] - 0.5))
    angles, heights = np.asarray(HAIRLINE).T
    line = np.interp(degrees, angles, heights)
    # Lower on the forehead of women and children.
    manly = spec.gender * float(smoothstep(10, 18, np.asarray(spec.age_years)))
    line = line - (0.13 - 0.07 * manly) * np.exp(-((degrees / 50) ** 2))
    style = STYLES.get(spec.hair.style)
    loss = spec.hair.recession * (style.recedes if style is not None else 1.0)
    line = line + loss * (0.45 * np.exp(-(((degrees - 34) / 16) ** 2)) + 0.22 * np.exp(-((degrees / 22) ** 2)))
    # Only near the line does it matter how ragged it is.
    near = np.flatnonzero((np.abs(rest[:, 1] - line) < 0.5) & (rest[:, 1] > 6.3))
    line[near] += 0.03 * waves(rest[near], rng, np.full(3, 2.5)) + 0.03 * waves(rest[near], rng, np.full(3, 1.0))
    field = rest[:, 1] - line
    return np.where((body.topology.masks["ears"] > 0.35) | (rest[:, 1] < 6.4), -1.0, field)


def scalp_density(spec: AvatarSpec, body: Body) -> Floats:
    """How densely hair grows, 0..1: thinning at the hairline and, with age, at the crown."""
    style = STYLES.get(spec.hair.style)
    if style is None:
        # The shaved or lost hair's ring still shows as a faint shadow.
        return 0.10 * smoothstep(-0.05, 0.25, scalp_field(spec, body)) * (1 - spec.hair.grey)
    field, rest = scalp_field(spec, body), body.topology.rest
    if style.ring:
        # A ring above the ears, lowest in front: nothing above a line that rises to the back and dips again behind.
        ring = 7.90 - 0.12 * spec.hair.recession + 0.10 * (spec.hair.length - 0.5) - 0.22 * rest[:, 2]
        ring = ring + 0.03 * waves(rest, generator_for(spec.seed, 0, "balding ring"), np.full(3, 1.2))
        sides = smoothstep(0.16, -0.22, rest[:, 1] - ring) * smoothstep(1.05, 0.70, rest[:, 2])
        return np.asarray(smoothstep(-0.06, 0.30, field) * sides)
    crown = np.exp(-(((rest[:, 0] / 0.45) ** 2 + ((rest[:, 2] - 0.25) / 0.5) ** 2) / 2)) * smoothstep(
        8.0, 8.3, rest[:, 1]
    )
    thinning = np.clip(1.3 * spec.hair.recession - 0.35, 0, 0.85)
    return np.asarray(smoothstep(-0.06, style.edge, field) * (1 - thinning * crown))
