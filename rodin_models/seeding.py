"""Randomness that is always asked for: weights drawn from a given generator, generators drawn from a generator.

PyTorch's layers draw their initial weights from the global generator, and its dropout draws from it too.
Here the first is borrowed and put back, and the second is replaced (:mod:`rodin_models.diffusion.unet`), so that equal
generators give equal networks and equal training steps whatever else the process has drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def draw_seed(generator: torch.Generator) -> int:
    """A seed for another generator, 0 to 2^63 - 2; advances ``generator`` by one draw."""
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device, dtype=torch.int64).item())


@contextmanager
def initialised_from(generator: torch.Generator) -> Iterator[None]:
    """Within the block, layers built on the CPU draw their weights from ``generator``.

    The global CPU generator is seeded for the block and restored after it; devices' generators are not touched.
    """
    saved = torch.random.get_rng_state()
    torch.default_generator.manual_seed(draw_seed(generator))
    try:
        yield
    finally:
        torch.random.set_rng_state(saved)


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape, type and device of ``like``.

    They are drawn on the generator's device in float32, so a CPU generator gives the same noise to every device
    and precision.
    """
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)
