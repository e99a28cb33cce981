"""What a process finds on a node that is not as it should be; Python imports this first where it is on its path.

Each fault is an environment variable:

- ``HOSTILE_CLOCK_S``: the clock is wrong by so many seconds. Times of files are not: they are of who keeps the files.
- ``HOSTILE_FULL``: nothing can be written below this folder.
- ``HOSTILE_SLOW``: below this folder, whatever asks the file system takes ``SLOW_S``; names looked for in vain,
  and listings, are remembered for ``REMEMBERED_S``, as by a client of NFS: what others made meanwhile is not seen.
"""

# ruff: noqa: PTH100, PTH120
# pathlib itself goes by the functions that are replaced here.

import builtins
import errno
import io
import os
import time
from typing import Any

SLOW_S = 0.01
REMEMBERED_S = 20.0


def _path(given: Any) -> str:
    return "" if isinstance(given, int) else os.path.abspath(os.fsdecode(given))


def _with_wrong_clock(wrong_s: float) -> None:
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + wrong_s
    time.time_ns = lambda: right_ns() + int(wrong_s * 1e9)


def _with_full_disk(folder: str) -> None:
    opened = io.open

    def open(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        if set(mode) & set("wxa+") and not isinstance(file, int) and _path(file).startswith(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(file))
        return opened(file, mode, *given, **named)

    io.open = builtins.open = open


class _Listing:
    """A listing as ``os.scandir`` gives it, of entries that are known."""

    def __init__(self, entries: "list[os.DirEntry[str]]") -> None:
        self._entries = iter(entries)

    def __iter__(self) -> "_Listing":
        return self

    def __next__(self) -> "os.DirEntry[str]":
        return next(self._entries)

    def __enter__(self) -> "_Listing":
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def _with_slow_folder(folder: str) -> None:
    missing: dict[str, float] = {}
    listings: dict[str, tuple[float, list[os.DirEntry[str]]]] = {}

    def forget(path: str) -> None:
        """What this process changes it knows."""
        while path.startswith(folder):
            missing.pop(path, None)
            listings.pop(path, None)
            path = os.path.dirname(path)

    def slow(function: Any, *, makes: bool = False, looks: bool = False, places: int = 1) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            paths = [path for path in map(_path, given[:places]) if path.startswith(folder)]
            if not paths or named.get("dir_fd") is not None:
                return function(*given, **named)
            time.sleep(SLOW_S)
            path = paths[0]
            if looks and time.monotonic() - missing.get(path, -REMEMBERED_S) < REMEMBERED_S:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            try:
                return function(*given, **named)
            except FileNotFoundError:
                missing[path] = time.monotonic()
                raise
            finally:
                if makes:  # the server was asked, and what it answered is known
                    for made in paths:
                        forget(made)

        return called

    scandir, opened, opened_low = os.scandir, io.open, os.open

    def list_folder(path: Any = ".") -> Any:
        name = _path(path)
        if not name.startswith(folder):
            return scandir(path)
        time.sleep(SLOW_S)
        looked_at, entries = listings.get(name, (-REMEMBERED_S, []))
        if time.monotonic() - looked_at >= REMEMBERED_S:
            with scandir(path) as found:
                entries = list(found)
            listings[name] = (time.monotonic(), entries)
        return _Listing(entries)

    slow_read, slow_write = slow(opened, looks=True), slow(opened, makes=True)
    slow_low_read, slow_low_write = slow(opened_low, looks=True), slow(opened_low, makes=True)

    def open(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        return (slow_write if set(mode) & set("wxa+") else slow_read)(file, mode, *given, **named)

    def open_low(path: Any, flags: int, *given: Any, **named: Any) -> Any:
        writes = flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        return (slow_low_write if writes else slow_low_read)(path, flags, *given, **named)

    io.open = builtins.open = open
    os.open, os.scandir = open_low, list_folder
    os.listdir = lambda path=".": [entry.name for entry in list_folder(path)]
    os.stat, os.lstat = slow(os.stat, looks=True), slow(os.lstat, looks=True)
    for name in ("mkdir", "unlink", "remove", "rmdir"):
        setattr(os, name, slow(getattr(os, name), makes=True))
    for name in ("rename", "replace", "link"):
        setattr(os, name, slow(getattr(os, name), makes=True, places=2))


if os.environ.get("HOSTILE_CLOCK_S"):
    _with_wrong_clock(float(os.environ["HOSTILE_CLOCK_S"]))
if os.environ.get("HOSTILE_FULL"):
    _with_full_disk(os.environ["HOSTILE_FULL"])
if os.environ.get("HOSTILE_SLOW"):
    _with_slow_folder(os.environ["HOSTILE_SLOW"])
