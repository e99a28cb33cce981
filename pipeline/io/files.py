"""The seam through which all else touches the files of a run: what is there, reading it, forgetting it.

Publishing is in :mod:`pipeline.io.publish`; ledgers, shards, planes and avatar folders have modules of their own.
Stages, driver and commands know a run's files by the names of :class:`pipeline.contracts.naming.RunLayout` and look for
nothing in the file system themselves (a test says so). A run lies in a folder of this machine or in a bucket, which
nobody but this package tells apart: a :class:`pipeline.contracts.bucket_path.BucketPath` is of the second kind. What
lies in :attr:`RunLayout.scratch` is always a folder of this machine.
"""

import errno
import io
import math
import os
import shutil
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts.bucket_path import CACHE_DIR, CACHE_GIB, BucketPath
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.io.bucket import probe, run_objects
from pipeline.io.bucket.lease import LEASE
from pipeline.io.bucket.objects import below
from pipeline.io.publish import TEMPORARY_SUFFIX, sha256_file

SEEN_WITHIN_S = 90.0
"""What one machine has published another sees within this; NFS takes up to 60 s by default (``acdirmax``)."""


def exists(path: Path) -> bool:
    """Whether something stands at ``path``: a file, or a folder with something in it or made to be filled."""
    return run_objects.exists(path) if isinstance(path, BucketPath) else path.exists()


def is_folder(path: Path) -> bool:
    """Whether a folder stands at ``path``; in a bucket there are only objects."""
    return not isinstance(path, BucketPath) and path.is_dir()


def names(folder: Path, pattern: str = "*") -> tuple[Path, ...]:
    """What lies in a folder and matches a glob pattern (``*/*`` goes deeper), in order; nothing where it is missing.

    What is not finished yet is not there.
    """
    if isinstance(folder, BucketPath):
        return run_objects.names(folder, pattern)
    found = (path for path in folder.glob(pattern) if not _is_unfinished(path.relative_to(folder)))
    return tuple(sorted(found))


def files_below(folder: Path) -> tuple[Path, ...]:
    """All files below a folder, in order."""
    if isinstance(folder, BucketPath):
        return run_objects.files_below(folder)
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


def _is_unfinished(path: Path) -> bool:
    return any(part.endswith(TEMPORARY_SUFFIX) for part in path.parts)


def read_bytes(path: Path) -> bytes:
    """The whole content of a file; raises ``FileNotFoundError``."""
    return run_objects.read_bytes(path) if isinstance(path, BucketPath) else path.read_bytes()


def read_text(path: Path) -> str:
    """The whole content of a UTF-8 text, line ends as they are; raises ``FileNotFoundError``."""
    return read_bytes(path).decode("utf-8")


def read_array(path: Path) -> npt.NDArray[Any]:
    """A numpy array from a ``.npy`` file, nothing in which is executed; raises ``OSError`` or ``ValueError``."""
    source = io.BytesIO(run_objects.read_bytes(path)) if isinstance(path, BucketPath) else path
    array: npt.NDArray[Any] = np.load(source, allow_pickle=False)
    return array


