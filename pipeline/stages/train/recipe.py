"""How each model is trained: its data, network, loss and files. :mod:`pipeline.stages.train.loop` holds the loop."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError

Batch = dict[str, Tensor]
Places = npt.NDArray[np.int64]


class Recipe(Protocol):
    """What differs between the models."""

    avatars: tuple[int, ...]
    """The avatars that it learns from; never a held-out one."""
    trains: bool
    """False when its weights are given, and only have to be published."""

    def build(self, generator: torch.Generator) -> nn.Module:
        """The network, initialised from ``generator``."""
        ...

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """What a step of ``batch`` items sees: integers, one row an item."""
        ...

    def load(self, places: Places) -> Batch:
        """Read those items, on the CPU. Called from threads."""
        ...

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``loss`` is minimised, everything else is only shown."""
        ...

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Write weights and settings into an existing empty folder; returns notes for the ledger."""
        ...


def learnable(config: RunConfig, available: dict[int, str]) -> tuple[int, ...]:
    """The avatars among those available that are not held out; raises ``DataError`` when there are not two."""
    avatars = tuple(avatar for avatar in sorted(available) if not config.is_held_out(avatar))
    if len(avatars) < 2:
        raise DataError(
            f"{len(avatars)} avatars that are not held out are there to learn from, 2 are the least; "
            "see rodin-pipe inspect for what is missing or failed"
        )
    return avatars


def draw_rows(generator: np.random.Generator, count: int, batch: int) -> Places:
    """``batch`` of ``count`` items: without repetition while there are enough, all alike otherwise."""
    whole, rest = divmod(batch, count)
    return np.concatenate([generator.permutation(count) for _ in range(whole)] + [generator.permutation(count)[:rest]])
