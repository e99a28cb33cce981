"""What a browser draws: planes and cells in eight bits, the decoder's weights in the blocks that the shader reads.

A plane's channel is ``offset + scale * level`` with a level from 0 to 255 (1); bilinear sampling commutes with that, so
a browser samples levels and scales what it has sampled. A cell's level says about how dense it is, in even steps of the
logarithm (2): 0 for a cell that is not occupied, 1 for one where nothing is known to be.

    channel = offset + scale * level, scale = (highest - lowest) / 255                        (1)
    density = DENSEST * (DENSEST / THINNEST) ** ((level - 255) / (255 - 2)) for levels from 2 on   (2)
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Levels = npt.NDArray[np.uint8]

HIGHEST: Final = 255
THINNEST: Final = 0.02
DENSEST: Final = 4000.0
"""Per world unit: a cell's length of 1/32 is transparent with the one and opaque with the other."""
MOST_BLOCK_BYTES: Final = 65536
"""Of a block of weights: what desktop browsers take. Every browser takes 16384."""
MOST_OCTAVES: Final = 4
"""Of the feature's embedding: a block each for the values, sines and cosines, and browsers take 12 blocks."""


@dataclass(frozen=True)
class LivePlanes:
    """Planes by equation (1)."""

    levels: Levels
    """uint8 (3, channel, side, side)."""
    scale: Floats
    """float32 (3, channel)."""
    offset: Floats
    """float32 (3, channel)."""

    def full(self) -> Floats:
        """The planes that they stand for, float32 (3, channel, side, side)."""
        return self.offset[..., None, None] + self.scale[..., None, None] * self.levels.astype(np.float32)


@dataclass(frozen=True)
class LiveCells:
    """Where there is matter, by equation (2)."""

    levels: Levels
    """uint8 (x, y, z)."""
    low: tuple[float, float, float]
    """World corner of the box around the occupied cells."""
    high: tuple[float, float, float]
    pieces: int
    """Into how many pieces a ray through that box is cut (:func:`rodin_models.field.march.count_pieces`)."""

    def density(self) -> Floats:
        """About how dense each cell is, per world unit; negative where it is not occupied."""
        return np.where(self.levels == 0, np.float32(-1), _density_of_level()[self.levels])


@dataclass(frozen=True)
class LiveDecoder:
    """A decoder's weights in blocks, as ``field.glsl`` reads them."""

    shape: Mapping[str, int]
    """``channels``, ``hidden`` and ``colour_hidden`` in fours, ``octaves``, ``direction_octaves``."""
    blocks: Mapping[str, Floats]
    """float32, flat, a multiple of four each."""


@dataclass(frozen=True)
class LiveField:
    """Everything that a picture depends on beside the camera."""

    planes: LivePlanes
    cells: LiveCells
    decoder: LiveDecoder
    samples: int
    """Samples of a ray in the sharpest picture."""


def live_planes(planes: npt.NDArray[Any]) -> LivePlanes:
    """Planes (3, channel, side, side) in eight bits a channel; one that is the same everywhere has scale 0."""
    values = planes.astype(np.float64)
    lowest, highest = values.min((2, 3), keepdims=True), values.max((2, 3), keepdims=True)
    scale = (highest - lowest) / HIGHEST
    levels = np.round((values - lowest) / np.where(scale > 0, scale, 1))
    return LivePlanes(
        levels.astype(np.uint8), scale[..., 0, 0].astype(np.float32), lowest[..., 0, 0].astype(np.float32)
    )


def live_cells(
    density: Floats, low: tuple[float, float, float], high: tuple[float, float, float], pieces: int
) -> LiveCells:
    """A grid's guess of density (x, y, z), negative where a cell is not occupied, in eight bits."""
    step = np.log(DENSEST / THINNEST) / (HIGHEST - 2)
    known = np.clip(density, THINNEST, DENSEST)
    levels = 2 + np.round(np.log(known / THINNEST) / step)
    levels = np.where(density < THINNEST, 1, levels)
    return LiveCells(np.where(density < 0, 0, levels).astype(np.uint8), low, high, pieces)


