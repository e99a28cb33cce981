"""What a run's storage does where the run lies in a bucket: the same questions as of a folder of this machine.

A folder is published object by object, so there is a time when it is there in part. A marker that sorts before every
other name stands in it as long, and a folder with that marker is not there. Files are finished on this machine and put
under their final names at once.
"""

import fnmatch
import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import RunLockedError
from pipeline.io.bucket import cache
from pipeline.io.bucket.lease import require_lease
from pipeline.io.bucket.objects import (
    Found,
    Taken,
    below,
    create,
    head,
    pieces,
    read,
    read_range,
    read_unless,
    remove,
    replace,
    write,
)

MARKER: Final = ".partial"
"""Stands in a folder that is being published."""
AT_ONCE: Final = 16
"""Requests side by side."""

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def exists(path: BucketPath) -> bool:
    """Whether there is an object of that name, or a whole folder with something in it."""
    if head(path) is not None:
        return True
    first = next(below(path, most=1), None)
    return first is not None and first.path.name != MARKER


def names(folder: BucketPath, pattern: str) -> tuple[BucketPath, ...]:
    """What matches a glob pattern below a folder, in order, without what is not finished."""
    wanted = PurePosixPath(pattern).parts
    found: set[BucketPath] = set()
    for path in _whole(below(folder)):
        parts = path.relative_to(folder).parts[: len(wanted)]
        if len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted)):
            found.add(folder.joinpath(*parts))
    return tuple(sorted(found))


def files_below(folder: BucketPath) -> tuple[BucketPath, ...]:
    """All objects below a folder, in order."""
    return tuple(sorted(_whole(below(folder))))


def read_bytes(path: BucketPath) -> bytes:
    """The content of an object, downloaded only where no copy of it is here; raises ``FileNotFoundError``."""
    return _read_kept(path)[0]


def read_known(found: Found) -> bytes:
    """The content of an object that was listed: a copy with its ETag is taken without another question."""
    kept = _kept(cache.take(cache.entry("objects", found.path)))
    if kept is not None and kept[1] == found.etag:
        return kept[0]
    return _read_kept(found.path)[0]


def read_trusted(path: BucketPath, trusted: set[BucketPath]) -> bytes:
    """As :func:`read_bytes`; of objects in ``trusted``, which it adds to, a copy is taken without a question."""
    if path in trusted:
        kept = _kept(cache.take(cache.entry("objects", path)))
        if kept is not None:
            return kept[0]
    data = _read_kept(path)[0]
    trusted.add(path)
    return data


def read_part(path: BucketPath, offset: int, size: int, content: str) -> Path:
    """A file of this machine with a part of an object whose content is known by a hash; downloaded once."""
    place = cache.entry("ranges", path, content, offset, size)
    if cache.use(place):
        return place
    data = read_range(path, offset, size)
    return cache.keep(place, lambda temporary: _write(temporary, data))


def version(path: BucketPath) -> tuple[int, int] | None:
    """(a small number that follows from its ETag, bytes) of an object."""
    found = head(path)
    return None if found is None else version_of(found)


def version_of(found: Found) -> tuple[int, int]:
    """As :func:`version`, of an object that is known."""
    return int(hashlib.sha256(found.etag.encode()).hexdigest()[:7], 16), found.size


def sha256(path: BucketPath) -> str:
    """Of an object as it lies there; raises ``FileNotFoundError``."""
    digest = hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def forget(path: BucketPath) -> None:
    """Remove an object, and all below that name; the marker of a folder goes last."""
    require_lease(path)
    found = [item.path for item in below(path)]
    remove([*sorted(found, key=lambda name: name.name == MARKER), path])


def publish_file(source: Path, final: BucketPath) -> None:
    """Put a finished file of this machine under its final name."""
    require_lease(final)
    write(final, source)


def publish_bytes(final: BucketPath, data: bytes | memoryview) -> None:
    """Put an object under its final name."""
    require_lease(final)
    write(final, data if isinstance(data, bytes) else memoryview(data).cast("B"))


def publish_entry(final: BucketPath, data: bytes) -> None:
    """Put a ledger entry: where there is none, or in the place of the one that is there now.

    Raises ``RunLockedError`` where somebody else was first.
    """
    require_lease(final, at_once=True)
    before = head(final)
    try:
        if before is None:
            create(final, data)
        else:
            replace(final, data, before)
    except Taken:
        raise RunLockedError(
            f"{final} was written by somebody else meanwhile: only one driver may work on a run; stop the other, and "
            "the same command goes on"
        ) from None


def publish_folder(source: Path, final: BucketPath) -> None:
    """Put a finished folder of this machine under its final name, in the place of what is there, and remove it here."""
    require_lease(final)
    marker = final / MARKER
    write(marker, b"")
    remove([item.path for item in below(final) if item.path != marker])
    files = sorted(path for path in source.rglob("*") if path.is_file())
    # What readers look for first comes last, should somebody look for a file and not for the folder.
    last = [path for path in files if path.suffix == ".json"]
    for group in ([path for path in files if path not in last], last):
        side_by_side(group, lambda path: write(final.joinpath(*path.relative_to(source).parts), path))
    remove([marker])
    shutil.rmtree(source)


def fetched(path: BucketPath) -> Path:
    """A copy on this machine of an object or of a whole folder; raises ``FileNotFoundError`` where there is neither."""
    found = head(path)
    parts = [found] if found is not None else list(below(path))
    if not parts or any(item.path.name == MARKER for item in parts):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    place = cache.entry("folders", path, *(f"{item.path} {item.etag}" for item in parts))
    if not cache.use(place):
        cache.keep(place, lambda temporary: _download(parts, path, temporary))
    return place / path.name if found is not None else place


def remove_unfinished(folder: BucketPath) -> tuple[BucketPath, ...]:
    """Remove folders that were being published, and return them; only where nobody writes."""
    unfinished = [item.path.parent for item in below(folder) if item.path.name == MARKER]
    for path in unfinished:
        forget(path)
    return tuple(unfinished)


def side_by_side(items: Sequence[_Item], do: Callable[[_Item], _Answer]) -> list[_Answer]:
    """Do something with each item, several at a time; answers in their order."""
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(do, items))


def _whole(found: Iterable[Found]) -> list[BucketPath]:
    paths = [item.path for item in found]
    unfinished = {path.parent for path in paths if path.name == MARKER}
    return [
        path
        for path in paths
        if not any(part.endswith(MARKER) for part in path.parts) and unfinished.isdisjoint(path.parents)
    ]


def _read_kept(path: BucketPath) -> tuple[bytes, str]:
    """Content and ETag of an object as it is now, by a copy where that is the same."""
    place = cache.entry("objects", path)
    kept = _kept(cache.take(place))
    answer = read(path) if kept is None else read_unless(path, kept[1])
    if answer is None:
        assert kept is not None
        return kept
    data, found = answer
    cache.keep(place, lambda temporary: _write(temporary, found.etag.encode() + b"\n" + data))
    return data, found.etag


def _kept(stored: bytes | None) -> tuple[bytes, str] | None:
    if stored is None or b"\n" not in stored:
        return None
    etag, _, data = stored.partition(b"\n")
    return data, etag.decode()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _download(parts: Sequence[Found], path: BucketPath, target: Path) -> None:
    target.mkdir(parents=True)

    def one(found: Found) -> None:
        below_target = found.path.relative_to(path).parts or (path.name,)
        local = target.joinpath(*below_target)
        local.parent.mkdir(parents=True, exist_ok=True)
        with local.open("wb") as handle:
            for piece in pieces(found.path):
                handle.write(piece)

    side_by_side(parts, one)
