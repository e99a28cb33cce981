"""The ``TorchTrainer`` behind :mod:`cluster.training`, in a file of its own for its seconds of imports.

The only place that touches Ray Train's internals; they are those of the Ray versions that the package allows.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from cluster.context import TrainingContext
from cluster.progress import TaskProgress
from pipeline.contracts.stage import Progress


def make_trainer(
    loop: Callable[[Any, TrainingContext], dict[str, Any]],
    item: Any,
    progress: Progress,
    *,
    num_workers: int,
    resources: dict[str, float],
    storage: Path,
    name: str,
    max_failures: int,
    note: Path,
) -> TorchTrainer:
    """A trainer whose ``fit().return_value`` is what ``loop`` returned on rank 0.

    While its workers hold a placement group, ``note`` has the group's id.
    """
    return _Trainer(
        _run_loop,
        train_loop_config={"loop": loop, "item": item, "progress": progress, "cpus": resources["CPU"]},
        scaling_config=ScalingConfig(
            num_workers=num_workers, use_gpu="GPU" in resources, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
            callbacks=[_NoteGroup(note)],
        ),
    )


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """A ``TorchTrainer`` without the two helper processes that :mod:`cluster.training` names."""

    def _create_default_callbacks(self) -> list[Any]:
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, left_out)]


class _NoteGroup(WorkerGroupCallback):  # type: ignore[misc]
    """Writes down, in the controller, which placement group the workers of this training hold."""

    def __init__(self, note: Path) -> None:
        self._note = note

    def after_worker_group_start(self, worker_group: Any) -> None:
        group = worker_group.get_worker_group_state().placement_group_handle.placement_group
        new = self._note.with_suffix(".new")
        new.write_text(group.id.hex())
        new.replace(self._note)


def _run_loop(config: dict[str, Any]) -> dict[str, Any]:
    """What each worker runs."""
    torch.set_num_threads(max(1, int(config["cpus"])))
    place, progress = ray.train.get_context(), config["progress"]
    if isinstance(progress, TaskProgress):
        progress.is_told_from(ray.get_runtime_context().get_node_id())
    context = TrainingContext(
        rank=place.get_world_rank(),
        world_size=place.get_world_size(),
        device=get_device(),
        _progress=progress,
    )
    value: dict[str, Any] = config["loop"](config["item"], context)
    return value
