"""The queue before the device: one at a time, places told, and an end for what nobody wants."""

import threading
import time

import pytest

from pipeline.contracts.errors import DataError, ResourceError
from pipeline.studio import jobs as module
from pipeline.studio.jobs import Jobs, State


@pytest.fixture
def jobs():
    queue = Jobs(most_waiting=3)
    yield queue
    queue.close()


class Held:
    """Work that goes on until it is let go, and notes that it ran."""

    def __init__(self):
        self.begun, self.let_go, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, job):
        self.begun.set()
        try:
            while not self.let_go.wait(0.005):
                job.tell(0.5, "half")
            return "made"
        finally:
            self.ended.set()


def over(jobs, job, timeout_s=10.0):
    """What is told of a job once it is over."""
    end = time.monotonic() + timeout_s
    while not job.is_over:
        assert time.monotonic() < end
        jobs.news(job)
        time.sleep(0.005)
    return jobs.news(job)


def test_one_at_a_time_in_order_with_places_told(jobs):
    works = [Held() for _ in range(3)]
    queued = [jobs.submit(f"owner {number}", work) for number, work in enumerate(works)]
    assert works[0].begun.wait(10)
    assert [(jobs.news(job).ahead, jobs.news(job).behind) for job in queued] == [(0, 2), (1, 1), (2, 0)]
    assert jobs.length() == 3
    assert not works[1].begun.is_set() and jobs.news(queued[1]).state is State.WAITING
    works[0].let_go.set()
    assert works[1].begun.wait(10) and works[0].ended.is_set()
    assert not works[2].begun.is_set()
    assert queued[0].result == "made" and over(jobs, queued[0]).state is State.DONE
    for work in works:
        work.let_go.set()
    assert over(jobs, queued[2]).state is State.DONE and jobs.length() == 0


def test_what_is_in_work_ends_at_its_next_word_and_the_next_begins(jobs):
    first, second = Held(), Held()
    one, two = jobs.submit("a", first), jobs.submit("b", second)
    assert first.begun.wait(10)
    assert jobs.cancel("a") and over(jobs, one).state is State.CANCELLED
    assert first.ended.is_set() and one.result is None
    assert second.begun.wait(10)
    second.let_go.set()
    assert over(jobs, two).state is State.DONE
    assert not jobs.cancel("a"), "there is nothing left"


def test_what_waits_leaves_the_queue_at_once(jobs):
    first, second = Held(), Held()
    jobs.submit("a", first)
    assert first.begun.wait(10)
    waiting = jobs.submit("b", second)
    assert jobs.cancel("b") and waiting.state is State.CANCELLED and jobs.length() == 1
    first.let_go.set()
    jobs.close()
    assert not second.begun.is_set()


def test_an_owner_has_one_job_and_a_queue_an_end(jobs):
    first = Held()
    jobs.submit("a", first)
    assert first.begun.wait(10)
    with pytest.raises(ResourceError, match="still in the making"):
        jobs.submit("a", Held())
    for owner in "bcd":
        jobs.submit(owner, Held())
    with pytest.raises(ResourceError, match="3 avatars wait already"):
        jobs.submit("e", Held())


def test_a_job_that_nobody_asks_for_ends(jobs, monkeypatch):
    monkeypatch.setattr(module, "UNWATCHED_S", 0.2)
    left, watched = Held(), Held()
    job = jobs.submit("a", left)
    assert left.ended.wait(10)
    other = jobs.submit("b", watched)
    for _ in range(40):
        assert jobs.news(other).state is not State.CANCELLED
        time.sleep(0.01)
    watched.let_go.set()
    assert over(jobs, other).state is State.DONE and job.state is State.CANCELLED


def test_a_fault_is_that_jobs_alone(jobs, capsys):
    def refused(job):
        raise DataError("no\nface")

    def broken(job):
        raise RuntimeError("a bug")

    one, two, three = jobs.submit("a", refused), jobs.submit("b", broken), jobs.submit("c", lambda job: "made")
    assert over(jobs, three).state is State.DONE
    assert jobs.news(one).state is State.FAILED and jobs.news(one).words == "no face"
    assert jobs.news(two).words == "this went wrong: RuntimeError; the terminal says where"
    assert "a bug" in capsys.readouterr().err


def test_closing_ends_all(jobs):
    first = Held()
    one, two = jobs.submit("a", first), jobs.submit("b", Held())
    assert first.begun.wait(10)
    jobs.close()
    assert first.ended.is_set() and one.state is State.CANCELLED and two.state is State.CANCELLED
