"""Visits whose tasks run one after another in this process, without Ray: what is published is the same."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.dag import TaskFailed, TaskResults, TaskTiming
from cluster.session import SessionInfo
from pipeline.contracts.errors import RodinError
from pipeline.contracts.naming import RunLayout
from pipeline.driver import visit, worker_group
from pipeline.run.stage_table import STAGES
from pipeline.stages.context import Alone
from pipeline.stages.device import choose_device
from support.commands import rodin_passes
from support.tiny import arguments, recording_blender

DRIVER = """
import sys
from support.here import without_ray
from pipeline.cli import app
with without_ray():
    app(sys.argv[1:])
"""
"""``rodin-pipe`` as a process of its own that does so, for ``python -c``; what it imports must be on its path."""


@contextmanager
def without_ray() -> Iterator[None]:
    """Until the block ends, a visit of this process does its tasks itself."""
    session = SessionInfo(address="local", cpus=2.0, gpus=0.0, nodes=1, start_seconds=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visit, "ray_session", lambda address: nullcontext(session))
        patch.setattr(visit, "run_tasks", _run_tasks)
        patch.setattr(worker_group, "_run", _run_alone)
        yield


def made_here(folder: Path, *commands: tuple[str, ...], settings: tuple[str, ...] = ()) -> RunLayout:
    """The tiny run after some commands, each in this process: what a cluster's run must be like, byte for byte."""
    layout = RunLayout(folder / "run")
    chosen = arguments(recording_blender(folder / "blender"), *settings)
    with without_ray():
        for command in commands:
            rodin_passes(*command, "--out", layout.root, *chosen)
    return layout


def _run_tasks(tasks: Any, **watched: Any) -> TaskResults:
    results = TaskResults()
    waiting = list(tasks)
    while waiting:
        task = next(task for task in waiting if all(name in results for name in task.after))
        waiting.remove(task)
        try:
            inputs = tuple(results[name] for name in task.after)
            results[task.name] = task.function(task.item, inputs, lambda done, total: None)
        except RodinError as error:
            results[task.name] = TaskFailed(task.name, str(error), "")
        results.timings[task.name] = TaskTiming(0.0, 0.0, "127.0.0.1")
    return results


def _run_alone(item: Any, group: Any, progress: Any) -> Any:
    work = worker_group._named(STAGES[item.stage].group_work)
    item = replace(worker_group._as_it_begins(item), requested_at=item.requested_at)
    return work(item, Alone(choose_device(item.config), progress))