def live_decoder(weights: Mapping[str, Floats], *, channels: int, octaves: int, direction_octaves: int) -> LiveDecoder:
    """A decoder's tensors by their names in :class:`rodin_models.field.decoder.Decoder`, in blocks.

    Layers are padded with zeros to multiples of four, which changes nothing. Raises ``ValueError`` for a decoder that
    is larger than browsers take.
    """
    if octaves > MOST_OCTAVES:
        raise ValueError(f"its features are embedded in {octaves} octaves, a browser takes {MOST_OCTAVES}")
    trunk = _padded(weights["trunk.weight"].reshape(-1, 1 + 2 * octaves, channels), (0, 2))
    colour_feature = _padded(weights["colour_feature.weight"], (0, 1))
    blocks = {f"trunk{part}": _matrices(trunk[:, part], inputs_first=True) for part in range(trunk.shape[1])}
    blocks["colourFeature"] = _matrices(colour_feature, inputs_first=False)
    rest = (
        _padded(weights["trunk.bias"], (0,)),
        _padded(weights["density.weight"][0], (0,)),
        _padded(weights["colour_feature.bias"], (0,)),
        _padded(weights["colour_direction.weight"], (0,)).T,
        _padded(weights["colour.weight"], (1,)),
        np.append(weights["colour.bias"], weights["density.bias"]),
    )
    blocks["rest"] = np.concatenate([part.reshape(-1) for part in rest]).astype(np.float32)
    for name, block in blocks.items():
        if block.nbytes > MOST_BLOCK_BYTES:
            raise ValueError(f"its weights {name} take {block.nbytes} bytes, a browser takes {MOST_BLOCK_BYTES}")
    shape = {
        "channels": -(-channels // 4),
        "hidden": trunk.shape[0] // 4,
        "colour_hidden": colour_feature.shape[0] // 4,
        "octaves": octaves,
        "direction_octaves": direction_octaves,
    }
    return LiveDecoder(shape, blocks)


def packed(field: LiveField) -> tuple[dict[str, Any], bytes]:
    """A field as ``data.js`` reads it: what is needed to take the bytes apart, and the bytes, gzipped.

    In this order: each block of weights, scales and offsets of the planes as float32, little-endian; cells and planes,
    each byte as its difference to the one before, which takes a fifth off.
    """
    decoder, planes, cells = field.decoder, field.planes, field.cells
    floats = [*decoder.blocks.values(), planes.scale, planes.offset]
    parts = [part.astype("<f4").tobytes() for part in floats]
    parts += [np.diff(levels.reshape(-1), prepend=np.uint8(0)).tobytes() for levels in (cells.levels, planes.levels)]
    head = {
        "decoder": dict(decoder.shape),
        "blocks": {name: block.size for name, block in decoder.blocks.items()},
        "channels": planes.levels.shape[1],
        "side": planes.levels.shape[2],
        "cells": cells.levels.shape[0],
        "low": list(cells.low),
        "high": list(cells.high),
        "pieces": cells.pieces,
        "thinnest": THINNEST,
        "densest": DENSEST,
        "samples": field.samples,
    }
    # No time in the header: the same avatar is the same bytes.
    return head, gzip.compress(b"".join(parts), 9, mtime=0)


def _density_of_level() -> Floats:
    level = np.arange(HIGHEST + 1, dtype=np.float64)
    known = DENSEST * (DENSEST / THINNEST) ** ((level - HIGHEST) / (HIGHEST - 2))
    return np.where(level < 2, 0.0, known).astype(np.float32)


def _padded(array: npt.NDArray[Any], axes: tuple[int, ...]) -> Floats:
    """Zeros behind ``axes`` up to a multiple of four."""
    wanted = [(0, -size % 4 if axis in axes else 0) for axis, size in enumerate(array.shape)]
    return np.pad(array, wanted).astype(np.float32)


def _matrices(weight: Floats, *, inputs_first: bool) -> Floats:
    """A layer (output, input) as flat 4x4 matrices, column by column; the outer loop is over inputs or outputs."""
    outputs, inputs = weight.shape
    blocked = weight.reshape(outputs // 4, 4, inputs // 4, 4)
    axes = (2, 0, 3, 1) if inputs_first else (0, 2, 3, 1)
    return np.ascontiguousarray(blocked.transpose(axes)).reshape(-1)
