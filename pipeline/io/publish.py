"""Atomic publication: nothing under its final name is ever half written.

Everything is written under a temporary name in the folder that it will stand in, flushed to the disk, renamed,
and the folder flushed, so that after a crash a name holds the old content, the new content, or nothing. What a
killed process leaves behind is told by its suffix and removed by :func:`remove_temporaries`.

For a bucket the temporary stands on this machine, at the same names below the user's cache, and is put under the final
name when it is finished (:mod:`pipeline.io.bucket.run_objects`).
"""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.contracts.bucket_path import BucketPath
from pipeline.io.bucket import run_objects

TEMPORARY_SUFFIX: Final = ".partial"
"""Ends the name of everything unfinished; zarr's local store uses the same suffix."""


def temporary_path(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else uses; its folder is made if needed."""
    path = _here(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file at; publish it as ``path`` unless the block raises.

    An existing ``path`` is replaced. If the block raises, the temporary file is removed and ``path`` is untouched.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        if isinstance(path, BucketPath):
            run_objects.publish_file(temporary, path)
            return
        _obey_umask(temporary)
        flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_to_disk(path.parent)


@contextmanager
def delivering(path: Path) -> Iterator[Path]:
    """Yield the path at which another program writes what is to stand at ``path``: itself, or one on this machine."""
    if not isinstance(path, BucketPath):
        yield path
        return
    written = _here(path)
    written.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield written
        run_objects.publish_file(written, path)
    finally:
        written.unlink(missing_ok=True)


def publish_bytes(path: Path, data: bytes | memoryview) -> None:
    """Publish ``data`` as the whole content of ``path``."""
    if isinstance(path, BucketPath):
        run_objects.publish_bytes(path, data)
        return
    with publishing(path) as temporary:
        temporary.write_bytes(data)


def publish_text(path: Path, text: str) -> None:
    """Publish ``text``, encoded as UTF-8 without any change of line ends."""
    publish_bytes(path, text.encode())


def empty_folder(path: Path) -> Path:
    """Make ``path`` an empty folder, whatever stood there: where a stage gathers what it will publish.

    Returns the folder, which is on this machine also where ``path`` is not.
    """
    path = _here(path)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def growing_folder(path: Path) -> Path:
    """The folder of this machine in which files grow that are to stand in ``path``, and that nobody waits for."""
    return _here(path)


def publish_grown(path: Path) -> None:
    """Publish the files of :func:`growing_folder`, which grow no more; those that grew in place are there."""
    if isinstance(path, BucketPath):
        here = _here(path)
        for file in sorted(file for file in here.rglob("*") if file.is_file()):
            run_objects.publish_file(file, path.joinpath(*file.relative_to(here).parts))
        shutil.rmtree(here, ignore_errors=True)


def publish_folder(source: Path, final: Path, *, replace: bool = True) -> None:
    """Publish the finished folder ``source`` of this machine under the name ``final``, on the same file system.

    Without ``replace``, an existing ``final`` raises ``FileExistsError``. Else it is replaced: it is set aside under a
    temporary name first, because a folder that is not empty cannot be renamed over. A crash between the two renames
    leaves nothing under the final name.
    """
    if isinstance(final, BucketPath):
        if not replace and run_objects.exists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        run_objects.publish_folder(source, final)
        return
    for folder, _, files in os.walk(source):
        for name in files:
            _obey_umask(Path(folder, name))
            flush_to_disk(Path(folder, name))
        flush_to_disk(Path(folder))
    old = temporary_path(final)
    if final.exists():
        if not replace:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        final.rename(old)
    source.rename(final)
    flush_to_disk(final.parent)
    if old.exists():
        shutil.rmtree(old)


def remove_temporaries(folder: Path) -> tuple[Path, ...]:
    """Remove everything unfinished below ``folder`` and return what was removed.

    Only for whoever knows that nobody writes there: a live writer's file would be taken from under it.
    """
    removed: list[Path] = []
    if isinstance(folder, BucketPath):
        removed.extend(run_objects.remove_unfinished(folder))
        folder = folder.on_this_machine()
    for parent, folders, files in os.walk(folder):
        for name in [name for name in folders if name.endswith(TEMPORARY_SUFFIX)]:
            shutil.rmtree(Path(parent, name))
            folders.remove(name)
            removed.append(Path(parent, name))
        for name in files:
            if name.endswith(TEMPORARY_SUFFIX):
                Path(parent, name).unlink()
                removed.append(Path(parent, name))
    return tuple(sorted(removed))


def _here(path: Path) -> Path:
    """``path``, or what stands for it on this machine while it is not published."""
    return path.on_this_machine() if isinstance(path, BucketPath) else path


def _obey_umask(path: Path) -> None:
    """Give a file the mode that a new one has: some libraries write theirs for their owner alone."""
    umask = os.umask(0o077)
    os.umask(umask)
    mode = stat.S_IMODE(path.stat().st_mode)
    wanted = mode | (0o666 & ~umask)
    if wanted != mode:
        path.chmod(wanted)


def flush_to_disk(path: Path) -> None:
    """``fsync`` a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read in pieces; raises ``FileNotFoundError``."""
    if isinstance(path, BucketPath):
        return run_objects.sha256(path)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
