"""One job at a time: a queue before the device, in which everybody has one place and can leave it.

A job is a function of its :class:`Job`, which it tells how far it is; what it tells is also where it ends once nobody
wants it any more. It knows no model and no page.
"""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from pipeline.contracts.errors import ResourceError, RodinError

MOST_WAITING: Final = 16
"""Jobs that may wait; who comes then is told to come again."""
UNWATCHED_S: Final = 30.0
"""A job of which nobody has asked for so long is cancelled: its page is closed."""

Result = TypeVar("Result")


class Cancelled(Exception):
    """Nobody wants the job any more."""


class State(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class News:
    """What a job's owner is told."""

    state: State
    ahead: int = 0
    """Jobs before it, the one in work included."""
    behind: int = 0
    """Jobs that wait behind it."""
    share: float = 0.0
    """Of its work, 0 to 1."""
    words: str = ""
    """What it does, or, where it failed, why."""


@dataclass(eq=False)
class Job(Generic[Result]):
    """One piece of work and how far it is; its fields are read and written under its queue's lock."""

    owner: str
    work: Callable[["Job[Result]"], Result]
    state: State = State.WAITING
    share: float = 0.0
    words: str = ""
    result: Result | None = None
    early: str | None = None
    """What there is to look at before the work is done."""
    unwanted: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    """When somebody last asked for news."""

    def tell(self, share: float, words: str) -> None:
        """Say how far the work is; raises ``Cancelled`` once nobody wants it."""
        self.share, self.words = share, words
        if self.unwanted or time.monotonic() - self.asked_at > UNWATCHED_S:
            raise Cancelled

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self.state in (State.DONE, State.FAILED, State.CANCELLED)


class Jobs(Generic[Result]):
    """The queue before one device, and the thread that works it off until :meth:`close`."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._waiting: list[Job[Result]] = []
        self._working: Job[Result] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="studio", daemon=True)
        self._thread.start()

    def submit(self, owner: str, work: Callable[[Job[Result]], Result]) -> Job[Result]:
        """Queue a job; raises ``ResourceError`` where its owner has one already, or too many wait."""
        with self._changed:
            if any(job.owner == owner and not job.unwanted for job in self._there()):
                raise ResourceError("the avatar before is still in the making: wait for it, or stop it")
            if len(self._waiting) >= self._most_waiting:
                raise ResourceError(f"{len(self._waiting)} avatars wait already: try again in a few minutes")
            job = Job(owner, work)
            self._waiting.append(job)
            self._changed.notify_all()
            return job

    def news(self, job: Job[Result]) -> News:
        """How far a job is; a job that nobody asks for is cancelled in time."""
        with self._changed:
            job.asked_at = time.monotonic()
            ahead, behind = 0, len(self._waiting)
            if job in self._waiting:
                place = self._waiting.index(job)
                ahead, behind = place + (self._working is not None), behind - place - 1
            return News(job.state, ahead, behind, job.share, job.words)

    def length(self) -> int:
        """Jobs that wait or are in work."""
        with self._changed:
            return len(self._there())

    def cancel(self, owner: str) -> bool:
        """End an owner's job, now where it waits and at its next word where it is in work; whether there was one."""
        with self._changed:
            mine = [job for job in self._there() if job.owner == owner]
            for job in mine:
                self._drop(job)
            return bool(mine)

    def close(self) -> None:
        """End all jobs and the thread."""
        with self._changed:
            self._closing = True
            for job in self._there():
                self._drop(job)
            self._changed.notify_all()
        self._thread.join()

    def _there(self) -> list[Job[Result]]:
        return [*([self._working] if self._working is not None else []), *self._waiting]

    def _drop(self, job: Job[Result]) -> None:
        job.unwanted = True
        if job in self._waiting:
            self._waiting.remove(job)
            job.state = State.CANCELLED

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting)
                if self._closing:
                    return
                job = self._waiting.pop(0)
                if time.monotonic() - job.asked_at > UNWATCHED_S:
                    job.state = State.CANCELLED
                    continue
                job.state, self._working = State.WORKING, job
            state, words, result = self._worked(job)
            with self._changed:
                job.state, job.words, job.result, self._working = state, words, result, None

    @staticmethod
    def _worked(job: Job[Result]) -> tuple[State, str, Result | None]:
        try:
            return State.DONE, "", job.work(job)
        except Cancelled:
            return State.CANCELLED, "", None
        except (RodinError, OSError) as error:
            return State.FAILED, " ".join(str(error).split()), None
        except Exception as error:  # one job's fault ends that job, and the next one is worked on
            traceback.print_exc()
            return State.FAILED, f"this went wrong: {type(error).__name__}; the terminal says where", None
