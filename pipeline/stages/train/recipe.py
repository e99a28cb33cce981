"""How each model is trained: its data, network, loss and files. :mod:`pipeline.stages.train.loop` holds the loop."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.config.models import TrainingConfig
from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError

Batch = dict[str, Tensor]
Places = npt.NDArray[np.int64]
Levels = tuple[tuple[float, float], ...]
"""(time in (0, 1), share of the training's draws that it stands for), the shares sum to 1."""
NUM_LEVELS = 8


class Recipe(Protocol):
    """What differs between the models."""

    avatars: tuple[int, ...]
    """The avatars that it learns from; never a held-out one."""
    held_out: tuple[int, ...]
    """The held-out avatars that its loss is measured on; none where that is not asked for."""
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

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The items that the loss is measured on, one a held-out avatar; :meth:`load` reads them too."""
        ...

    def levels(self) -> Levels:
        """The levels of noise at which the loss is measured; none for a model that knows no noise."""
        ...

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """``loss`` is minimised, everything else is only shown.

        The noise of all items is that of ``time``, one of :meth:`levels`; drawn for each where there is none.
        """
        ...

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Write weights and settings into an existing empty folder; returns notes for the ledger."""
        ...


class Objective(nn.Module):
    """A model with its loss as ``forward``, so that distributed training sees every use of the parameters."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, batch: Batch, generator: torch.Generator, time: float | None = None) -> dict[str, Tensor]:
        """The recipe's loss."""
        return self.recipe.loss(self.model, batch, generator, time)


def learnable(config: RunConfig, available: dict[int, str]) -> tuple[int, ...]:
    """The avatars among those available that are not held out; raises ``DataError`` when there are not two."""
    avatars = tuple(avatar for avatar in sorted(available) if not config.is_held_out(avatar))
    if len(avatars) < 2:
        raise DataError(
            f"{len(avatars)} avatars that are not held out are there to learn from, 2 are the least; "
            "see rodin-pipe inspect for what is missing or failed"
        )
    return avatars


def measured(config: RunConfig, available: Iterable[int], stage: str) -> tuple[int, ...]:
    """The held-out avatars among those available that a model's loss is measured on; see ``held_out_every``."""
    settings: TrainingConfig = getattr(config, stage)
    if not settings.held_out_every:
        return ()
    return tuple(avatar for avatar in sorted(available) if config.is_held_out(avatar))[: settings.held_out_avatars]


def draw_rows(generator: np.random.Generator, count: int, batch: int) -> Places:
    """``batch`` of ``count`` items: without repetition while there are enough, all alike otherwise."""
    whole, rest = divmod(batch, count)
    return np.concatenate([generator.permutation(count) for _ in range(whole)] + [generator.permutation(count)[:rest]])
