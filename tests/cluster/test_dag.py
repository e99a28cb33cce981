import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.dag import Task, TaskFailed, TaskTiming, by_one_clock, run_tasks
from cluster.progress import StageProgress
from cluster.session import SessionInfo
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.contracts.stage import Progress

pytestmark = pytest.mark.ray


def join(item: str, inputs: tuple[Any, ...], progress: Progress) -> str:
    """The item followed by its inputs in brackets."""
    return item + (f"({','.join(inputs)})" if inputs else "")


def sleep(item: float, inputs: tuple[Any, ...], progress: Progress) -> float:
    time.sleep(item)
    return item


def count(item: int, inputs: tuple[Any, ...], progress: Progress) -> int:
    for step in range(1, item + 1):
        time.sleep(0.05)
        progress(step, item)
    return item


def fail(item: Exception, inputs: tuple[Any, ...], progress: Progress) -> None:
    raise item


def see(item: None, inputs: tuple[Any, ...], progress: Progress) -> tuple[Any, ...]:
    return inputs


def wait_for(path: Path) -> None:
    """Until there is such a file; in Ray's processes, which know nothing of ``tests/support``."""
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def die(item: tuple[Path, int], inputs: tuple[Any, ...], progress: Progress) -> int:
    """Is killed in its first ``times`` attempts, half done each time; returns the number of the attempt.

    Where a driver leaves files of what it sees beside ``log``, it is waited for.
    """
    log, times = item
    with log.open("a") as file:
        file.write("x")
    attempt = len(log.read_text())
    watched = log.with_name("watched").exists()
    if watched:
        wait_for(log.with_name("saw-0"))
    progress(1, 2)
    if watched:
        wait_for(log.with_name("saw-1"))
        log.with_name("saw-0").unlink()  # the driver sees a nought again only when another attempt has begun
    if attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt


def test_a_diamond_runs_in_order_and_gets_its_inputs_in_order(session: SessionInfo) -> None:
    results = run_tasks(
        [
            Task("d", "join", join, "d", after=("c", "b")),  # handed over in no helpful order
            Task("b", "join", join, "b", after=("a",)),
            Task("c", "join", join, "c", after=("a",)),
            Task("a", "join", join, "a"),
        ]
    )
    assert results["d"] == "d(c(a),b(a))"
    times = results.timings
    assert times["b"].begun_at >= times["a"].ended_at
    assert times["d"].begun_at >= max(times["b"].ended_at, times["c"].ended_at)
    assert all(timing.begun_at <= timing.ended_at and timing.node for timing in times.values())


def test_a_task_begins_while_tasks_it_does_not_need_still_run(session: SessionInfo) -> None:
    results = run_tasks(
        [
            Task("render/0", "render", sleep, 0.1),
            Task("render/1", "render", sleep, 2.0),
            Task("fit/0", "fit", sleep, 0.0, after=("render/0",)),
        ]
    )
    assert results.timings["fit/0"].begun_at < results.timings["render/1"].ended_at


def test_times_of_a_node_whose_clock_is_wrong_are_moved() -> None:
    timings = {
        "a": TaskTiming(100.0, 110.0, "right"),
        "b": TaskTiming(3710.0, 3720.0, "ahead"),
        "c": TaskTiming(3725.0, 3725.5, "ahead"),
        "d": TaskTiming(-3470.0, -3465.0, "behind"),
    }
    known_at = {"a": 110.2, "b": 120.1, "c": 126.0, "d": 135.0}
    moved = by_one_clock(timings, known_at)
    assert moved["a"] == timings["a"]
    spans = {name: (timing.begun_at, timing.ended_at) for name, timing in moved.items()}
    assert spans["b"] == pytest.approx((110.1, 120.1)), "the least delay of its node counts"
    assert spans["c"] == pytest.approx((125.1, 125.6))
    assert spans["d"] == pytest.approx((130.0, 135.0))


def test_tasks_that_need_all_cpus_run_in_the_order_of_submission(session: SessionInfo) -> None:
    names = [f"t{index}" for index in range(8)]
    results = run_tasks([Task(name, "t", sleep, 0.02, num_cpus=2.0) for name in names])
    assert sorted(names, key=lambda name: results.timings[name].begun_at) == names


def test_a_raise_reaches_those_behind_it_as_a_value(session: SessionInfo) -> None:
    results = run_tasks(
        [
            Task("bad", "t", fail, ValueError("two\nlines")),
            Task("mended", "t", fail, DataError("shard-00001.tar is cut off: render it again")),
            Task("good", "t", join, "good"),
            Task("behind", "t", see, None, after=("bad", "good", "mended")),
        ]
    )
    bad, good, mended = results["behind"]
    assert (bad, good, mended) == (results["bad"], "good", results["mended"])
    assert isinstance(bad, TaskFailed)
    assert (bad.task, bad.reason) == ("bad", "ValueError: two lines")
    assert "in fail" in bad.traceback
    assert mended.reason == "shard-00001.tar is cut off: render it again"


