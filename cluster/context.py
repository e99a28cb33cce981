"""A training function's place among the workers: its rank and device, and what it says to the others.

The driver imports this for its name alone, so torch waits until a worker calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.contracts.stage import Progress, Watched

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class TrainingContext:
    """What a training function is told about its place among the workers."""

    rank: int
    """This worker's number, from 0."""
    world_size: int
    """Number of workers."""
    device: torch.device
    """Where this worker's model and batches lie."""
    _progress: Progress

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model on this worker's device, its gradients averaged over the workers where there are several."""
        model = model.to(self.device)
        if self.world_size == 1:
            return model
        from torch import nn

        on_gpu = self.device.type == "cuda"
        return nn.parallel.DistributedDataParallel(model, device_ids=[self.device.index] if on_gpu else None)

    def report(self, metrics: dict[str, float]) -> None:
        """Numbers to show beside the progress, from rank 0; they travel with the next :meth:`progress`."""
        if self.rank == 0 and isinstance(self._progress, Watched):
            self._progress.report(metrics)

    def progress(self, done: float, total: float) -> None:
        """Tell how far rank 0 is; the calls of other ranks are left out."""
        if self.rank == 0:
            self._progress(done, total)

    def goes_on_from(self, done: float, total: float) -> None:
        """Tell how far rank 0 was before this attempt."""
        if self.rank == 0 and isinstance(self._progress, Watched):
            self._progress.goes_on_from(done, total)

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.world_size > 1:
            from torch import distributed

            distributed.barrier()

    def all_reduce_mean(self, tensor: Tensor) -> Tensor:
        """The mean of all workers' tensors of one shape, as a new tensor without a gradient."""
        mean = tensor.detach().clone()
        if self.world_size > 1:
            from torch import distributed

            distributed.all_reduce(mean)
            mean /= self.world_size
        return mean
