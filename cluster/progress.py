"""How far the tasks are: told by workers, collected in an actor, summed by stage in the driver.

A worker's call costs it about a fifth of a millisecond, at most four times a second, and never waits. Numbers are
absolute, so a lost message does no harm and a task that is started again simply tells smaller ones.
"""

import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

RATE_WINDOW_S = 60.0
"""A rate is taken over the last minute, or over the last ``RATE_CHANGES`` changes where they reach further back."""
RATE_CHANGES = 8
NODE_DEATH_KNOWN_S = 60.0
"""How long a node's death may take to be known after its tasks have begun again elsewhere."""
TELL_EVERY_S = 0.25
"""A task tells its progress at most this often, but always its end."""


@dataclass(frozen=True)
class StageProgress:
    """How far the tasks of one stage are together, as plain data for any display."""

    stage: str
    """Its name, such as ``fit``."""
    done: float
    """Units done by all of its tasks."""
    total: float
    """Units of all of its tasks, as known by now."""
    unit: str
    """What is counted, in the singular."""
    running: tuple[str, ...]
    """Names of the tasks under way, in the order of submission."""
    tasks_done: int
    """Tasks that ended well."""
    tasks_failed: int
    """Tasks that ended otherwise."""
    num_tasks: int
    """Tasks of the stage."""
    elapsed_s: float
    """From the begin of the stage's first task to now, or to the end of its last; 0 before."""
    rate_per_s: float | None
    """Units a second of late; None until there is something to measure."""
    eta_s: float | None
    """Seconds until ``done`` reaches ``total`` at this rate; None at the end."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What a task of the stage reported last, such as its loss."""

    @property
    def ended(self) -> bool:
        """Whether no task of the stage is left to do."""
        return self.tasks_done + self.tasks_failed == self.num_tasks


@dataclass(frozen=True)
class Letter:
    """One message of a task: its attempt and where that is."""

    attempt: str
    """Of the task; another one after its worker died."""
    done: float | None
    """None says that the attempt has begun."""
    total: float
    """Units of the task, as it knows by now."""
    metrics: Mapping[str, float]
    """What the task reported last."""
    node: str = ""
    """Where the attempt runs, by Ray's id."""
    done_before: float = 0.0
    """What of ``done`` earlier attempts have left to it."""


class Mailbox:
    """Keeps the newest letter of each task until the driver takes it; runs as an actor."""

    def __init__(self) -> None:
        self._letters: dict[str, Letter] = {}
        self._attempts: dict[str, str] = {}

    def put(self, task: str, letter: Letter) -> None:
        """Keep ``letter`` unless it comes late, from an attempt that another one has replaced."""
        if letter.done is None or self._attempts.setdefault(task, letter.attempt) == letter.attempt:
            self._attempts[task] = letter.attempt
            self._letters[task] = letter

    def take(self) -> dict[str, Letter]:
        """The letters since the last call, by task."""
        letters, self._letters = self._letters, {}
        return letters


class TaskProgress:
    """The ``progress`` that a task's function is called with: ``progress(done, total)``. Pickles."""

    def __init__(self, task: str, mailbox: Any, node: str = "") -> None:
        """``mailbox`` is a :class:`Mailbox` actor, or None where nobody watches; ``node`` Ray's id of this one."""
        self._task = task
        self._node = node
        self._mailbox = mailbox
        self._attempt = secrets.token_hex(4)
        self._metrics: dict[str, float] = {}
        self._done_before = 0.0
        self._told_at = float("-inf")

    def is_told_from(self, node: str) -> None:
        """From now on, of Ray's id: where a worker tells it on behalf of a task that waits for it elsewhere."""
        self._node = node

    def begin(self) -> None:
        """Tell that this attempt has begun, with nothing done."""
        self._tell(None, 0.0)

    def __call__(self, done: float, total: float) -> None:
        """Tell that so much is done, unless another letter has only just been sent; the end is always told."""
        now = time.monotonic()
        if done >= total or now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self._tell(done, total)

    def report(self, metrics: Mapping[str, float]) -> None:
        """Numbers to show beside the progress; they travel with its next message."""
        self._metrics = {**self._metrics, **metrics}

    def goes_on_from(self, done: float, total: float) -> None:
        """Tell that an earlier attempt came so far and that this one goes on from there; no rate counts it."""
        self._done_before = done
        self._tell(done, total)

    def _tell(self, done: float | None, total: float) -> None:
        if self._mailbox is not None:
            letter = Letter(self._attempt, done, total, self._metrics, self._node, self._done_before)
            self._mailbox.put.remote(self._task, letter)


@dataclass
class _TaskState:
    total: float
    done: float = 0.0
    done_before: float = 0.0
    """What of it the attempt under way found done."""
    running: bool = False
    ended: bool = False
    failed: bool = False
    node: str = ""
    left: dict[str, float] = field(default_factory=dict)
    """Nodes that it was heard of on before, and since when it has been heard of on another one."""

    def heard_on(self, node: str, now: float) -> None:
        if self.node not in ("", node):
            self.left[self.node] = now
        self.node = node

    def has_lately_left(self, node: str, now: float) -> bool:
        return node in self.left and now - self.left[node] < NODE_DEATH_KNOWN_S


