"""The lock of a run: two drivers never write one run."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import RunLockedError
from pipeline.io.bucket.lease import lease


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a run while the block runs.

    The lock is the kernel's (``flock``), so it is gone with its process, however that ends. The file tells host,
    pid and start time of the holder, and stays there: removing it would let two processes lock two files.
    Raises ``RunLockedError`` at once if another process, or another block of this one, holds it.

    In a bucket it is a lease (:mod:`pipeline.io.bucket.lease`).
    """
    if isinstance(path, BucketPath):
        with lease(path):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise RunLockedError(
                f"{path.parent} is in use by {_describe_holder(handle.read())}: wait for it, stop it, "
                "or give another run folder"
            ) from None
        handle.truncate(0)
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": time.time()}
        with suppress(OSError):  # a full disk: the lock is held all the same, only its holder is not named
            os.write(handle.fileno(), json.dumps(holder).encode())
        try:
            yield
        finally:
            handle.truncate(0)


def _describe_holder(text: str) -> str:
    try:
        holder = json.loads(text)
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["started_at"]))
        return f"process {holder['pid']} on {holder['host']}, started {started}"
    except (ValueError, KeyError, TypeError):
        return "a process that has only just started or is ending"
