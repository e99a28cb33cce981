"""What a stage that several processes can share is told about its place among them, and how they meet."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.contracts.stage import Progress, Watched


class Context(Protocol):
    """What a worker of a group offers; :class:`cluster.context.TrainingContext` is one."""

    @property
    def rank(self) -> int:
        """This worker's number, from 0 on."""
        ...

    @property
    def world_size(self) -> int:
        """How many workers there are."""
        ...

    @property
    def device(self) -> torch.device:
        """What this worker computes on."""
        ...

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model on this worker's device, its gradients averaged over the workers."""
        ...

    def report(self, metrics: dict[str, float]) -> None:
        """Show figures of a step; those of rank 0 count."""
        ...

    def progress(self, done: float, total: float) -> None:
        """Tell how far the work is, in units of its own."""
        ...

    def goes_on_from(self, done: float, total: float) -> None:
        """Tell how far the work was before this attempt: it counts, but was not done just now."""
        ...

    def barrier(self) -> None:
        """Wait until all workers are here."""
        ...

    def all_reduce_mean(self, tensor: Tensor) -> Tensor:
        """The mean over all workers of a tensor of one shape, on each of them."""
        ...


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

    def goes_on_from(self, done: float, total: float) -> None:
        """Hand it on."""
        if isinstance(self.on_progress, Watched):
            self.on_progress.goes_on_from(done, total)

    def barrier(self) -> None:
        """There is nobody to wait for."""

    def all_reduce_mean(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor.detach()