def version(path: Path) -> tuple[int, int] | None:
    """(time of its last change in ns, bytes) of a file: another pair, another content; ``None`` where it is missing.

    Of an object in a bucket, where clocks are another machine's, a small number stands in place of the time.
    """
    if isinstance(path, BucketPath):
        return run_objects.version(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def file_size(path: Path) -> int:
    """Bytes of a file; raises ``FileNotFoundError``."""
    if isinstance(path, BucketPath):
        found = version(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return found[1]
    return path.stat().st_size


def versions(folder: Path) -> dict[str, tuple[int, int]]:
    """The :func:`version` of each file in a folder, by name; nothing where the folder is missing."""
    if isinstance(folder, BucketPath):
        listed = (found for found in below(folder) if found.path.parent == folder)
        return {found.path.name: run_objects.version_of(found) for found in listed}
    try:
        with os.scandir(folder) as entries:
            statuses = ((entry.name, entry.stat()) for entry in entries if entry.is_file())
            return {name: (status.st_mtime_ns, status.st_size) for name, status in statuses}
    except FileNotFoundError:
        return {}


def proven_at(entries: Path) -> Mapping[str, float]:
    """When each ledger entry of a stage was published, by name without suffix, as :func:`version` tells times.

    What an entry proves was published before it: later changes are others'. Both times are of the clock of where the
    run lies; those that stand in the entries are of the machines that made them. Infinity in a bucket, and for an entry
    that the folder does not list, or not yet.
    """
    changed = {} if isinstance(entries, BucketPath) else versions(entries)
    times = {name.removesuffix(".json"): float(changed_at) for name, (changed_at, _) in changed.items()}
    return defaultdict(lambda: math.inf, times)


def why_changed(path: Path, sha256: str, *, since: float, size: int | None = None) -> str:
    """How a file differs from the one that was published; empty where it is as it was.

    It is hashed only where it was changed after ``since`` (:func:`proven_at`) or where its ``size`` was not written
    down.
    """
    found = version(path)
    if found is None:
        return "is missing"
    changed_at, there = found
    if there == 0 and size != 0:
        return "is empty"
    if size is not None and there != size:
        return f"has {there} bytes instead of {size}, it was cut off or changed"
    if size is not None and changed_at <= since:
        return ""
    return "" if sha256_file(path) == sha256 else "is not what was published, it was damaged or changed"


def wait_until_seen(paths: Iterable[Path]) -> None:
    """Wait until files are seen here that other machines have published.

    A network folder shows them late: a client of NFS remembers for up to a minute that a name was not there. A bucket
    shows them at once. Raises ``DataError`` for one that is not seen within ``SEEN_WITHIN_S``.
    """
    deadline = time.monotonic() + SEEN_WITHIN_S
    for path in paths:
        while not isinstance(path, BucketPath) and not path.exists():
            if time.monotonic() > deadline:
                raise DataError(
                    f"{path} was published on another node and is not seen on {socket.gethostname()} after "
                    f"{SEEN_WITHIN_S:.0f} s: all nodes must see one folder there, or --out must be a bucket"
                )
            time.sleep(0.5)


def make_folder(path: Path) -> Path:
    """``path`` as a folder, made with those above it where it is not there."""
    if not isinstance(path, BucketPath):  # there, a folder is what names begin with
        path.mkdir(parents=True, exist_ok=True)
    return path


def fetched(path: Path) -> Path:
    """A file or folder on this machine with the content of ``path``: itself, or a copy of what lies in a bucket.

    What is missing is returned as it is, for its reader to find it so; in a bucket, ``FileNotFoundError`` is raised.
    """
    return run_objects.fetched(path) if isinstance(path, BucketPath) else path


def own_disk(root: Path) -> Path | None:
    """The folder of this machine whose disk a run fills; ``None`` of a run in a bucket."""
    return None if isinstance(root, BucketPath) else root


def require_place(layout: RunLayout, *, writes: bool) -> None:
    """Raise ``RodinError`` with one line where no run can be, or lies, at a place; asked before any work.

    A bucket must be there, listed, and, where the command ``writes``, written on condition; it must hold a run there,
    or nothing. A folder says so itself.
    """
    if isinstance(layout.root, BucketPath):
        assert isinstance(layout.config, BucketPath)
        probe.require_readable(layout.root)
        if writes:
            probe.require_run_or_nothing(layout.root, layout.config)
            probe.require_writable(layout.root)


def visit_settings() -> dict[str, str]:
    """What processes that work for this one must know of storage, as environment variables; nothing secret."""
    return {name: os.environ[name] for name in (CACHE_DIR, CACHE_GIB, LEASE) if name in os.environ}


def take_settings(settings: Mapping[str, str]) -> None:
    """Go by the settings of the process that this one works for."""
    os.environ.update(settings)


def forget(*paths: Path) -> None:
    """Remove files and whole folders; what is not there is forgotten already."""
    for path in paths:
        if isinstance(path, BucketPath):
            run_objects.forget(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
