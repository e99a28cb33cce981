"""Arrays of numbers: their types, and what is done to them everywhere."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def smoothstep(low: float | Floats, high: float | Floats, value: Floats) -> Floats:
    """0 at ``low``, 1 at ``high`` (which may be the smaller), smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def linear(srgb: tuple[float, float, float] | Floats) -> Floats:
    """sRGB 0..1 to linear."""
    c = np.asarray(srgb, float)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def unit(vectors: Floats) -> Floats:
    """Scaled to length 1 along the last axis."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
