"""Copies of objects on this machine, so that what is read again is not downloaded again.

    CACHE/objects/ab12...          one object: a line with its ETag, then its content
    CACHE/ranges/ab12...           a part of one that is known by its content's hash
    CACHE/folders/ab12.../NAME     files of a folder side by side, as they were together

Entries are never changed: what is newer gets another name, or replaces the file whole. The oldest go when all take more
than :data:`CACHE_GIB`; one that was used in the last minute stays, since somebody may be about to open it.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline.contracts.bucket_path import CACHE_GIB, cache_folder
from pipeline.contracts.errors import ConfigError

KINDS: Final = ("objects", "ranges", "folders")
YOUNG_S: Final = 60.0
_LOOKS: Final = 16
"""After how many sixteenths of the limit, newly written by this process, it looks what all take."""

_written = 0


def entry(kind: str, *name: str | int | Path) -> Path:
    """The place of an entry, by all that tells it from others."""
    text = "\n".join(str(part) for part in name)
    return cache_folder() / kind / hashlib.sha256(text.encode()).hexdigest()[:40]


def take(path: Path) -> bytes | None:
    """The content of an entry that is a file, which counts as used now; ``None`` where it is not there."""
    try:
        data = path.read_bytes()
        os.utime(path)
    except FileNotFoundError:
        return None
    return data


def use(path: Path) -> bool:
    """Whether an entry is there, which counts as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def keep(path: Path, write: Callable[[Path], None]) -> Path:
    """Make an entry by what ``write`` writes at a path that it is given; another process may have made it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        write(temporary)
        size = _bytes(temporary)
        try:
            temporary.replace(path)
        except OSError:
            if not path.is_dir():  # a folder is not replaced by its equal
                raise
        os.utime(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
    _make_room(size)
    return path


def limit_bytes() -> int:
    """Bytes that copies may take; raises ``ConfigError`` for a limit that is no number."""
    text = os.environ.get(CACHE_GIB, "50")
    try:
        return int(float(text) * 2**30)
    except ValueError:
        raise ConfigError(f"{CACHE_GIB} is {text!r}, not a number of GiB such as 50") from None


def shrink(most_bytes: int, *, young_s: float = YOUNG_S) -> int:
    """Remove the entries that were used longest ago until all take at most so much; returns what they take then."""
    entries = []
    for kind in KINDS:
        for path in (cache_folder() / kind).glob("*"):
            try:
                entries.append((path.stat().st_mtime, _bytes(path), path))
            except FileNotFoundError:
                continue
    total = sum(size for _, size, _ in entries)
    newest = time.time() - young_s
    for used_at, size, path in sorted(entries):
        if total <= most_bytes or used_at > newest:
            break
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        total -= size
    return total


def _make_room(size: int) -> None:
    global _written
    most = limit_bytes()
    _written += size
    if _written * _LOOKS > most:
        _written = 0
        shrink(most)


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
