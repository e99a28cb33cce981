"""``rodin-pipe`` as tests call it: in this process, or as a process of its own that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app


def rodin(*arguments: str | Path, cpus: int | None = None) -> Any:
    """Run a command in this process; ``cpus`` is what its Ray session may use."""
    with pytest.MonkeyPatch.context() as patch:
        if cpus is not None:
            patch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rodin_passes(*arguments: str | Path, cpus: int | None = None) -> str:
    """Run a command that must end with exit code 0; returns what it printed on standard output."""
    result = rodin(*arguments, cpus=cpus)
    assert result.exit_code == 0, (result.exit_code, result.output, result.exception)
    return str(result.stdout)


def rodin_refuses(*arguments: str | Path) -> str:
    """Run a command that must end with exit code 2 and one line; returns that line."""
    result = rodin(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("rodin-pipe: "), result.stderr
    return lines[0]


@dataclass(frozen=True)
class Process:
    """A process that was seen; a later one with the same number is another."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return _stat(self.pid)[2:] == (self.started,) and _stat(self.pid)[0] != "Z"


@contextmanager
def started(*arguments: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process in a group of its own; it does not outlive the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *(str(argument) for argument in arguments)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def finish(process: subprocess.Popen[bytes], *, log: Path, timeout_s: float = 300.0) -> None:
    """Wait for a started command, which must end with exit code 0."""
    assert process.wait(timeout_s) == 0, log.read_text()


def kill(process: subprocess.Popen[bytes]) -> tuple[Process, ...]:
    """SIGKILL to the driver alone; returns all processes below it that lived then."""
    below = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10.0) == -signal.SIGKILL, "it ended before it was killed"
    return below


def descendants(pid: int) -> tuple[Process, ...]:
    """All living processes below one."""
    parents = {int(path.name): _stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    found, below = [pid], []
    while found:
        parent = found.pop()
        children = [child for child, stat in parents.items() if stat and stat[1] == str(parent) and stat[0] != "Z"]
        below += [Process(child, parents[child][2]) for child in children]
        found += children
    return tuple(below)


def command_line(pid: int) -> str:
    """What a process was started with; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def parent(pid: int) -> int:
    """The process that a process is a child of."""
    return int(_stat(pid)[1])


def wait_until(condition: Callable[[], Any], timeout_s: float = 120.0, *, process: Any = None) -> Any:
    """Wait for a condition and return what it gave; ``process`` must not end before."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        assert process is None or process.poll() is None, f"the process ended with {process.poll()}"
        time.sleep(0.01)
    return value


def all_end(processes: Sequence[Process], timeout_s: float = 20.0) -> bool:
    """Whether all of them end within the time."""
    deadline = time.monotonic() + timeout_s
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _stat(pid: int) -> tuple[str, ...]:
    """State, parent and start time; empty when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ()
    return fields[0], fields[1], fields[19]
