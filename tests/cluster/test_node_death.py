"""A cluster of two nodes on this machine, one of which dies: what the terminal shows of it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.commands import Process, command_line, descendants, wait_until

DRIVER = """
import os, sys, time
from cluster.dag import Task, run_tasks
from cluster.session import ray_session

def once(item, inputs, progress):
    with open(item, "a") as file:
        file.write("x")
    if len(open(item).read()) == 1:
        time.sleep(600)
    while not os.path.exists(item + ".go"):
        time.sleep(0.1)
    return len(open(item).read())

if __name__ == "__main__":
    address, mark = sys.argv[1:]
    with ray_session(address):
        results = run_tasks(
            [Task("fit/shard-00000", "fit", once, mark)],
            on_progress=lambda progress: None,
            on_loss=lambda line: print(line, file=sys.stderr, flush=True),
            wait_for_nodes_s=100.0,
        )
        print(results["fit/shard-00000"])
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def node(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node of Ray's, which ends with the block by its processes' ids."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with (folder / "log").open("ab") as log:
        started = subprocess.Popen(
            [str(Path(sys.executable).parent / "ray"), "start", "--block", "--object-store-memory=80000000", *options],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        for process in (*descendants(started.pid), Process(started.pid, "")):
            with_id(process.pid, signal.SIGKILL)
        started.wait(30.0)


def with_id(pid: int, sent: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, sent)


def raylet(started: subprocess.Popen[bytes]) -> int | None:
    """The daemon of a node: the node is dead when it is."""
    found = [process.pid for process in descendants(started.pid) if "raylet/raylet" in command_line(process.pid)[:200]]
    return found[0] if found else None


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_dies_is_one_line_and_its_task_begins_again(tmp_path: Path) -> None:
    mark, driver, said = tmp_path / "mark", tmp_path / "driver.py", tmp_path / "said"
    driver.write_text(DRIVER)
    address = f"127.0.0.1:{free_port()}"
    head_options = ["--head", f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1", "--num-cpus=0"]
    head_options += [f"--ray-client-server-port={free_port()}", "--include-dashboard=false"]
    joined = [f"--address={address}", "--num-cpus=1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Sockets have short names.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as short:
        folder = Path(short)
        with node(folder, *head_options) as head:
            wait_until(lambda: "block forever" in (folder / "log").read_text(), process=head)
            with node(folder, *joined, "--node-ip-address=127.0.0.2") as first:
                with said.open("wb") as output:
                    started = subprocess.Popen(
                        [sys.executable, str(driver), address, str(mark)],
                        env=environment | {"RAY_AUTH_MODE": "disabled"},
                        stdout=subprocess.PIPE,
                        stderr=output,
                        text=True,
                    )
                wait_until(mark.exists, process=started)
                time.sleep(3.0)  # until the driver has looked once
                daemon = wait_until(lambda: raylet(first))
                with node(folder, *joined, "--node-ip-address=127.0.0.3") as second:
                    wait_until(lambda: raylet(second))
                    with_id(daemon, signal.SIGKILL)
                    wait_until(lambda: "died" in said.read_text(), process=started)
                    # Only now the task may end that began again.
                    mark.with_name("mark.go").touch()
                    out, _ = started.communicate(timeout=180.0)
    err = said.read_text()
    lines = err.splitlines()
    assert (started.returncode, out) == (0, "2\n"), (out, err)
    assert len(lines) == 1, lines
    assert lines[0].startswith("node 127.0.0.2 (") and "died: fit/shard-00000 begins again elsewhere; " in lines[0]
