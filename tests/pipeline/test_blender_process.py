"""The parent's side of a Blender worker, against a stand-in that succeeds, fails, hangs and crashes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.fake_blender import make_fake_blender, render_view, small_job

from pipeline import blender_process
from pipeline.blender_process import LOG_TAIL_CHARACTERS, BlenderOutcome, run_blender
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.rendering import (
    AvatarPublished,
    Event,
    FrameWritten,
    RenderJob,
    WorkerDone,
    WorkerResult,
    WorkerStarted,
)
from pipeline.io.avatar_folder import verify_avatar_folder

pytestmark = pytest.mark.seconds

ROOT = Path(blender_process.__file__).parents[1]


def run(tmp_path: Path, python: str, *, avatars: tuple[int, ...] = (1, 2), timeout_s: float = 30.0) -> BlenderOutcome:
    return run_blender(small_job(tmp_path / "out", avatars, size=8), python=python, timeout_s=timeout_s)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def script(tmp_path: Path, body: str) -> str:
    """An executable that runs Python ``body`` with ``output`` defined."""
    path = tmp_path / "script"
    path.write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys, time\n")
    with path.open("a") as handle:
        handle.write("output = pathlib.Path(sys.argv[3]).parent\n" + body)
    path.chmod(0o755)
    return str(path)


def test_a_worker_that_succeeds(tmp_path: Path) -> None:
    events: list[Event] = []
    job = small_job(tmp_path / "out", (1, 2), size=8)
    outcome = run_blender(job, python=make_fake_blender(tmp_path), timeout_s=30, on_event=events.append)
    assert outcome.result is not None and outcome.result.done == (1, 2)
    assert (outcome.exit_code, outcome.killed_by_watchdog, outcome.reason, outcome.failures) == (0, False, "", ())
    assert outcome.avatar_in_work is None and outcome.num_events == len(events)
    avatars = [[*(FrameWritten(avatar=a, view=view) for view in range(3)), AvatarPublished(avatar=a)] for a in (1, 2)]
    assert events == [WorkerStarted(), *avatars[0], *avatars[1], WorkerDone()]
    for name in ("a000001", "a000002"):
        verify_avatar_folder(tmp_path / "out" / name, views=range(3))
    assert RenderJob.from_json((tmp_path / "out" / "job.json").read_bytes()) == job


def test_a_failed_avatar_is_reported_and_the_others_are_there(tmp_path: Path) -> None:
    outcome = run(tmp_path, make_fake_blender(tmp_path, fail=(1,)))
    assert outcome.result is not None and outcome.result.done == (2,)
    assert [(f.avatar, f.reason, f.log_tail) for f in outcome.failures] == [(1, "asked to fail", "the log")]


def test_a_hanging_worker_is_killed_in_time_with_all_its_children(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome = run(tmp_path, make_fake_blender(tmp_path, hang=(2,)), timeout_s=3)
    assert time.monotonic() - started < 20
    assert outcome.killed_by_watchdog and outcome.exit_code == -signal.SIGKILL
    assert outcome.reason == "Blender was killed: no frame for 3 s"
    assert outcome.result is None and [failure.avatar for failure in outcome.failures] == [2]
    child = int((tmp_path / "out" / "child.pid").read_text())
    assert wait_until(lambda: not is_alive(child))
    assert (tmp_path / "out" / "a000001").is_dir() and not (tmp_path / "out" / "a000002").exists()


def test_slow_frames_are_no_hang(tmp_path: Path) -> None:
    python = make_fake_blender(tmp_path, sleep_s=0.6)
    outcome = run_blender(small_job(tmp_path / "out", (1,), num_views=5, size=8), python=python, timeout_s=2.5)
    assert outcome.result is not None and not outcome.killed_by_watchdog and outcome.seconds > 5 * 0.6 > 2.5


def test_a_crash_is_told_by_its_signal_with_the_end_of_the_log(tmp_path: Path) -> None:
    outcome = run(tmp_path, make_fake_blender(tmp_path, crash=(2,)))
    assert outcome.exit_code == -signal.SIGSEGV and not outcome.killed_by_watchdog
    assert outcome.reason == "Blender died of SIGSEGV (no result.json)"
    assert "Segmentation fault in a shader" in outcome.log_tail
    (failure,) = outcome.failures
    assert (failure.avatar, failure.reason, failure.log_tail) == (2, outcome.reason, outcome.log_tail)


def test_a_crash_while_an_avatar_is_built_is_laid_to_that_one(tmp_path: Path) -> None:
    body = """
