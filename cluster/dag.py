"""Work items as a Ray task graph: submitted at once, run as their inputs appear, watched as they go.

Ray's own graph is the scheduler: each task is a remote call whose arguments are the references of the tasks it
comes after, so the fit of shard 0 starts when its render and the decoder are there, while other renders still
run. Among tasks of equal resources Ray goes first come, first served: by the moment at which the inputs were
there, then by the order of submission.

Failures travel as values. A function that raises becomes a ``TaskFailed``, and so does a task whose worker died
more often than ``max_retries``; the tasks behind it run, and get it as their input. Left out: any notion of what
the tasks do, and any display.
"""

import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.deaths import MOST_LOST, Deaths
from cluster.faults import Faults, node_fault
from cluster.nodes import Nodes, wait_for_nodes
from cluster.progress import Letter, Mailbox, ProgressBoard, StageProgress, TaskProgress
from pipeline.contracts.errors import RodinError
from pipeline.contracts.stage import Progress

POLL_S = 0.25
"""How often the driver looks; what passes from task to task does not wait for it."""

CLOCKS_AGREE_S = 5.0
"""Clocks that differ by less are right: so much can pass until the driver knows of an end."""


@dataclass(frozen=True)
class Task:
    """One call of a function on one work item."""

    name: str
    """Unique, such as ``fit/shard-00001``."""
    stage: str
    """Groups the progress, such as ``fit``."""
    function: Callable[[Any, tuple[Any, ...], Progress], Any]
    """Called with (item, results of ``after`` in order, progress); returns something small that pickles."""
    item: Any
    """Handed to ``function``; pickles."""
    after: tuple[str, ...] = ()
    """Names of the tasks whose results it needs."""
    total: float = 1.0
    """Units of work, as known beforehand; the function may tell another total."""
    unit: str = "avatar"
    """What is counted; its plural adds an s."""
    num_cpus: float = 1.0
    """CPUs that Ray keeps for it."""
    num_gpus: float = 0.0
    """Asked for only where a node of its kind has a GPU at all."""
    node_kind: str = ""
    """``render`` or ``train``: where the cluster has nodes of kinds (:mod:`cluster.nodes`), the one it runs on."""
    max_retries: int = 2
    """How often the task is started again after its worker process died; an exception is never tried again. Deaths of
    nodes are counted apart (:data:`cluster.deaths.MOST_LOST`)."""
    is_done: bool = False
    """Known to be done, as most are where a command goes on: counted, not run; its result is None."""


@dataclass(frozen=True)
class TaskFailed:
    """What stands in place of a failed task's result, for the caller and for the tasks behind it."""

    task: str
    """Its name."""
    reason: str
    """One line."""
    traceback: str
    """Empty when the worker died."""
    is_for_the_user: bool = False
    """It raised a ``RodinError``: what the user can mend, such as a damaged file."""
    of_node: str = ""
    """What of its node was to blame, such as a full disk (:mod:`cluster.faults`); empty for all else."""


@dataclass(frozen=True)
class TaskTiming:
    """When and where a task ran: of its last attempt, by the clock of that node, set right by :func:`by_one_clock`."""

    begun_at: float
    """Unix time."""
    ended_at: float
    """Unix time."""
    node: str
    """IP address."""


class TaskResults(dict[str, Any]):
    """Results by task name, ``TaskFailed`` among them. ``timings`` lacks the tasks whose workers died."""

    def __init__(self) -> None:
        super().__init__()
        self.timings: dict[str, TaskTiming] = {}


def run_tasks(
    tasks: Sequence[Task],
    *,
    on_progress: Callable[[StageProgress], None] | None = None,
    on_loss: Callable[[str], None] | None = None,
    on_ended: Callable[[str], None] | None = None,
    wait_for_nodes_s: float = 0.0,
) -> TaskResults:
    """Run all tasks in the current Ray session; returns when each has ended.

    Args:
        tasks: In the order in which they should start where there is a choice.
        on_progress: Called in this thread with each stage that moved or is under way, every ``POLL_S``, and
            with every stage at the end.
        on_loss: Called with a line for each node that dies meanwhile: which, and what is done again; with
            ``on_progress`` only, by which it is known where tasks run.
        on_ended: Called with a line for each task that ends: on which node, after how many seconds, why it failed.
        wait_for_nodes_s: How long to wait for a node that is large enough for the largest task, on a cluster
            that is still growing.

    Raises:
        ResourceError: no node is large enough for some task, for which Ray would wait without end; or the cluster's
            head is gone.
        ValueError: two tasks have one name, or ``after`` names no task or makes a circle.

    Ctrl-C, SIGTERM and whatever else unwinds the stack cancel the tasks that have not ended.
    """
    ordered = _in_order(tasks)
    nodes = wait_for_nodes((task for task in ordered if not task.is_done), wait_for_nodes_s)
    board = ProgressBoard([(task.name, task.stage, task.unit, task.total) for task in ordered])
    board.begin_with(task.name for task in ordered if task.is_done)
    graph = _Graph(ordered, nodes, watched=on_progress is not None)
    try:
        graph.submit_all()
        deaths = Deaths()
        while graph.pending:
            ended = graph.wait(POLL_S)
            if on_ended is not None:
                for name in ended:
                    on_ended(_line_of(name, graph.results))
            if on_progress is not None:
                now = time.monotonic()
                board.update(graph.take_letters(last=not graph.pending), now)
                for name in ended:
                    failed, node = isinstance(graph.results[name], TaskFailed), graph.ended_on.get(name, "")
                    board.ended(name, failed=failed, now=now, node=node)
                if on_loss is not None:
                    for line in deaths.lost(board, now, last=not graph.pending):
                        on_loss(line)
                    graph.faults.tell(on_loss)
                for stage in board.moved(now) if graph.pending else board.stages(now):
                    on_progress(stage)
    finally:
        graph.close()
    graph.results.timings = by_one_clock(graph.results.timings, graph.known_at)
    return graph.results