def test_a_task_whose_worker_is_killed_runs_again(session: SessionInfo, tmp_path: Path) -> None:
    told: list[StageProgress] = []
    (tmp_path / "watched").touch()

    def watch(stage: StageProgress) -> None:
        told.append(stage)
        if stage.stage == "t" and stage.running:
            (tmp_path / f"saw-{stage.done:g}").touch()

    results = run_tasks(
        [
            Task("killed", "t", die, (tmp_path / "log", 1), total=2.0),
            Task("behind", "u", see, None, after=("killed",)),
        ],
        on_progress=watch,
    )
    assert (results["killed"], results["behind"]) == (2, (2,))
    done = [stage.done for stage in told if stage.stage == "t"]
    assert done[-1] == 2.0
    assert 0.0 in done[done.index(1.0) :]  # the second attempt began with nothing


def test_a_line_tells_of_each_task_that_ends(session: SessionInfo, tmp_path: Path) -> None:
    told: list[str] = []
    run_tasks(
        [
            Task("well", "t", join, "x"),
            Task("ill", "t", fail, DataError("no good")),
            Task("dead", "t", die, (tmp_path / "log", 1), max_retries=0),
            Task("known", "t", join, "x", is_done=True),
        ],
        on_ended=told.append,
    )
    lines = sorted(told)
    assert len(lines) == 3, "what was done before has not ended now"
    assert re.fullmatch(r"dead: failed: \w+: .+", lines[0])
    assert re.fullmatch(r"ill: failed on [\d.]+, \d+\.\d s: no good", lines[1])
    assert re.fullmatch(r"well: done on [\d.]+, \d+\.\d s", lines[2])


def test_a_task_whose_worker_is_killed_too_often_has_failed(session: SessionInfo, tmp_path: Path) -> None:
    results = run_tasks(
        [
            Task("killed", "t", die, (tmp_path / "log", 9), max_retries=1),
            Task("good", "t", join, "good"),
            Task("behind", "t", see, None, after=("killed", "good")),
            Task("last", "t", see, None, after=("behind",)),
        ]
    )
    assert len((tmp_path / "log").read_text()) == 2
    assert isinstance(results["killed"], TaskFailed)
    assert "died" in results["killed"].reason
    assert results["behind"] == (results["killed"], "good")
    assert results["last"] == (results["behind"],)


def test_progress_grows_and_ends_complete(session: SessionInfo) -> None:
    told: list[StageProgress] = []
    run_tasks(
        [Task(f"count/{index}", "count", count, 30, total=30.0, unit="step") for index in range(3)],
        on_progress=told.append,
    )
    done = [stage.done for stage in told]
    assert done == sorted(done)
    assert any(0.0 < value < 90.0 for value in done)
    assert {stage.unit for stage in told} == {"step"}
    assert any(stage.running and stage.rate_per_s and stage.eta_s for stage in told)
    last = told[-1]
    assert (last.done, last.total, last.tasks_done, last.running, last.ended) == (90.0, 90.0, 3, (), True)


def test_what_is_known_to_be_done_is_counted_and_not_run(session: SessionInfo) -> None:
    told: list[StageProgress] = []
    results = run_tasks(
        [
            Task("t/0", "t", fail, ValueError("it was run"), total=3.0, is_done=True, num_cpus=64.0),
            Task("t/1", "t", see, None, after=("t/0",), total=3.0),
        ],
        on_progress=told.append,
    )
    assert results == {"t/0": None, "t/1": (None,)}
    assert list(results.timings) == ["t/1"]
    assert (told[-1].done, told[-1].tasks_done) == (6.0, 2)
    assert run_tasks([Task("t", "t", fail, ValueError("it was run"), is_done=True)]) == {"t": None}


def test_a_task_too_large_for_every_node_is_refused(session: SessionInfo) -> None:
    started = time.monotonic()
    with pytest.raises(ResourceError, match=r"^big needs 64 CPUs .* the nodes have 2 CPUs"):
        run_tasks([Task("big", "t", join, "x", num_cpus=64.0)])
    assert time.monotonic() - started < 5.0


def test_a_gpu_is_asked_for_only_where_there_is_one(session: SessionInfo) -> None:
    assert session.gpus == 0.0
    assert run_tasks([Task("t", "t", join, "x", num_gpus=1.0)])["t"] == "x"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([Task("a", "t", join, "a"), Task("a", "t", join, "b")], "one name"),
        ([Task("a", "t", join, "a", after=("b",))], "a comes after b"),
        ([Task("a", "t", join, "a", after=("b",)), Task("b", "t", join, "b", after=("a",))], "wait for each other"),
    ],
)
def test_a_graph_that_is_none_is_refused(session: SessionInfo, tasks: list[Task], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_tasks(tasks)
