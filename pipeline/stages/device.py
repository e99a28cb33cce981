"""Records to tensors: what the stages that use torch share when they read renders and planes."""

import os

import torch

from pipeline.config.run import RunConfig
from pipeline.config.sampling import Sampling
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.randomness import seed_for
from pipeline.machine import available_to_this_process
from pipeline.run.memory_check import require_memory


def choose_device(config: RunConfig | Sampling) -> torch.device:
    """``device``: auto takes CUDA where there is one; asking for CUDA where there is none is an error."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device = 'cuda', but torch sees no CUDA device here; use device = 'auto' or 'cpu'")
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def uses_bfloat16(config: RunConfig, device: torch.device) -> bool:
    """Whether networks are trained in bfloat16 on a device (``train.precision``)."""
    if config.train.precision != "auto":
        return config.train.precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def check_memory(stage: str, config: RunConfig, device: torch.device) -> None:
    """Raise ``ResourceError``, before any work, unless a stage's process fits into what is left of the memory."""
    where = "on the GPU" if device.type == "cuda" else "here"
    require_memory(stage, config, available_to_this_process(device), where=where)


def use_threads(threads: int) -> None:
    """Set torch's thread count, 0 for as many as this process has cores: the bytes of a CPU fit depend on it."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def seeded(config: RunConfig | Sampling, index: int, purpose: str, device: torch.device) -> torch.Generator:
    """A torch generator on ``device`` for (run seed, index, purpose)."""
    return torch.Generator(device).manual_seed(seed_for(config.seed, index, purpose))
