import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from cluster.session import _probe, _session_folder, ray_session
from pipeline.contracts.errors import ResourceError

DRIVER = """
import json, os, sys, time
import ray
import psutil  # Ray's own copy
from cluster.dag import Task, run_tasks
from cluster.session import ray_session

def hang(item, inputs, progress):
    import pipeline.contracts.naming  # not what stands where the command was given
    open(item, "w").write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    report, mark = sys.argv[1:]
    def tell(progress):
        if os.path.exists(mark) and not os.path.exists(report):
            folder = ray._private.worker._global_node.get_temp_dir_path()
            pids = [process.pid for process in psutil.Process().children(recursive=True)]
            with open(report + ".new", "w") as file:
                json.dump({"pids": pids, "folder": folder}, file)
            os.rename(report + ".new", report)
    with ray_session(None, num_cpus=1):
        run_tasks([Task("hang", "hang", hang, mark)], on_progress=tell)
"""

REFUSED = """
import sys, time
from cluster.session import ray_session
from pipeline.contracts.errors import ResourceError
for address in sys.argv[1:]:
    started = time.monotonic()
    try:
        with ray_session(address):
            print("connected")
    except ResourceError as error:
        print(f"{time.monotonic() - started:.1f} {error}")
"""


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@pytest.mark.ray
@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_nothing_outlives_its_driver(tmp_path: Path, sent: signal.Signals) -> None:
    report = tmp_path / "report.json"
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pipeline.py").write_text("x = 1")
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), str(report), str(tmp_path / "mark")],
        cwd=tmp_path / "elsewhere",  # the package is found wherever the driver stands
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    wait_for(report.exists, 300.0)
    record = json.loads(report.read_text())
    processes = {pid: started(pid) for pid in record["pids"]}
    assert len([pid for pid, when in processes.items() if when is not None]) > 2
    folder = Path(record["folder"])
    assert folder.exists()

    driver.send_signal(sent)
    driver.wait(30.0)
    assert driver.returncode != 0

    def alive() -> list[int]:
        return [pid for pid, when in processes.items() if when is not None and started(pid) == when]

    wait_for(lambda: not alive(), 20.0, lambda: [Path(f"/proc/{pid}/cmdline").read_text() for pid in alive()])
    wait_for(lambda: not folder.exists(), 5.0)


def test_a_process_of_the_session_dies_with_it() -> None:
    with _session_folder() as folder:
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)  # inherits the session's mark
    assert child.wait(10.0) == -signal.SIGKILL
    assert not folder.exists()


def test_a_folder_whose_driver_and_reaper_were_killed_is_removed() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rodin-ray-"))
    (folder / "lock").touch()
    with _session_folder():
        assert not folder.exists()


def test_the_folder_of_a_living_session_stays() -> None:
    with _session_folder() as first, _session_folder() as second:
        assert first.exists()
        assert second != first
        with (first / "lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not first.exists()


def test_the_folder_is_short_enough_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with _session_folder() as folder:
        longest = folder / "session_2026-01-01_00-00-00_000000_0000000" / "sockets" / "plasma_store"
        assert len(str(longest)) <= 107


@pytest.mark.ray
def test_an_address_that_does_not_answer_is_refused_in_one_line() -> None:
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as mute:
        closed.bind(("127.0.0.1", 0))  # bound, but it does not listen
        addresses = [
            f"127.0.0.1:{closed.getsockname()[1]}",
            f"ray://127.0.0.1:{closed.getsockname()[1]}",
            f"127.0.0.1:{mute.getsockname()[1]}",  # something listens, but it is not Ray
            "nonsense",
        ]
        run = subprocess.run(
            [sys.executable, "-c", REFUSED, *addresses], env=environment(), capture_output=True, text=True, timeout=60
        )
    lines = run.stdout.splitlines()
    assert len(lines) == len(addresses), run.stdout + run.stderr
    for line, address in zip(lines, addresses, strict=True):
        seconds, message = line.split(" ", 1)
        assert float(seconds) < 10.0
        assert message.startswith(f"no Ray cluster answers at {address}: ")


class OnlyWith(grpc.GenericRpcHandler):
    """As much of a Ray server as tells who wants in."""

    def __init__(self, token: str) -> None:
        self.token = token

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        shown = dict(details.invocation_metadata).get("authorization", "")

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if shown != f"Bearer {self.token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "missing or incorrect")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.ray
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_wants_a_token_says_so(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    server = grpc.server(ThreadPoolExecutor(1), handlers=(OnlyWith("secret"),))
    address = f"{scheme}127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:

        def told() -> str:
            with pytest.raises(ResourceError) as caught, ray_session(address):
                pass
            return str(caught.value)

        assert told().startswith(f"the Ray cluster at {address} wants a token: set RAY_AUTH_MODE=token, ")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
        assert "wants a token: set RAY_AUTH_MODE=token" in told(), "Ray shows it in that mode only"
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        _probe(address)
        monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
        assert f"the Ray cluster at {address} refuses the token of RAY_AUTH_TOKEN: " in told()
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("other\n")
        assert f"refuses the token of {tmp_path}/.ray/auth_token: " in told()
        (tmp_path / ".ray" / "auth_token").write_text("secret\n")
        _probe(address)
        assert capfd.readouterr() == ("", ""), "one line, and it is ours"
    finally:
        server.stop(None)


def wait_for(
    condition: Callable[[], bool], timeout_s: float, tell: Callable[[], object] = lambda: "waited in vain"
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.05)


def started(pid: int) -> str | None:
    """When a process began, in clock ticks; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
