"""Nodes of Ray on this machine, each with daemons and an address of its own, that are ended by their processes' ids."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from support.commands import Process, command_line, descendants, wait_until

RENDERS = ("--num-cpus=1", '--resources={"render": 1}')
"""A node of one CPU that renders, as options of :meth:`Cluster.node`."""
TRAINS = ("--num-cpus=1", '--resources={"train": 1}')
"""One that fits and trains."""
DOES_BOTH = ("--num-cpus=1", '--resources={"render": 1, "train": 1}')


def hostile(**faults: str) -> dict[str, str]:
    """The environment of Python processes of which something is wrong, by ``support/hostile``: ``clock_s``, ``full``,
    ``slow``.
    """
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent / "hostile"), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path} | {f"HOSTILE_{name.upper()}": value for name, value in faults.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def environment_of_a_driver() -> dict[str, str]:
    """What a command is started with that shall use these nodes and no other Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"RAY_AUTH_MODE": "disabled"}


class Cluster:
    """A head without CPUs; nodes join it and die."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self._nodes = 1

    def node(
        self, *options: str, environment: dict[str, str] | None = None
    ) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """A node that joins, as a context."""
        self._nodes += 1
        words = [f"--address={self.address}", f"--node-ip-address=127.0.0.{self._nodes}", *options]
        # Else it would be in the head's, where nodes that start at the same time take each other's sockets.
        own = self.folder / str(self._nodes)
        return _node(own, f"--temp-dir={own}", *words, environment=environment)

    def wait_for(self, count: int) -> None:
        """Until so many nodes have joined, and take tasks."""
        wait_until(lambda: len(alive(self.address)) == 1 + count)


@contextmanager
def cluster(*options: str | Callable[[str], str], environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A head that ends with the block; an option may be a function of its address."""
    address = f"127.0.0.1:{free_port()}"
    words = ["--head", f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1", "--num-cpus=0"]
    words += [f"--ray-client-server-port={free_port()}", "--include-dashboard=false"]
    words += [option if isinstance(option, str) else option(address) for option in options]
    # Sockets have short names.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as short:
        folder = Path(short)
        with _node(folder, *words, environment=environment) as head:
            wait_until(lambda: "block forever" in (folder / "log").read_text(), process=head)
            yield Cluster(folder, address)


def alive(address: str) -> list[dict[str, float]]:
    """The resources of each living node."""
    asked = f"import json, ray; ray.init('{address}', log_to_driver=False, logging_level='ERROR'); " + (
        "print(json.dumps([node['Resources'] for node in ray.nodes() if node['Alive']]))"
    )
    answered = subprocess.run(
        [sys.executable, "-c", asked], env=environment_of_a_driver(), capture_output=True, text=True, check=True
    )
    found: list[dict[str, float]] = json.loads(answered.stdout.splitlines()[-1])
    return found


@contextmanager
def _node(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(exist_ok=True)
    environment = environment_of_a_driver() | (environment or {})
    environment |= {"RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    programs = Path(sys.executable).parent
    environment["PATH"] = f"{programs}:{environment['PATH']}"  # jobs are commands of this installation
    environment["RAY_worker_niceness"] = "0"  # beside other work they would come last, and tests wait for them
    with (folder / "log").open("ab") as log:
        started = subprocess.Popen(
            [str(programs / "ray"), "start", "--block", "--object-store-memory=80000000", *options],
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


def raylet(started: "subprocess.Popen[bytes]") -> int | None:
    """The daemon of a node: the node is dead when it is."""
    found = [process.pid for process in descendants(started.pid) if "raylet/raylet" in command_line(process.pid)[:200]]
    return found[0] if found else None


def kill_node(started: "subprocess.Popen[bytes]") -> None:
    """As when its machine is lost."""
    with_id(wait_until(lambda: raylet(started)), signal.SIGKILL)
