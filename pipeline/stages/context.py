"""What a stage that several processes can share is told about its place among them, and how they meet."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.contracts.stage import Progress


class Context(Protocol):
    """What a worker of a group offers; :class:`cluster.context.TrainingContext` is one."""

    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def device(self) -> torch.device: ...

    def prepare(self, model: nn.Module) -> nn.Module: ...
    def report(self, metrics: dict[str, float]) -> None: ...
    def progress(self, done: float, total: float) -> None: ...
    def barrier(self) -> None: ...
    def all_reduce_mean(self, tensor: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Alone:
    """The context of a worker that is the only one."""

    device: torch.device
    on_progress: Progress
    rank: int = 0
    world_size: int = 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model as it is."""
        return model

    def report(self, metrics: dict[str, float]) -> None:
        """Nobody reads them."""

    def progress(self, done: float, total: float) -> None:
        """Hand it on."""
        self.on_progress(done, total)

    def barrier(self) -> None:
        """There is nobody to wait for."""

    def all_reduce_mean(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor.detach()
