"""What a task of the graph does: a stage's work here, or by a group of workers.

A group is a model's training, or a decoder that several fit; its own task holds no CPU, it only waits for its workers.
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.dag import TaskFailed
from pipeline.contracts.errors import DataError, RodinError
from pipeline.contracts.stage import Progress
from pipeline.io.files import take_settings, wait_until_seen
from pipeline.run.stage_table import STAGES


@dataclass(frozen=True)
class Group:
    """The workers that share a work item."""

    num_workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    storage: Path
    wait_for_nodes_s: float


@dataclass(frozen=True)
class Node:
    """A work item (:class:`pipeline.stages.work.WorkItem`), and who does it."""

    item: Any
    group: Group | None = None
    """``None`` does it in the task's own process."""
    after: tuple[tuple[Path, ...], ...] = ()
    """For each task whose result it is given, in their order: the ledger entries of it and of all before it."""


def do_work(node: Node, inputs: tuple[Any, ...], progress: Progress) -> Any:
    """Do a work item and return its ledger entry; one that is current returns at once.

    Inputs give order only: what a stage reads it gets from ledgers. A stage that needs all of them is refused where
    one failed, since learning from what happens to be there would give another model than an undisturbed run.
    """
    stage = STAGES[node.item.stage]
    lost = next((given for given in inputs if isinstance(given, TaskFailed)), None)
    if lost is not None and stage.needs_all:
        raise DataError(f"stage {stage.name} waits for {lost.task}, which failed: {lost.reason}")
    # Of inputs that only set an order on this machine no entry is named.
    ended = zip(node.after, inputs, strict=False)
    known = dict.fromkeys(entry for proofs, given in ended if not isinstance(given, TaskFailed) for entry in proofs)
    node = replace(node, item=replace(node.item, published_before=tuple(known)))
    item = _as_it_begins(node.item)
    if node.group is None:
        return _named(stage.work)(item, progress)
    before = item.published(stage.ledger)
    if before is not None and item.done(before, progress):
        return before
    return _run(replace(node.item, requested_at=time.time()), node.group, progress)


def do_task(node: Node, inputs: tuple[Any, ...], progress: Progress) -> None:
    """:func:`do_work` as a task: what it returns stands in the ledger, and no driver holds thousands of entries."""
    do_work(node, inputs, progress)


def guarded(item: Any, context: Any) -> Any:
    """One worker's part; what the user has to mend comes back as a value, because trying again would not help."""
    try:
        return unguarded(item, context)
    except RodinError as error:
        return error


def unguarded(item: Any, context: Any) -> Any:
    """One worker's part; whatever it raises ends the others, which would wait for it for ever."""
    return _named(STAGES[item.stage].group_work)(_as_it_begins(item), context)


def _as_it_begins(item: Any) -> Any:
    """A work item whose run is as its ledgers are now; what it waited for is published, and seen here."""
    take_settings(item.storage)
    wait_until_seen(item.published_before)
    return replace(item, run=item.run.snapshot())


def _named(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _run(item: Any, group: Group, progress: Progress) -> Any:
    from cluster.training import run_training

    result = run_training(
        guarded if STAGES[item.stage].trained else unguarded,
        item,
        num_workers=group.num_workers,
        cpus_per_worker=group.cpus_per_worker,
        gpus_per_worker=group.gpus_per_worker,
        storage=group.storage,
        name=item.stage,
        progress=progress,
        node_kind=STAGES[item.stage].node_kind,
        wait_for_nodes_s=group.wait_for_nodes_s,
    )
    if isinstance(result, RodinError):
        raise result
    return result
