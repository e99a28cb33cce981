"""The seam through which all else touches the files of a run: what is there, reading it, forgetting it.

Publishing is in :mod:`pipeline.io.publish`; ledgers, shards, planes and avatar folders have modules of their own.
Stages, driver and commands know a run's files by the names of :class:`pipeline.contracts.naming.RunLayout` and look for
nothing in the file system themselves (a test says so), so that another kind of storage is a matter of this package.
What lies below ``.work`` is always a folder of this machine.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.io.publish import TEMPORARY_SUFFIX, sha256_file


def exists(path: Path) -> bool:
    """Whether something stands at ``path``: a file, or a folder with something in it or made to be filled."""
    return path.exists()


def names(folder: Path, pattern: str = "*") -> tuple[Path, ...]:
    """What lies in a folder and matches a glob pattern (``*/*`` goes deeper), in order; nothing where it is missing.

    What is not finished yet is not there.
    """
    found = (path for path in folder.glob(pattern) if not _is_unfinished(path.relative_to(folder)))
    return tuple(sorted(found))


def files_below(folder: Path) -> tuple[Path, ...]:
    """All files below a folder, in order."""
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


def _is_unfinished(path: Path) -> bool:
    return any(part.endswith(TEMPORARY_SUFFIX) for part in path.parts)


def read_bytes(path: Path) -> bytes:
    """The whole content of a file; raises ``FileNotFoundError``."""
    return path.read_bytes()


def read_text(path: Path) -> str:
    """The whole content of a UTF-8 text, line ends as they are; raises ``FileNotFoundError``."""
    return path.read_bytes().decode("utf-8")


def read_array(path: Path) -> npt.NDArray[Any]:
    """A numpy array from a ``.npy`` file, nothing in which is executed; raises ``OSError`` or ``ValueError``."""
    array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def version(path: Path) -> tuple[int, int] | None:
    """(time of its last change in ns, bytes) of a file: another pair, another content; ``None`` where it is missing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def file_size(path: Path) -> int:
    """Bytes of a file; raises ``FileNotFoundError``."""
    return path.stat().st_size


def versions(folder: Path) -> dict[str, tuple[int, int]]:
    """The :func:`version` of each file in a folder, by name; nothing where the folder is missing."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return {}
    return {name: (status.st_mtime_ns, status.st_size) for name, status in found}


def why_changed(path: Path, sha256: str, *, since: float, size: int | None = None) -> str:
    """How a file differs from the one that was published; empty where it is as it was.

    It is hashed only where it was changed after ``since`` (Unix time) or where its ``size`` was not written down.
    """
    found = version(path)
    if found is None:
        return "is missing"
    changed_at, there = found
    if there == 0 and size != 0:
        return "is empty"
    if size is not None and there != size:
        return f"has {there} bytes instead of {size}, it was cut off or changed"
    if size is not None and changed_at / 1e9 <= since:
        return ""
    return "" if sha256_file(path) == sha256 else "is not what was published, it was damaged or changed"


def make_folder(path: Path) -> Path:
    """``path`` as a folder, made with those above it where it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def forget(*paths: Path) -> None:
    """Remove files and whole folders; what is not there is forgotten already."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
