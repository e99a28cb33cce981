"""Where everything lies in a shard: its headers are walked, none of its images is read.

That finds a cut or damaged tar before the first sample comes out (tarfile, and with it every stock reader, takes a tar
cut between two files for a whole one), and lets one avatar be read without reading the others. Of a shard in a bucket
only one avatar's part is downloaded, in one range: where it lies stands in the shard's ledger entry.
"""

import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar, format_sample
from pipeline.contracts.rendering import REQUIRED_SUFFIXES, SAMPLE_SUFFIXES, RenderedAvatar
from pipeline.io.avatar_folder import split_file_name
from pipeline.io.bucket.run_objects import read_part
from pipeline.io.files import fetched, version

SHARD_REMEDY: Final = (
    "delete the shard and its ledger entry and run the same command again to render it anew; where it was ingested, "
    "the same ingest again puts it right"
)

Samples = dict[tuple[int, int], dict[str, "FileSpan"]]


@dataclass(frozen=True)
class FileSpan:
    """Where a file's content lies in a tar, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class ShardIndex:
    """Where everything lies in one tar that is known to be whole, or in one avatar's part of it."""

    path: Path
    """Of the tar."""
    samples: dict[tuple[int, int], dict[str, FileSpan]]
    """By (avatar, view), in the order of the tar; every sample has the same suffixes."""
    file: Path
    """On this machine: the tar, a copy of it, or the part that ``samples`` count in."""

    @property
    def avatars(self) -> tuple[int, ...]:
        """Indices of the avatars, in the order of the tar."""
        return tuple(dict.fromkeys(avatar for avatar, _ in self.samples))


def avatar_index(tar_path: Path, part: Callable[[], tuple[tuple[int, int], str] | None]) -> ShardIndex:
    """An index in which an avatar lies, of its whole shard or of its part alone, whichever is quicker to have.

    ``part`` is asked for a shard in a bucket: the avatar's of :func:`avatar_spans` and the tar's SHA-256, ``None``
    where nobody wrote that down. Raises ``DataError`` as :func:`index_shard`.
    """
    if not isinstance(tar_path, BucketPath):
        return _cached_index(tar_path, version(tar_path))
    known = part()
    return index_shard(tar_path) if known is None else index_part(tar_path, *known)


@lru_cache(maxsize=64)
def _cached_index(tar: Path, published: tuple[int, int] | None) -> ShardIndex:
    """Where everything lies in a tar; a tar that was published anew is walked anew."""
    del published
    return index_shard(tar)


def avatar_spans(rendered: Iterable[RenderedAvatar]) -> dict[str, tuple[int, int]]:
    """Where each avatar's part of the tar of :func:`write_shard` begins, and how many bytes it has, by avatar id.

    Whoever knows that reads one avatar of a shard far away in one go (:func:`avatar_index`).
    """
    spans, begin = {}, 0
    for record in sorted(rendered, key=lambda r: r.avatar):
        # Each file has one header block before it, and ends with its last block.
        size = sum(tarfile.BLOCKSIZE * (1 + -(-file.size // tarfile.BLOCKSIZE)) for file in record.files)
        spans[format_avatar(record.avatar)] = (begin, size)
        begin += size
    return spans


def index_part(tar_path: BucketPath, span: tuple[int, int], tar_sha256: str) -> ShardIndex:
    """Where everything of one avatar lies, of a shard in a bucket: its part of the tar alone is downloaded, once.

    ``span`` is the avatar's of :func:`avatar_spans`. Raises ``DataError`` as :func:`index_shard`.
    """
    offset, size = span
    try:
        part = read_part(tar_path, offset, size, tar_sha256)
    except FileNotFoundError:
        raise DataError(f"{tar_path} is missing: {SHARD_REMEDY}") from None
    samples, end = _walked_part(tar_path, part)
    if end != size:
        raise DataError(f"{tar_path} is truncated or damaged at byte {offset + end}: {SHARD_REMEDY}")
    _require_complete(tar_path, samples)
    return ShardIndex(tar_path, samples, part)


@lru_cache(maxsize=256)
def _walked_part(tar_path: BucketPath, part: Path) -> tuple[Samples, int]:
    """Copies of parts are never changed, so that each is walked once."""
    return _walk(tar_path, part)


def index_shard(tar_path: Path) -> ShardIndex:
    """Walk a shard's headers without reading its images; one in a bucket is downloaded whole.

    Raises ``DataError`` if the tar is cut or damaged, or holds a file that is no sample's, a sample with a file
    missing or twice, or a sample whose files do not stand together.
    """
    try:
        file = fetched(tar_path)
    except FileNotFoundError:
        raise DataError(f"{tar_path} is missing: {SHARD_REMEDY}") from None
    samples, end = _walk(tar_path, file)
    _require_end_of_archive(tar_path, file, end)
    _require_complete(tar_path, samples)
    return ShardIndex(tar_path, samples, file)


def _walk(tar_path: Path, file: Path) -> tuple[Samples, int]:
    """The samples of a tar, or of a part of one, and where the last one's blocks end."""
    samples: Samples = {}
    end = 0
    last: tuple[int, int] | None = None
    try:
        with tarfile.open(file, "r:") as tar:
            while (member := tar.next()) is not None:
                if not member.isreg():
                    raise DataError(f"{tar_path}: {member.name} is no plain file: {SHARD_REMEDY}")
                avatar, view, suffix = _split_member(tar_path, member.name)
                key = (avatar, view)
                if key != last:
                    if key in samples:
                        raise DataError(
                            f"{tar_path}: the files of sample {member.name.partition('.')[0]} "
                            f"do not stand together: {SHARD_REMEDY}"
                        )
                    last = key
                files = samples.setdefault(key, {})
                if suffix in files:
                    raise DataError(f"{tar_path} holds {member.name} twice: {SHARD_REMEDY}")
                files[suffix] = FileSpan(member.offset_data, member.size)
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except FileNotFoundError:
        raise DataError(f"{tar_path} is missing: {SHARD_REMEDY}") from None
    except tarfile.TarError as error:
        raise DataError(f"{tar_path} is truncated or no tar ({error}): {SHARD_REMEDY}") from None
    return samples, end


def _require_complete(tar_path: Path, samples: Samples) -> None:
    present = {*REQUIRED_SUFFIXES, *(suffix for files in samples.values() for suffix in files)}
    for (avatar, view), files in samples.items():
        missing = [suffix for suffix in SAMPLE_SUFFIXES if suffix in present and suffix not in files]
        if missing:
            raise DataError(f"{tar_path}: sample {format_sample(avatar, view)} lacks .{missing[0]}: {SHARD_REMEDY}")


def _split_member(tar_path: Path, name: str) -> tuple[int, int, str]:
    try:
        return split_file_name(name)
    except DataError as error:
        raise DataError(f"{tar_path}: {error}: {SHARD_REMEDY}") from None


def _require_end_of_archive(tar_path: Path, file: Path, end: int) -> None:
    """tarfile stops without a word at a cut between two files, or at a damaged header: look at what follows.

    A whole tar has two blocks of zeros after its last file and fills its last record.
    """
    record = tarfile.RECORDSIZE
    expected = -(-(end + 2 * tarfile.BLOCKSIZE) // record) * record
    size = file.stat().st_size
    with file.open("rb") as handle:
        handle.seek(end)
        rest = handle.read(expected - end)
    if size != expected or any(rest):
        raise DataError(f"{tar_path} is truncated or damaged at byte {min(end, size)} of {size}: {SHARD_REMEDY}")
