"""Ray Train around a training function: its workers, their process group, their restarts.

``run_training`` is called from a task of the graph that itself holds no CPU. The function runs on each worker with
a :class:`cluster.context.TrainingContext`; it alone knows what a checkpoint is, writes its own into the run folder
and looks there when it begins, so a restarted group of workers goes on from the last one. Ray Train's checkpoints
(and its ``report``, which holds every worker until the controller's next poll) are left out.

Start-up is what small trainings pay most for: Ray Train starts a process for its controller, and by default one
each for data sets, for cleaning up and for watching preemption, all importing ``ray.train`` for a second or more.
Those three are left out. The cleaner's work, freeing the CPUs of a controller that was killed, is done here,
by a note of the placement group in the storage folder: the cleaner asks the dashboard, and a local session has none.
The driver imports this module only to hand ``run_training`` over, so torch and Ray Train wait until it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from cluster.context import TrainingContext
from cluster.deaths import MOST_LOST
from cluster.nodes import KINDS, Nodes, grown
from pipeline.contracts.errors import ResourceError, RodinError
from pipeline.contracts.stage import Progress

POLL_S = 0.25
"""How often Ray Train's controller looks after its workers; its default of 2 s is noticed at every end."""

START_TIMEOUT_S = 600
"""How long a group of workers may take to start; its default of 60 s is too short on a busy machine."""

_NOTE = "placement_group"


def run_training(
    loop: Callable[[Any, TrainingContext], dict[str, Any]],
    item: Any,
    *,
    num_workers: int,
    cpus_per_worker: float,
    gpus_per_worker: float,
    storage: Path,
    name: str,
    progress: Progress,
    node_kind: str = "",
    max_failures: int = 2,
    wait_for_nodes_s: float = 0.0,
) -> dict[str, Any]:
    """Run ``loop(item, context)`` on ``num_workers`` workers at once; returns what it returned on rank 0.

    Args:
        loop: Importable on the workers; what it returns pickles.
        item: Handed to ``loop``; pickles.
        num_workers: More than one only makes sense for a loop that uses ``context.prepare``.
        cpus_per_worker: Also the number of torch threads that a worker begins with, at least one.
        gpus_per_worker: Asked for only where a node of its kind has a GPU at all; else the device is the CPU.
        storage: Folder for the few bytes that Ray Train writes, in ``storage / name``; on a cluster, shared.
        name: Of this training, unique in ``storage`` among those under way.
        progress: What ``context.progress`` calls.
        node_kind: Of the nodes that the workers run on (:mod:`cluster.nodes`).
        max_failures: How often all workers are started again after one died or raised; then, where it was a node that
            died, anew (:data:`cluster.deaths.MOST_LOST`).
        wait_for_nodes_s: How long to wait for room for the workers, on a cluster that is still growing.

    Raises:
        ResourceError: the cluster has not got what the workers need, or they died more often than ``max_failures``.
        Exception: whatever ``loop`` raised, when no try is left.
    """
    from ray.train import ControllerError, WorkerGroupError

    from cluster.torch_trainer import make_trainer

    nodes = Nodes.now()
    gpus = gpus_per_worker if nodes.has_gpu(node_kind) else 0.0
    resources = {"CPU": cpus_per_worker, **({"GPU": gpus} if gpus else {}), **nodes.marks(node_kind)}
    _check_room(name, resources, num_workers, wait_for_nodes_s)
    # Read by the controller, which gets them from here. Not Ray Train's business: the run folder is ours.
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = str(POLL_S)
    os.environ["RAY_TRAIN_METRICS_ENABLED"] = "0"
    os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    # The controller starts workers that took longer anew, for ever: beside other work, imports alone can take minutes.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_TIMEOUT_S))
    folder = storage.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    failures = lost = 0
    while True:
        _remove_noted_group(folder / _NOTE)
        trainer = make_trainer(
            loop,
            item,
            progress,
            num_workers=num_workers,
            resources=resources,
            storage=storage.resolve(),
            name=name,
            max_failures=max_failures,
            note=folder / _NOTE,
        )
        try:
            value: dict[str, Any] = trainer.fit().return_value
            return value
        except WorkerGroupError as error:
            lost += _lost_node(error)
            if not _lost_node(error) or lost > MOST_LOST:
                raise _cause(name, error) from error
        except (ControllerError, ray.exceptions.RayActorError):
            # The controller died, or a worker did at a moment at which the controller takes it for its own failure;
            # Ray Train does not try again then.
            failures += 1
            if failures > max_failures:
                raise
        finally:
            _remove_noted_group(folder / _NOTE)


def _lost_node(error: Any) -> bool:
    """Whether a worker failed since its node died, which Ray tells in words only."""
    return any("its node has died" in str(failure) for failure in error.worker_failures.values())


def _cause(name: str, error: Any) -> Exception:
    """What to tell of workers that failed too often: the exception of the loop, unless it comes of a death."""
    failures: dict[int, Exception] = error.worker_failures
    died = [rank for rank, failure in sorted(failures.items()) if isinstance(failure, ray.exceptions.RayError)]
    if died or not failures:
        ranks = ", ".join(str(rank) for rank in died)
        return ResourceError(
            f"training {name}: the worker of rank {ranks or 'unknown'} died again and again; look for a killed "
            "process or too little memory on its node, then run the same command to go on from the last checkpoint"
        )
    # A user's mistake says more than what it brought about on other ranks.
    return min(failures.items(), key=lambda item: (not isinstance(item[1], RodinError), item[0]))[1]


def _remove_noted_group(note: Path) -> None:
    """Free what a training holds that was killed with its controller: Ray keeps it until the driver ends."""
    if note.exists():
        noted = ray.PlacementGroupID(bytes.fromhex(note.read_text()))
        remove_placement_group(PlacementGroup(noted))
        note.unlink()


def _check_room(name: str, resources: dict[str, float], num_workers: int, wait_s: float) -> None:
    def room(nodes: Nodes) -> int:
        return sum(
            min((int(node.get(kind, 0.0) / need) for kind, need in resources.items() if need), default=num_workers)
            for node in nodes.resources
        )

    nodes = grown(lambda nodes: [] if room(nodes) >= num_workers else [[resources] * num_workers], wait_s)
    if room(nodes) >= num_workers:
        return
    needed = " and ".join(f"{need:g} {kind}s" for kind, need in resources.items() if kind not in KINDS)
    needed += "".join(f" on nodes of kind {kind}" for kind in resources if kind in KINDS)
    raise ResourceError(
        f"training {name} needs {num_workers} workers with {needed} each, and the cluster has room for {room(nodes)}: "
        "lower the number of workers or what each needs"
    )
