"""The colour of hair, from melanin, redness and grey."""

import numpy as np

from blender_scripts.geometry.arrays import Floats, linear, smoothstep
from pipeline.contracts.avatar import AvatarSpec

STOPS = (0.0, 0.3, 0.55, 0.8, 1.0)
BROWN = ((0.80, 0.66, 0.44), (0.62, 0.46, 0.28), (0.36, 0.235, 0.145), (0.17, 0.105, 0.07), (0.06, 0.05, 0.045))
RED = ((0.84, 0.52, 0.28), (0.66, 0.32, 0.14), (0.46, 0.19, 0.09), (0.20, 0.09, 0.06), (0.06, 0.045, 0.042))
GREY = (0.76, 0.735, 0.70)


def pigment(spec: AvatarSpec) -> Floats:
    """Linear colour of the hairs that are not grey."""
    hair = spec.hair
    brown = [np.interp(hair.melanin, STOPS, linear(np.asarray(BROWN))[:, c]) for c in range(3)]
    red = [np.interp(hair.melanin, STOPS, linear(np.asarray(RED))[:, c]) for c in range(3)]
    share = 0.25 * hair.redness if hair.redness < 0.5 else 0.5 + 0.5 * hair.redness
    return (1 - share) * np.asarray(brown) + share * np.asarray(red)


def hair_colour(spec: AvatarSpec) -> Floats:
    """Linear mean colour, grey hairs included."""
    return (1 - spec.hair.grey) * pigment(spec) + spec.hair.grey * linear(np.asarray(GREY))


def strand_colours(
    spec: AvatarSpec, count: int, rng: np.random.Generator, grey: float | Floats | None = None
) -> Floats:
    """A colour for each of ``count`` strands: some grey, all slightly different."""
    share = np.reshape(spec.hair.grey if grey is None else grey, (-1, 1))
    base = pigment(spec) * np.exp(rng.normal(0, 0.16, (count, 1)))
    white = linear(np.asarray(GREY)) * np.exp(rng.normal(0, 0.16, (count, 1)))
    # Between black and white lies a mixture of hairs, each of which is only somewhat between.
    amount = smoothstep(-0.15, 0.15, share - rng.random((count, 1)) * 0.9 - 0.05)
    return np.asarray(np.clip((1 - amount) * base + amount * white, 0.001, 0.9))
