"""Ends what a local Ray session left behind; a program of its own, as it has to outlive the driver.

    python -I -S reaper.py FOLDER DRIVER_PID

It waits for the end of its standard input, which comes with the driver's death however it dies, then kills every
process of the session but the driver, and removes the session's folder. A process is the session's if it carries
its mark in its environment, as the children of tasks do, or has a file of its folder open, as Ray's own processes
do, which often write their titles over their environments. Without it Ray's
agents stay for up to a minute after a killed driver: they try to report their raylet's death to a server that is
dead as well. Linux only, like the kernel feature that :mod:`cluster.session` rests on; the standard library only.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "RODIN_RAY_SESSION"
"""Environment variable of all processes of a session; its value is the session's folder."""


def reap(folder: str, driver: int) -> None:
    """Kill all processes of the session, those that they start meanwhile too, and remove its folder."""
    deadline = time.monotonic() + 10.0
    while (found := _processes(folder, {os.getpid(), driver})) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: str, spared: set[int]) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) not in spared:
            # What fails has ended, or is another user's.
            with contextlib.suppress(OSError):
                if _is_marked(process, folder) or _has_open(process, folder):
                    found.append(int(process.name))
    return found


def _is_marked(process: Path, folder: str) -> bool:
    return f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0")


def _has_open(process: Path, folder: str) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(f"{folder}/"):
                return True
    return False


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    reap(sys.argv[1], int(sys.argv[2]))
