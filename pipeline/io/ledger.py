"""Ledger entries: the JSON file that proves one work item of a stage done, published last.

An entry that is absent means "not done"; one that cannot be read is an error, never "not done", because redoing
finished work silently would hide that something damaged it.
"""

import contextlib
import gc
import json
import os
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.record import Record, validation_summary
from pipeline.io.bucket import run_objects
from pipeline.io.bucket.objects import below
from pipeline.io.publish import flush_to_disk, publish_text

AnyRecord = TypeVar("AnyRecord", bound=Record)

_REMEDY = "delete it and run the same command again to redo that work item"


def read_ledger(path: Path, record_type: type[AnyRecord]) -> AnyRecord | None:
    """The entry at ``path``, or ``None`` if the work item is not done.

    Raises ``DataError`` if the file is damaged or of another schema version.
    """
    if isinstance(path, BucketPath):
        try:
            return parse_record(run_objects.read_bytes(path), record_type, where=str(path), remedy=_REMEDY)
        except FileNotFoundError:
            return None
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    record: AnyRecord = _read_version(path, record_type, (status.st_ino, status.st_mtime_ns, status.st_size))
    return record


@lru_cache(maxsize=16_384)
def _read_version(path: Path, record_type: type[AnyRecord], version: tuple[int, int, int]) -> AnyRecord:
    """One published version of an entry: who reads anew parses only what changed, and records cannot change."""
    del version
    for key in record_type.left_unread:
        short = _without_last(path, key)
        if short is not None:
            with contextlib.suppress(ValidationError):  # more was cut off than that: it is of an older version
                record = record_type.from_json(short)
                if getattr(record, "schema_version", SCHEMA_VERSION) == SCHEMA_VERSION:
                    return record
    return parse_record(path.read_bytes(), record_type, where=str(path), remedy=_REMEDY)


def _without_last(path: Path, key: str) -> bytes | None:
    """An entry without its last key, a long list that is not even read; ``None`` where it does not end so."""
    begin, end = f'\n "{key}": [\n'.encode(), b"\n ]\n}\n"
    with path.open("rb") as handle:
        head = b""
        while begin not in head:
            block = handle.read(2**14)
            if not block:
                return None
            head += block
        handle.seek(-len(end), os.SEEK_END)
        if handle.read() != end:
            return None
    return head[: head.index(begin)].removesuffix(b",") + b"\n}\n"


def write_ledger(path: Path, record: Record) -> None:
    """Publish the entry. What it proves must be published before.

    In a bucket it is created, or replaces the entry that is there at this moment; raises ``RunLockedError`` where
    somebody else was first.
    """
    if isinstance(path, BucketPath):
        run_objects.publish_entry(path, record.to_json().encode())
    else:
        publish_text(path, record.to_json())


def read_entries(folder: Path, names: Sequence[str], record_type: type[AnyRecord]) -> dict[str, AnyRecord]:
    """Those of the named entries of a stage that are there, in the order of the names. Raises ``DataError``.

    In a bucket, one look at the folder, and only what is new is downloaded, several at a time.
    """
    if isinstance(folder, BucketPath):
        there = _listed(folder, record_type, set(names))
        return {name: there[name] for name in names if name in there}
    found = ((name, read_ledger(folder / f"{name}.json", record_type)) for name in names)
    with _without_collection():
        return {name: record for name, record in found if record is not None}


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Thousands of records at once have Python look for garbage among them again and again; there is none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_ledgers(folder: Path, record_type: type[AnyRecord]) -> dict[str, AnyRecord]:
    """All entries of a stage, by name, in order of name; empty if the stage has none. Raises ``DataError``."""
    if isinstance(folder, BucketPath):
        return _listed(folder, record_type)
    entries = {}
    for path in sorted(folder.glob("*.json")):
        data = path.read_bytes()
        entries[path.stem] = parse_record(data, record_type, where=str(path), remedy=_REMEDY)
    return entries


def forget_ledgers(folder: Path) -> None:
    """Remove all entries of a stage, so that its work items count as not done."""
    if isinstance(folder, BucketPath):
        run_objects.forget(folder)
        return
    for path in folder.glob("*.json"):
        path.unlink()
    if folder.exists():
        flush_to_disk(folder)


def _listed(
    folder: BucketPath, record_type: type[AnyRecord], names: Collection[str] | None = None
) -> dict[str, AnyRecord]:
    found = [
        item
        for item in below(folder)
        if item.path.parent == folder and item.path.suffix == ".json" and (names is None or item.path.stem in names)
    ]
    contents = run_objects.side_by_side(found, run_objects.read_known)
    return {
        item.path.stem: parse_record(data, record_type, where=str(item.path), remedy=_REMEDY)
        for item, data in zip(found, contents, strict=True)
    }


def parse_record(data: bytes, record_type: type[AnyRecord], *, where: str, remedy: str) -> AnyRecord:
    """Parse a record's JSON; one line of ``DataError`` with ``where`` and ``remedy`` if that fails.

    Another ``schema_version`` is told before anything else, since its fields may differ.
    """
    invalid: ValidationError | None = None
    try:
        record = record_type.from_json(data)
        version = getattr(record, "schema_version", SCHEMA_VERSION)
    except ValidationError as error:
        invalid, version = error, _version_of(data, where, remedy)
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{where} has schema version {version!r}, and this program reads version {SCHEMA_VERSION}: "
            "use the version of rodin-pipe that wrote it, or start a new run"
        )
    if invalid is not None:
        raise DataError(f"{where} is no valid {record_type.__name__} ({validation_summary(invalid)}): {remedy}")
    return record


def _version_of(data: bytes, where: str, remedy: str) -> object:
    """What an entry that does not parse says of its schema; raises ``DataError`` where it is no JSON at all."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise DataError(f"{where} is no JSON ({error}): {remedy}") from None
    return found.get("schema_version", SCHEMA_VERSION) if isinstance(found, dict) else SCHEMA_VERSION