@dataclass
class _StageState:
    unit: str
    tasks: dict[str, _TaskState] = field(default_factory=dict)
    begun_at: float | None = None
    ended_at: float | None = None
    changes: deque[tuple[float, float]] = field(default_factory=deque)
    """(time, what was done since the graph began) at the changes of that, the oldest first."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    moved: bool = False

    done: float = 0.0
    """Of all tasks together; kept, since thousands of tasks would be summed at each letter."""
    done_before: float = 0.0
    """What of it no task has done since the graph began: it was there, or an attempt found it done."""
    left: int = 0
    """Tasks that have not ended."""

    def now_done(self, task: _TaskState, done: float) -> None:
        """Note how far a task of the stage is."""
        self.done += done - task.done
        task.done = done


class ProgressBoard:
    """The driver's sums by stage. Knows no Ray; every method takes the time from its caller."""

    def __init__(self, tasks: Iterable[tuple[str, str, str, float]]) -> None:
        """``tasks`` are (name, stage, unit, total) in order; stages stand in the order of their first tasks."""
        self._stages: dict[str, _StageState] = {}
        self._stage_of: dict[str, str] = {}
        for name, stage, unit, total in tasks:
            state = self._stages.setdefault(stage, _StageState(unit))
            state.tasks[name] = _TaskState(total)
            state.left += 1
            self._stage_of[name] = stage

    def begin_with(self, names: Iterable[str]) -> None:
        """These tasks were done before; no rate counts them."""
        for name in names:
            stage = self._stages[self._stage_of[name]]
            task = stage.tasks[name]
            task.ended = stage.moved = True
            stage.now_done(task, task.total)
            stage.done_before += task.total
            stage.left -= 1

    def update(self, letters: Mapping[str, Letter], now: float) -> None:
        """Take in the newest letter of each task."""
        for name, letter in letters.items():
            stage = self._stages[self._stage_of[name]]
            task = stage.tasks[name]
            if letter.metrics:
                stage.metrics = letter.metrics
            if task.ended:
                continue
            task.heard_on(letter.node, now)
            task.running = True
            done = 0.0
            if letter.done is not None:
                task.total = letter.total
                done = min(max(letter.done, 0.0), letter.total)
            stage.now_done(task, done)
            found = min(letter.done_before, done)
            stage.done_before += found - task.done_before
            task.done_before = found
            _note_change(stage, now)

    def ended(self, name: str, *, failed: bool, now: float, node: str = "") -> None:
        """A task came to its end, on a node if that is known; what a failed one has not done stays undone."""
        stage = self._stages[self._stage_of[name]]
        task = stage.tasks[name]
        stage.left -= not task.ended
        if node:
            task.heard_on(node, now)  # where it began again, which a short one may never have told
        task.running, task.ended, task.failed = False, True, failed
        if not failed:
            stage.now_done(task, task.total)
        _note_change(stage, now)
        if not stage.left:
            stage.done = sum(other.done for other in stage.tasks.values())  # without what rounding has left
            stage.ended_at = now

    def lately_left(self, now: float) -> set[str]:
        """Nodes of which a task told lately that it has begun again on another one."""
        tasks = (task for stage in self._stages.values() for task in stage.tasks.values() if task.left)
        return {node for task in tasks for node in task.left if task.has_lately_left(node, now)}

    def lost_with(self, node: str, now: float) -> tuple[str, ...]:
        """Names of the tasks that a dead node cut off, as far as they told: those under way there, and those that have
        begun again elsewhere, or even ended there, since it died, which is known later than its tasks are moved.
        """
        tasks = ((name, task) for stage in self._stages.values() for name, task in stage.tasks.items())
        return tuple(
            name for name, task in tasks if (task.running and task.node == node) or task.has_lately_left(node, now)
        )

    def moved(self, now: float) -> tuple[StageProgress, ...]:
        """The stages that changed since the last call, or that are under way."""
        names = [
            name
            for name, stage in self._stages.items()
            if stage.moved or any(task.running for task in stage.tasks.values())
        ]
        for name in names:
            self._stages[name].moved = False
        return tuple(self._snapshot(name, now) for name in names)

    def stages(self, now: float) -> tuple[StageProgress, ...]:
        """All stages."""
        return tuple(self._snapshot(name, now) for name in self._stages)

    def _snapshot(self, name: str, now: float) -> StageProgress:
        stage = self._stages[name]
        tasks = stage.tasks.values()
        total = sum(task.total for task in tasks)
        now = now if stage.ended_at is None else stage.ended_at
        rate = _rate(stage, now)
        return StageProgress(
            stage=name,
            done=stage.done,
            total=total,
            unit=stage.unit,
            running=tuple(task for task, state in stage.tasks.items() if state.running),
            tasks_done=sum(task.ended and not task.failed for task in tasks),
            tasks_failed=sum(task.failed for task in tasks),
            num_tasks=len(stage.tasks),
            elapsed_s=0.0 if stage.begun_at is None else now - stage.begun_at,
            rate_per_s=rate,
            eta_s=(total - stage.done) / rate if rate and stage.ended_at is None else None,
            metrics=stage.metrics,
        )


def _note_change(stage: _StageState, now: float) -> None:
    stage.moved = True
    if stage.begun_at is None:
        stage.begun_at = now
        stage.changes.append((now, 0.0))
    done = stage.done - stage.done_before
    if done < stage.changes[-1][1]:
        # A task began again: measure from here, not across the loss.
        stage.changes.clear()
        stage.changes.append((now, done))
    elif done > stage.changes[-1][1]:
        stage.changes.append((now, done))
    while len(stage.changes) > RATE_CHANGES and stage.changes[1][0] <= now - RATE_WINDOW_S:
        stage.changes.popleft()


def _rate(stage: _StageState, now: float) -> float | None:
    if len(stage.changes) < 2 or now <= stage.changes[0][0]:
        return None
    return (stage.changes[-1][1] - stage.changes[0][1]) / (now - stage.changes[0][0])
