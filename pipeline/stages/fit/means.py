"""How a shard is fitted on this machine: how many avatars at once, in which precision, compiled, fused or not.

The settings ``fit.batch``, ``fit.precision``, ``fit.compile`` and ``fit.fused``, seen from one device.
"""

import bisect
from typing import Final

import torch

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import ResourceError
from pipeline.run.memory import fit_bytes
from rodin_models.fit.shading import CannotCompileError, NoKernelsError, Shading, probe_compile, probe_kernels

MEMORY_SHARE: Final = 0.85
"""Of a GPU's free memory that fits may fill; the rest is for fragments and for measuring."""


def fit_shading(config: RunConfig, device: torch.device) -> Shading:
    """How planes and decoder are read; raises ``ResourceError`` where that was asked otherwise than it can be."""
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
    if config.fit.fused:
        try:
            probe_kernels(device)
        except NoKernelsError as error:
            raise ResourceError(
                f"fit.fused is true, but the fused kernels do not work on {device} here: {error}; "
                f"{'install Triton or ' if on_gpu else ''}set fit.fused=false"
            ) from error
    return Shading(getattr(torch, precision), config.fit.compile, config.fit.fused)


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
    """Largest batch whose :func:`pipeline.run.memory.fit_bytes` are at most ``memory``, from 1 to a shard's avatars."""
    sizes = range(1, config.render.shard_size + 1)
    return max(1, bisect.bisect_right(sizes, memory, key=lambda size: fit_bytes(config, batch=size)))