def by_one_clock(timings: Mapping[str, TaskTiming], known_at: Mapping[str, float]) -> dict[str, TaskTiming]:
    """The same times, by the driver's clock: those of nodes whose clocks are wrong, moved by what they are wrong.

    ``known_at`` has when the driver knew of each end, which is soon after it. Of each node the least delay counts;
    within ``CLOCKS_AGREE_S`` clocks are taken for the same, so that tasks keep the order that their nodes saw.
    """
    wrong: dict[str, float] = {}
    for name, timing in timings.items():
        delay = known_at[name] - timing.ended_at
        wrong[timing.node] = min(delay, wrong.get(timing.node, delay))
    wrong = {node: 0.0 if abs(delay) < CLOCKS_AGREE_S else delay for node, delay in wrong.items()}
    return {
        name: replace(
            timing, begun_at=timing.begun_at + wrong[timing.node], ended_at=timing.ended_at + wrong[timing.node]
        )
        for name, timing in timings.items()
    }


@dataclass(frozen=True)
class _Ended:
    """What a task passes on: its result, and the timing for the driver."""

    value: Any
    timing: TaskTiming | None = None
    node: str = ""
    """Ray's id of the node."""


def _execute_here(
    name: str,
    function: Callable[[Any, tuple[Any, ...], Progress], Any],
    item: Any,
    mailbox: Any,
    *inputs: _Ended,
) -> _Ended:
    """Run one task in its worker. This is a worker boundary: any exception becomes a ``TaskFailed``."""
    begun_at = time.time()
    node = ray.get_runtime_context().get_node_id()
    progress = TaskProgress(name, mailbox, node)
    progress.begin()
    try:
        value = function(item, tuple(ended.value for ended in inputs), progress)
    except Exception as error:
        for_the_user = isinstance(error, RodinError)
        reason = str(error) if for_the_user else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())
        value = TaskFailed(name, reason, traceback.format_exc(), for_the_user, node_fault(error))
    return _Ended(value, TaskTiming(begun_at, time.time(), ray.util.get_node_ip_address()), node)


_execute = ray.remote(_execute_here)
_mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox)


