"""From the renderer's EXR to the images of a sample: straight sRGB RGBA, 16-bit z-depth, normals, class ids."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import OpenEXR
from PIL import Image

from blender_scripts.scene.camera import from_blender
from blender_scripts.scene.segmentation import pass_name
from pipeline.contracts.camera import Camera
from pipeline.contracts.conventions import DEPTH_LEVELS, KNEE, SEGMENTATION_CLASSES

PNG_LEVEL = 4
"""Of zlib: higher ones take longer than they save."""
MAX_DEPTH = 1e6
"""Cycles writes 1e10 where nothing was hit."""


class Passes(NamedTuple):
    """One frame, scene-linear."""

    rgba: npt.NDArray[np.float32]
    """(height, width, 4), RGB multiplied by alpha."""
    depth: npt.NDArray[np.float32]
    """(height, width): z of the first hit of the pixel's first sample, world units; infinite without one."""
    normal: npt.NDArray[np.float32] | None = None
    """(height, width, 3): mean shading normal in the world's axes, shorter than 1 at edges."""
    coverage: npt.NDArray[np.float32] | None = None
    """(height, width, class without background): share of the pixel's samples that met each class first."""


def read_passes(path: Path) -> Passes:
    """Read the multilayer EXR that Blender wrote."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name.split(".", 1)[1]: channel.pixels for name, channel in file.channels().items()}
    rgba = np.stack([channels[f"Combined.{c}"] for c in "RGBA"], -1)
    z = channels.get("Depth.Z", channels.get("Depth.V"))
    assert z is not None, f"no depth pass among {sorted(channels)}"
    normal = coverage = None
    if "Normal.X" in channels:
        normal = from_blender(np.stack([channels[f"Normal.{axis}"] for axis in "XYZ"], -1)).astype(np.float32)
    classes = [pass_name(name) for name in SEGMENTATION_CLASSES[1:]]
    if f"{classes[0]}.X" in channels:
        coverage = np.stack([channels[f"{name}.X"] for name in classes], -1)
    return Passes(rgba, np.where(z < MAX_DEPTH, z, np.inf).astype(np.float32), normal, coverage)


def encode_rgba(rgba: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Premultiplied linear to straight 8-bit colour (``conventions.COLOUR_TRANSFORM``); RGB is 0 where alpha is 0."""
    levels = np.rint(255 * np.clip(rgba[..., 3], 0, 1)).astype(np.uint8)
    seen = levels > 0
    straight = np.maximum(rgba[seen, :3] / np.clip(rgba[seen, 3:], 1e-6, 1), 0)
    bright = KNEE + (1 - KNEE) * (1 - np.exp(-np.maximum(straight - KNEE, 0) / (1 - KNEE)))
    straight = np.where(straight > KNEE, bright, straight)
    srgb = np.where(straight <= 0.0031308, 12.92 * straight, 1.055 * straight ** (1 / 2.4) - 0.055)
    pixels = np.zeros(rgba.shape, np.uint8)
    pixels[seen, :3] = np.rint(255 * srgb)
    pixels[..., 3] = levels
    return pixels


def encode_depth(depth: npt.NDArray[np.float32], alpha: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint16]:
    """World units to levels of ``scale``; 0 where there is no surface or alpha is 0."""
    seen = np.isfinite(depth) & (alpha > 0)
    levels = np.rint(np.where(seen, depth, 0) / scale)
    if levels.max() > DEPTH_LEVELS:
        raise ValueError(f"a depth of {depth[seen].max():.3f} world units needs more than 16 bits at {scale} a level")
    return np.asarray(levels.astype(np.uint16))


def encode_normal(
    normal_world: npt.NDArray[np.float32], camera: Camera, alpha: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """World-space normals to camera-space RGB (``conventions.NORMAL_ENCODING``); 0 where alpha is 0."""
    seen = camera.matrix()[:3, :3].astype(np.float32)
    vectors = normal_world @ seen
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    levels = np.rint(127.5 * (vectors / np.maximum(lengths, 1e-6) + 1))
    return np.where((alpha[..., None] > 0) & (lengths > 1e-3), levels, 0).astype(np.uint8)


def encode_png(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """An 8-bit RGBA, RGB or grey, or a 16-bit grey PNG, without any metadata."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()
