"""The seam through which all else touches the files of a run: what is there, reading it, forgetting it.

Publishing is in :mod:`pipeline.io.publish`; ledgers, shards, planes and avatar folders have modules of their own.
Stages, driver and commands know a run's files by the names of :class:`pipeline.contracts.naming.RunLayout` and look for
nothing in the file system themselves (a test says so), so that another kind of storage is a matter of this package.
What lies below ``.work`` is always a folder of this machine.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.io.publish import TEMPORARY_SUFFIX


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