class _Graph:
    """The submitted tasks: ``pending`` has the references that have not ended, ``results`` the rest."""

    def __init__(self, tasks: Sequence[Task], nodes: Nodes, *, watched: bool) -> None:
        self.pending: dict[Any, str] = {}
        self.results = TaskResults()
        self.known_at: dict[str, float] = {}
        """When each task that ran was known to have ended."""
        self.ended_on: dict[str, str] = {}
        """Ray's id of the node where each task ended; empty where it works on others than its own."""
        self._tasks = {task.name: task for task in tasks}
        self.results |= {task.name: None for task in tasks if task.is_done}
        self._nodes = nodes
        # Beside the driver: the node that it would be on else may be one that dies.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._mailbox = _mailbox.options(scheduling_strategy=here).remote() if watched else None
        self._letters: Any = None
        self._references: dict[str, Any] = {}
        self._inputs: dict[str, tuple[Any, ...]] = {}
        """Per task the references that it was last submitted with."""
        self._broken: set[Any] = set()
        """References that hold an error of Ray's; it replaces, unrun, every task that was given one of them."""
        self._lost: Counter[str] = Counter()
        """How often each task was submitted again since its node had died."""
        self.faults = Faults()

    def submit_all(self) -> None:
        for name, task in self._tasks.items():
            if not task.is_done:
                self._submit(name)

    def wait(self, timeout_s: float) -> list[str]:
        """Names of the tasks that ended, waiting for at most ``timeout_s`` for all to end."""
        known = len(self.results)
        ready, _ = ray.wait(list(self.pending), num_returns=len(self.pending), timeout=timeout_s)
        for reference in ready:  # in the order of submission: none comes before what it was given
            self._settle(reference)
        return list(self.results)[known:]

    def take_letters(self, *, last: bool) -> Mapping[str, Letter]:
        """What tasks told since the last call. Waits for nothing, but for what is under way at the ``last`` call."""
        assert self._mailbox is not None
        letters: dict[str, Letter] = {}
        for _ in range(2 if last else 1):  # the answer under way may be older than the last letter
            if self._letters is None:
                self._letters = self._mailbox.take.remote()
            ready, _ = ray.wait([self._letters], timeout=1.0 if last else 0)
            if ready:
                self._letters = None
                # An error says that its node died; Ray starts it again, and what tasks tell is absolute.
                with contextlib.suppress(ray.exceptions.RayActorError):
                    letters.update(ray.get(ready[0]))
        return letters

    def close(self) -> None:
        """Cancel what has not ended, and end the mailbox."""
        with contextlib.suppress(ray.exceptions.RayError, RuntimeError):
            for reference in self.pending:
                ray.cancel(reference, force=True)
            if self._mailbox is not None:
                ray.kill(self._mailbox)

    def _submit(self, name: str) -> None:
        task = self._tasks[name]
        inputs = tuple(
            _Ended(self.results[other]) if other in self.results else self._references[other] for other in task.after
        )
        asked = self._nodes.asked(task)
        remote = _execute.options(
            name=name,
            num_cpus=asked.pop("CPU"),
            num_gpus=asked.pop("GPU"),
            resources=asked,
            max_retries=task.max_retries,
            label_selector=self.faults.selector(),
        )
        reference = remote.remote(name, task.function, task.item, self._mailbox, *inputs)
        self._inputs[name] = tuple(self._references[other] for other in task.after if other not in self.results)
        self._references[name] = reference
        self.pending[reference] = name

    def _submit_again(self, name: str) -> None:
        """Submit a task anew, and those behind it, which were given what did not come of it."""
        given = self._references[name]
        self._submit(name)
        for behind in [other for other, inputs in self._inputs.items() if given in inputs]:
            reference = self._references[behind]
            if self.pending.pop(reference, None) is not None:
                ray.cancel(reference)
            self._submit_again(behind)

    def _settle(self, reference: Any) -> None:
        """Take in what a reference holds that is ready."""
        name = self.pending.pop(reference, None)
        if name is None:
            return  # settled on behalf of a task behind it
        try:
            ended: _Ended = ray.get(reference)
        except ray.exceptions.NodeDiedError as error:
            self._lost[name] += 1  # and more often by Ray itself, which counts deaths of nodes as of processes
            if self._lost[name] > MOST_LOST:
                self._settle_broken(name, reference, error)
            else:
                self._submit_again(name)
        except Exception as error:
            self._settle_broken(name, reference, error)
        else:
            failed = ended.value if isinstance(ended.value, TaskFailed) else None
            # A group of workers works and fails on other nodes than that of the task, which holds no CPU.
            node = ended.node if self._tasks[name].num_cpus else ""
            fault = failed.of_node if failed is not None and node else ""
            if fault and self.faults.leaves_another(self._tasks[name], node, fault):
                self._submit_again(name)
                return
            self.results[name] = ended.value
            if ended.timing is not None:
                self.results.timings[name] = ended.timing
                self.known_at[name] = time.time()
            self.ended_on[name] = node

    def _settle_broken(self, name: str, reference: Any, error: Exception) -> None:
        """A worker boundary: whatever Ray raised concerns this task or one before it, and no other."""
        self._broken.add(reference)
        for given in self._inputs[name]:
            if given in self.pending and ray.wait([given], timeout=0)[0]:
                self._settle(given)
        if any(given in self._broken for given in self._inputs[name]):
            self._submit(name)  # it never ran; now it gets a TaskFailed for the input that never came
        else:
            self.results[name] = TaskFailed(name, _reason(error), "")


def _line_of(name: str, results: TaskResults) -> str:
    result, timing = results[name], results.timings.get(name)
    where = "" if timing is None else f" on {timing.node}, {timing.ended_at - timing.begun_at:.1f} s"
    return f"{name}: failed{where}: {result.reason}" if isinstance(result, TaskFailed) else f"{name}: done{where}"


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1]  # above it stands the worker's traceback
    return f"{type(error).__name__}: {lines[0]}"


def _in_order(tasks: Sequence[Task]) -> list[Task]:
    """The tasks with every task behind its inputs, else in the given order."""
    by_name = {task.name: task for task in tasks}
    if len(by_name) != len(tasks):
        raise ValueError("two tasks have one name")
    for task in tasks:
        if unknown := [name for name in task.after if name not in by_name]:
            raise ValueError(f"task {task.name} comes after {unknown[0]}, and there is no such task")
    try:
        TopologicalSorter({task.name: task.after for task in tasks}).prepare()
    except CycleError as error:
        raise ValueError(f"tasks wait for each other: {' -> '.join(error.args[1])}") from error
    ordered: dict[str, Task] = {}

    def place(task: Task) -> None:
        if task.name not in ordered:
            for name in task.after:
                place(by_name[name])
            ordered[task.name] = task

    for task in tasks:
        place(task)
    return list(ordered.values())
