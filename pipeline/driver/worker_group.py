"""Nodes of the task graph that are a group of workers: a model's training, and a decoder that several fit.

The node's own task holds no CPU: it only waits for its workers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.dag import TaskFailed
from pipeline.contracts.errors import DataError, RodinError
from pipeline.contracts.stage import Progress


@dataclass(frozen=True)
class GroupNode:
    """A stage's item, and the workers that share it."""

    item: Any
    name: str
    num_workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    storage: Path
    wait_for_nodes_s: float


def train_node(node: GroupNode, inputs: tuple[Any, ...], progress: Progress) -> Any:
    """Run one model's training loop on its workers; a model that is current returns at once."""
    from pipeline.stages.train.loop import published_report

    for lost in inputs:
        if isinstance(lost, TaskFailed):
            # Learning from what happens to be there would give another model than an undisturbed run.
            raise DataError(f"stage {node.name} waits for {lost.task}, which failed: {lost.reason}")
    known = published_report(node.item)
    if known is not None:
        progress(1.0, 1.0)
        return known
    return _run(replace(node, item=replace(node.item, requested_at=time.time())), guarded_train_loop, progress)


def decoder_node(node: GroupNode, inputs: tuple[Any, ...], progress: Progress) -> Any:
    """Fit the shared decoder on several workers; one that is current returns at once.

    As with one worker, what failed to render is left out.
    """
    from pipeline.stages.fit.decoder import fit_decoder_share, published_decoder

    del inputs
    known = published_decoder(node.item)
    if known is not None:
        progress(known.steps, known.steps)
        return known
    # Not guarded: the other workers would wait for ever for the one that came back with an error.
    return _run(node, fit_decoder_share, progress)


def guarded_train_loop(item: Any, context: Any) -> Any:
    """The training loop; what the user has to mend comes back as a value, because trying again would not help."""
    from pipeline.stages.train.loop import train_loop

    try:
        return train_loop(item, context)
    except RodinError as error:
        return error


def _run(node: GroupNode, loop: Callable[[Any, Any], Any], progress: Progress) -> Any:
    from cluster.training import run_training

    result = run_training(
        loop,
        node.item,
        num_workers=node.num_workers,
        cpus_per_worker=node.cpus_per_worker,
        gpus_per_worker=node.gpus_per_worker,
        storage=node.storage,
        name=node.name,
        progress=progress,
        wait_for_nodes_s=node.wait_for_nodes_s,
    )
    if isinstance(result, RodinError):
        raise result
    return result