(output / "a000001").mkdir()
with (output / "progress.jsonl").open("w") as handle:
    for event, avatar in (("start", None), ("avatar", 1), ("failed", 2)):
        handle.write(json.dumps({"event": event, "avatar": avatar}) + "\\n")
os.kill(os.getpid(), 6)
"""
    outcome = run(tmp_path, script(tmp_path, body), avatars=(1, 2, 3, 4))
    assert outcome.avatar_in_work == 3 and [failure.avatar for failure in outcome.failures] == [3]


def test_a_worker_that_cannot_even_start_blames_no_avatar(tmp_path: Path) -> None:
    outcome = run(tmp_path, make_fake_blender(tmp_path, broken=True))
    assert outcome.reason == "Blender ended with exit code 1 (no result.json)"
    assert "ImportError: libXi.so.6" in outcome.log_tail
    assert outcome.failures == () and outcome.avatar_in_work is None and outcome.num_events == 0


def test_a_fault_that_strikes_once_is_gone_at_the_next_attempt(tmp_path: Path) -> None:
    python = make_fake_blender(tmp_path, crash=(1,), once=True)
    first, second = (
        run_blender(small_job(tmp_path / name, (1, 2), size=8), python=python, timeout_s=30) for name in ("x", "y")
    )
    assert first.result is None and second.result is not None and second.result.done == (1, 2)


def test_only_the_end_of_a_long_log_is_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path, make_fake_blender(tmp_path, chatter=2000), avatars=(1,))
    log = (tmp_path / "out" / "log.txt").read_text()
    assert len(log) > 100_000 and outcome.log_tail == log[-LOG_TAIL_CHARACTERS:]


def test_a_result_written_before_a_crash_at_the_very_end_counts(tmp_path: Path) -> None:
    result = WorkerResult(done=(1,), failures=(), versions={}, device="CPU", seconds={}).to_json()
    body = f"(output / 'result.json').write_text({result!r})\nos.kill(os.getpid(), 11)\n"
    outcome = run(tmp_path, script(tmp_path, body))
    assert outcome.result is not None and outcome.reason == "" and outcome.exit_code == -signal.SIGSEGV


def test_a_damaged_result_is_none_and_said(tmp_path: Path) -> None:
    outcome = run(tmp_path, script(tmp_path, "(output / 'result.json').write_text('{')"))
    assert outcome.result is None and outcome.exit_code == 0
    assert outcome.reason.startswith("Blender ended with exit code 0 (damaged result.json")
    assert "\n" not in outcome.reason


def test_events_are_read_once_however_they_are_cut(tmp_path: Path) -> None:
    body = """
with (output / "progress.jsonl").open("ab", buffering=0) as handle:
    for piece in (
        b'{"event": "start", "ava',
        b'tar": null}\\n{"event": "fr',
        b'ame", "avatar": 7, "view": 0}\\n',
        b'rubbish\\n[1]\\n{"e',
    ):
        handle.write(piece)
        time.sleep(0.25)
