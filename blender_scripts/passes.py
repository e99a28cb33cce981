"""From the renderer's EXR to the files of a sample: straight sRGB RGBA and 16-bit z-depth."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import OpenEXR
from PIL import Image

from pipeline.contracts.conventions import DEPTH_LEVELS

MAX_DEPTH = 1e6
"""Cycles writes 1e10 where nothing was hit."""


class Passes(NamedTuple):
    """One frame, scene-linear."""

    rgba: npt.NDArray[np.float32]
    """(height, width, 4), RGB multiplied by alpha."""
    depth: npt.NDArray[np.float32]
    """(height, width): z of the first hit of the pixel's first sample, world units; infinite without one."""


def read_passes(path: Path) -> Passes:
    """Read the multilayer EXR that Blender wrote."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name.split(".", 1)[1]: channel.pixels for name, channel in file.channels().items()}
    rgba = np.stack([channels[f"Combined.{c}"] for c in "RGBA"], -1)
    z = channels.get("Depth.Z", channels.get("Depth.V"))
    assert z is not None, f"no depth pass among {sorted(channels)}"
    return Passes(rgba, np.where(z < MAX_DEPTH, z, np.inf).astype(np.float32))


def encode_rgba(rgba: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Premultiplied linear to straight 8-bit sRGB; RGB is 0 where alpha is 0. No tone mapping."""
    alpha = np.clip(rgba[..., 3:], 0, 1)
    straight = np.clip(rgba[..., :3] / np.maximum(alpha, 1e-6), 0, 1)
    srgb = np.where(straight <= 0.0031308, 12.92 * straight, 1.055 * straight ** (1 / 2.4) - 0.055)
    pixels = np.rint(255 * np.concatenate((srgb, alpha), -1)).astype(np.uint8)
    pixels[pixels[..., 3] == 0] = 0
    return np.asarray(pixels)


def encode_depth(depth: npt.NDArray[np.float32], alpha: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint16]:
    """World units to levels of ``scale``; 0 where there is no surface or alpha is 0."""
    seen = np.isfinite(depth) & (alpha > 0)
    levels = np.rint(np.where(seen, depth, 0) / scale)
    if levels.max() > DEPTH_LEVELS:
        raise ValueError(f"a depth of {depth[seen].max():.3f} world units needs more than 16 bits at {scale} a level")
    return np.asarray(levels.astype(np.uint16))


def write_png(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    """Write an 8-bit RGBA or 16-bit grey PNG, without any metadata."""
    Image.fromarray(pixels).save(path, format="PNG", compress_level=4)
