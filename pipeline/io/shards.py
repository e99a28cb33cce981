"""Shards: WebDataset tars with one sample a view, written so that equal input gives equal bytes.

A sample ``a000012_v003`` is a few files that stand together: ``.rgba.png`` (8 bit, straight alpha, sRGB), then those
of ``.depth.png`` (16 bit, z-depth, scale in the json), ``.normal.png`` (8-bit RGB) and ``.segmentation.png`` (8-bit
ids) that the run asked for, and ``.json`` (:class:`SampleRecord`), which says so. All samples of a shard have the same
files. Any WebDataset reader takes them; :func:`decode_sample` is the decoder that keeps 16-bit depth and alpha::

    wds.WebDataset("renders/shard-00000.tar", shardshuffle=False).map(decode_sample)

Our own readers first walk the tar's headers (:mod:`pipeline.io.shard_index`).
"""

import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar, format_sample
from pipeline.contracts.rendering import (
    REQUIRED_SUFFIXES,
    SAMPLE_SUFFIXES,
    RenderedAvatar,
    RenderPasses,
    SampleRecord,
    Split,
    sample_suffixes,
)
from pipeline.io.avatar_folder import (
    publish_avatar_folder,
    read_avatar_record,
    read_verified,
    sample_order,
)
from pipeline.io.ledger import parse_record
from pipeline.io.publish import publishing
from pipeline.io.shard_index import SHARD_REMEDY, FileSpan, ShardIndex, index_shard

_PNG_MODES: Final = {"rgba.png": "RGBA", "depth.png": "I;16", "normal.png": "RGB", "segmentation.png": "L"}
"""Pillow's modes."""
_BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises for damaged PNGs."""


@dataclass(frozen=True)
class Sample:
    """One view as read from a shard."""

    record: SampleRecord
    rgba: npt.NDArray[np.uint8]
    """[row, column, 4], straight sRGB."""
    depth: npt.NDArray[np.uint16] | None = None
    """[row, column]; times ``record.depth_scale`` it is z-depth in world units; 0 means no surface."""
    normal: npt.NDArray[np.uint8] | None = None
    """[row, column, 3], encoded as ``conventions.NORMAL_ENCODING`` says; :func:`decode_normals` undoes it."""
    segmentation: npt.NDArray[np.uint8] | None = None
    """[row, column], ids of ``conventions.SEGMENTATION_CLASSES``."""


def write_shard(tar_path: Path, avatar_folders: Sequence[Path]) -> tuple[str, int]:
    """Publish finished avatars as one tar; return its SHA-256 and its size in bytes.

    Files are checked against each folder's ``avatar.json`` as they are copied (``DataError``). The bytes depend on
    the samples only: order is by avatar, view and suffix, headers are plain ustar without time, owner or host.
    """
    assert avatar_folders, "a shard without avatars has no tar"
    rendered = sorted(((read_avatar_record(folder), folder) for folder in avatar_folders), key=lambda r: r[0].avatar)
    assert len({record.avatar for record, _ in rendered}) == len(rendered), "one avatar given twice"
    with publishing(tar_path) as temporary, temporary.open("wb") as handle:
        writer = _HashingWriter(handle)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.USTAR_FORMAT) as tar:  # type: ignore[call-overload]
            for record, folder in rendered:
                for file in sorted(record.files, key=sample_order):
                    header = tarfile.TarInfo(file.name)
                    header.size, header.mode = file.size, 0o644
                    tar.addfile(header, io.BytesIO(read_verified(folder, file)))
    return writer.digest.hexdigest(), writer.size


def read_shard(
    tar: Path | ShardIndex, avatars: Collection[int] | None = None, splits: Collection[Split] | None = None
) -> Iterator[Sample]:
    """Samples of a shard in the order of the tar: all, or those of some avatars, of some splits, or both.

    Only what is asked for is read. Raises ``DataError`` at once for a damaged tar or an avatar that it does not
    hold, and on the way for an unreadable image or a record of another schema.
    """
    index = tar if isinstance(tar, ShardIndex) else index_shard(tar)
    unknown = set(avatars or ()) - set(index.avatars)
    if unknown:
        raise DataError(
            f"{index.path} holds no avatar {min(unknown)}; it holds {len(index.avatars)} avatars"
            + (f", {index.avatars[0]} to {index.avatars[-1]}" if index.avatars else "")
        )
    keys = [key for key in index.samples if avatars is None or key[0] in avatars]
    return _read_samples(index, keys, splits)


def read_avatar(tar: Path | ShardIndex, avatar: int, splits: Collection[Split] | None = None) -> tuple[Sample, ...]:
    """The samples of one avatar in order of view. With an index at hand, only its own bytes are read."""
    return tuple(sorted(read_shard(tar, (avatar,), splits), key=lambda sample: sample.record.view))


def read_view(tar: Path | ShardIndex, avatar: int, view: int) -> Sample:
    """One view of one avatar. With an index at hand, only its own bytes are read.

    Raises ``DataError`` where the shard has no such view.
    """
    index = tar if isinstance(tar, ShardIndex) else index_shard(tar)
    if (avatar, view) not in index.samples:
        raise DataError(f"{index.path} holds no {format_sample(avatar, view)}")
    return next(_read_samples(index, [(avatar, view)], None))


def extract_avatars(tar: Path | ShardIndex, avatars: Collection[int], into: Path) -> tuple[RenderedAvatar, ...]:
    """Turn avatars of a published shard back into finished folders below ``into``, as when a run is extended.

    Their ``avatar.json`` is made anew: file hashes as before, ``seconds`` and ``rejections`` empty, since a tar keeps
    neither; which draw it is stands in the samples' own records.
    Raises ``DataError`` for an avatar that the shard does not hold.
    """
    index = tar if isinstance(tar, ShardIndex) else index_shard(tar)
    missing = set(avatars) - set(index.avatars)
    if missing:
        raise DataError(f"{index.path} holds no avatar {min(missing)}")
    extracted = []
    with index.file.open("rb") as handle:
        for avatar in sorted(set(avatars)):
            files = [
                (f"{format_sample(*key)}.{suffix}", _read_span(handle, index.samples[key][suffix]))
                for key in sorted(key for key in index.samples if key[0] == avatar)
                for suffix in SAMPLE_SUFFIXES
                if suffix in index.samples[key]
            ]
            name, data = files[-1]
            record = parse_record(data, SampleRecord, where=f"{index.path}: {name}", remedy=SHARD_REMEDY)
            extracted.append(publish_avatar_folder(into, avatar, files, seconds={}, sub_seed=record.sub_seed))
    return tuple(extracted)


def decode_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Decode a raw WebDataset sample: for ``wds.WebDataset(urls).map(decode_sample)``.

    ``rgba.png`` becomes uint8 [row, column, 4], ``depth.png`` uint16 [row, column], ``normal.png`` uint8
    [row, column, 3], ``segmentation.png`` uint8 [row, column], ``json`` a dict; all else stays. The stock
    ``.decode("pil")`` would make 8-bit RGB of all of them. Raises ``DataError``, naming the sample, also where one of
    the files is missing that the json says there are.
    """
    where = f"{sample.get('__url__', 'shard')}: sample {sample.get('__key__')}"
    _require(sample, REQUIRED_SUFFIXES, where)
    try:
        record = json.loads(sample["json"])
    except ValueError as error:
        raise DataError(f"{where}: .json cannot be read ({error}): {SHARD_REMEDY}") from None
    try:
        passes = RenderPasses.model_validate(record.get("passes", {}))
    except (ValidationError, AttributeError):
        raise DataError(f"{where}: .json says nothing sensible of its passes: {SHARD_REMEDY}") from None
    _require(sample, sample_suffixes(passes), where)
    images: dict[str, Any] = {
        suffix: decode_png(sample[suffix], _PNG_MODES[suffix], f"{where}: .{suffix}")
        for suffix in SAMPLE_SUFFIXES
        if suffix in _PNG_MODES and suffix in sample
    }
    return {**sample, **images, "json": record}


