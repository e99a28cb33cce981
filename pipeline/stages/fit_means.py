"""How a shard is fitted on this machine: how many avatars at once, in which precision, compiled or not.

The settings ``fit.batch``, ``fit.precision`` and ``fit.compile``, seen from one device.
"""

from typing import Final

import torch

from pipeline.config import RunConfig
from pipeline.contracts.errors import ResourceError
from rodin_models.shading import CannotCompileError, Shading, probe_compile

MEMORY_SHARE: Final = 0.85
"""Of a GPU's free memory that fits may fill; the rest is for fragments and for measuring."""


def fit_shading(config: RunConfig, device: torch.device) -> Shading:
    """How the decoder is read; raises ``ResourceError`` where it should be compiled and cannot be."""
    on_gpu = device.type == "cuda"
    precision = config.fit.precision
    if precision == "auto":
        precision = "bfloat16" if on_gpu else "float32"
    if config.fit.compile:
        try:
            probe_compile(device)
        except CannotCompileError as error:
            raise ResourceError(
                f"fit.compile is true, but torch.compile does not work on {device} here: {error}; "
                f"install {'Triton' if on_gpu else 'a C++ compiler'} or set fit.compile=false"
            ) from error
    return Shading(getattr(torch, precision), config.fit.compile)


def avatars_at_once(config: RunConfig, device: torch.device) -> int:
    """``fit.batch``; 0 is one on a CPU or with a perceptual loss, on a GPU as many as its free memory holds."""
    if config.fit.perceptual_weight:
        return 1
    if config.fit.batch:
        return config.fit.batch
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return fitting_in(config, int(free * MEMORY_SHARE))


def fitting_in(config: RunConfig, memory: int) -> int:
    """The largest batch whose :func:`batch_bytes` are at most ``memory``, and at least 1; no more than a shard has."""
    each = batch_bytes(config, 2) - batch_bytes(config, 1)
    most = (memory - batch_bytes(config, 1)) // each + 1
    return min(max(1, most), config.render.shard_size)


def batch_bytes(config: RunConfig, batch: int) -> int:
    """Bytes that the tensors of a batch take at their most, in float32, every pixel showing the avatar."""
    fit, planes, decoder = config.fit, config.planes, config.decoder
    # The planes, two moments, their gradient's two parts, the rescaled ones and theirs, what smoothness keeps.
    tables = 10 * 3 * planes.resolution**2 * planes.channels * 4
    grids = fit.hull_resolution**3 * 10  # hull, occupied cells, density, and both in one while marching
    embedded = planes.channels * (1 + 2 * decoder.frequencies)
    widths = 6 * planes.channels + 2 * embedded + 4 * decoder.hidden + 4 * decoder.colour_hidden
    per_sample = 4 * (widths + 60)  # 60: corners, weights, positions, lengths
    per_ray = 2 * fit.hull_resolution * 80  # pieces of a cell along the cube's diagonal
    steps = fit.rays * (fit.samples * per_sample + per_ray)
    pixels = config.render.train_views * config.render.resolution**2
    photographs = pixels * 8  # colour and place
    preparing = pixels * 24  # photographs, depth, masks and their sums, one avatar at a time
    return batch * (tables + grids + steps + photographs) + preparing