"""
    events: list[Event] = []
    job = small_job(tmp_path / "out", (7,), size=8)
    outcome = run_blender(job, python=script(tmp_path, body), timeout_s=30, on_event=events.append)
    assert events == [WorkerStarted(), FrameWritten(avatar=7, view=0)]
    assert [failure.avatar for failure in outcome.failures] == [7]


def test_printing_is_no_sign_of_life(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, script(tmp_path, "while True:\n    print('x', flush=True)\n    time.sleep(0.05)\n"), timeout_s=1
    )
    assert outcome.killed_by_watchdog


def test_what_a_worker_started_dies_with_it_even_if_it_ends_well(tmp_path: Path) -> None:
    body = "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)\n"
    outcome = run(tmp_path, script(tmp_path, body))
    assert outcome.exit_code == 0
    assert wait_until(lambda: not is_alive(int(outcome.log_tail)))


def test_the_worker_is_gone_when_a_callback_raises(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    body = """
(output / "pid").write_text(str(os.getpid()))
(output / "progress.jsonl").write_text('{"event": "start"}\\n')
time.sleep(600)
"""
    job = small_job(tmp_path / "out", (1,), size=8)
    with pytest.raises(KeyboardInterrupt):
        run_blender(job, python=script(tmp_path, body), timeout_s=30, on_event=interrupt)
    assert not is_alive(int((tmp_path / "out" / "pid").read_text()))


def test_threads_path_and_arguments_reach_the_worker(tmp_path: Path) -> None:
    body = """
import pipeline
print(json.dumps([os.environ["OMP_NUM_THREADS"], pipeline.__file__, sys.argv[1:], os.getppid(), os.getsid(0)]))
"""
    outcome = run(tmp_path, script(tmp_path, body))
    threads, package, arguments, parent, session = json.loads(outcome.log_tail)
    assert threads == "1" and Path(package) == ROOT / "pipeline" / "__init__.py"
    job_json = str(tmp_path / "out" / "job.json")
    assert arguments == ["-m", "blender_scripts.worker", job_json, "--parent", str(os.getpid())]
    assert parent == os.getpid() and session != os.getsid(0)


def test_a_relative_interpreter_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(script(tmp_path, "print('hello')")).parent)
    assert run(tmp_path, "./script").log_tail == "hello\n"


def test_an_interpreter_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"render.python is '/no/python', which cannot be started .No such file"):
        run(tmp_path, "/no/python")


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    job = small_job(tmp_path / "out", (1,), size=8)
    (tmp_path / "job.json").write_text(job.to_json())
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline.blender_process import run_blender\n"
        "from pipeline.contracts.rendering import RenderJob\n"
        "job = RenderJob.from_json(Path(sys.argv[1]).read_bytes())\n"
        "run_blender(job, python=sys.argv[2], timeout_s=600)\n"
    )
    python = make_fake_blender(tmp_path, hang=(1,))
    child = tmp_path / "out" / "child.pid"
    command = [sys.executable, "-c", code, str(tmp_path / "job.json"), python]
    with subprocess.Popen(command, cwd=ROOT) as parent:
        assert wait_until(lambda: child.exists() and bool(child.read_text()), 30)
        worker = int(Path(f"/proc/{child.read_text()}/stat").read_text().rpartition(")")[2].split()[1])
        assert is_alive(worker)
        parent.kill()
    assert wait_until(lambda: not is_alive(worker))
    os.kill(int(child.read_text()), signal.SIGKILL)  # the stand-in's sleeper has no death signal of its own


def test_the_stand_in_gives_the_same_bytes_again_and_people_inside_the_cube(tmp_path: Path) -> None:
    python = make_fake_blender(tmp_path)
    for name in ("x", "y"):
        run_blender(small_job(tmp_path / name, (1, 2), size=16), python=python, timeout_s=30)
    one, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*_v*")}
        for name in ("x", "y")
    )
    assert one == other and len(one) == 2 * 3 * 3
    job = small_job(tmp_path / "z", (1,), size=64)
    avatar = job.avatars[0]
    for view in avatar.views:
        rgba, depth = render_view(avatar.spec, view, job.settings.depth_scale)
        rows, columns = np.nonzero(depth)
        z = depth[rows, columns] * job.settings.depth_scale
        points = view.camera.unproject(np.stack((columns + 0.5, rows + 0.5, z), -1))
        assert np.abs(points).max() < 1 and len(points) > 200
        assert rgba[rows, columns, 3].min() > 0