def decode_normals(encoded: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """``normal.png`` to unit vectors [row, column, 3] in the camera's axes; zero where there is no surface."""
    vectors = encoded.astype(np.float32) / 127.5 - 1
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(encoded.any(-1, keepdims=True), vectors / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def decode_png(data: bytes, mode: str, where: str) -> npt.NDArray[Any]:
    """Pixels of a PNG that is whole, checksums included, and of Pillow's ``mode``; else ``DataError``."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            pixels, found = np.asarray(image), image.mode
    except _BROKEN_IMAGE as error:
        raise DataError(f"{where} is no readable PNG ({error}): {SHARD_REMEDY}") from None
    if found != mode:
        raise DataError(f"{where} has pixels of kind {found}, not {mode}: {SHARD_REMEDY}")
    return pixels


def _require(sample: dict[str, Any], suffixes: Sequence[str], where: str) -> None:
    missing = [suffix for suffix in suffixes if suffix not in sample]
    if missing:
        raise DataError(f"{where} lacks .{missing[0]}: {SHARD_REMEDY}")


class _HashingWriter:
    """What tarfile writes to: hashes and counts on the way."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._handle.write(data)


def _read_samples(
    index: ShardIndex, keys: Sequence[tuple[int, int]], splits: Collection[Split] | None
) -> Iterator[Sample]:
    with index.file.open("rb") as handle:
        for key in keys:
            spans = index.samples[key]
            name = format_sample(*key)
            where = f"{index.path}: sample {name}"
            json_bytes = _read_span(handle, spans["json"])
            record = parse_record(json_bytes, SampleRecord, where=f"{where}: .json", remedy=SHARD_REMEDY)
            if (record.avatar_id, record.view) != (format_avatar(key[0]), key[1]):
                raise DataError(f"{where} says it is view {record.view} of {record.avatar_id}: {SHARD_REMEDY}")
            if splits is not None and record.split not in splits:
                continue
            raw = {suffix: _read_span(handle, span) for suffix, span in spans.items() if suffix != "json"}
            decoded = decode_sample({"__key__": name, "__url__": str(index.path), **raw, "json": json_bytes})
            images = {suffix: decoded[suffix] for suffix in raw}
            size = (record.camera.height, record.camera.width)
            shapes = [image.shape[:2] for image in images.values()]
            if any(shape != size for shape in shapes):
                found = " and ".join(str(shape) for shape in shapes)
                raise DataError(f"{where} has images of {found}, its camera {size} pixels: {SHARD_REMEDY}")
            yield Sample(record, **{suffix.removesuffix(".png"): image for suffix, image in images.items()})


def _read_span(handle: BinaryIO, span: FileSpan) -> bytes:
    handle.seek(span.offset)
    data = handle.read(span.size)
    if len(data) != span.size:
        raise DataError(f"{handle.name} became shorter while it was read: {SHARD_REMEDY}")
    return data
