"""A finished avatar on disk: a folder named after it with a few files a view and ``avatar.json``, written last.

This is the part that a restarted shard adopts, so nothing is taken on trust: every file is hashed again.
"""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar, format_sample, parse_sample
from pipeline.contracts.rendering import (
    AVATAR_JSON,
    REQUIRED_SUFFIXES,
    SAMPLE_SUFFIXES,
    Rejection,
    RenderedAvatar,
    RenderedFile,
)
from pipeline.io.ledger import parse_record
from pipeline.io.publish import publish_folder, temporary_path

_REMEDY = "delete the folder and run the same command again to render this avatar anew"


def read_avatar_record(folder: Path) -> RenderedAvatar:
    """``avatar.json`` of a finished avatar, checked against the folder's name and the names a sample must have.

    Raises ``DataError``. The files it lists are not opened.
    """
    path = folder / AVATAR_JSON
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{folder} has no {AVATAR_JSON}, so it is not finished: {_REMEDY}") from None
    rendered = parse_record(data, RenderedAvatar, where=str(path), remedy=_REMEDY)
    if format_avatar(rendered.avatar) != folder.name:
        raise DataError(f"{path} is of avatar {rendered.avatar}, not of {folder.name}: {_REMEDY}")
    views = _views(rendered, path)
    suffixes = file_suffixes(rendered)
    expected = [f"{format_sample(rendered.avatar, view)}.{suffix}" for view in views for suffix in suffixes]
    if not set(REQUIRED_SUFFIXES) <= set(suffixes) or sorted(f.name for f in rendered.files) != sorted(expected):
        needed = [suffix for suffix in SAMPLE_SUFFIXES if suffix in {*suffixes, *REQUIRED_SUFFIXES}]
        raise DataError(f"{path} does not list {', '.join(needed)} once for each view: {_REMEDY}")
    return rendered


def verify_avatar_folder(folder: Path, views: Collection[int] | None = None) -> RenderedAvatar:
    """Check a finished avatar's folder byte for byte and return its record, files in the order of the tar.

    Raises ``DataError`` if a file is missing, superfluous or differs from what ``avatar.json`` says, or if
    ``views`` is given and the folder holds others.
    """
    rendered = read_avatar_record(folder)
    if views is not None and set(_views(rendered, folder)) != set(views):
        held = len(_views(rendered, folder))
        raise DataError(f"{folder} holds {held} views, not the {len(views)} asked for: {_REMEDY}")
    superfluous = {path.name for path in folder.iterdir()} - {file.name for file in rendered.files} - {AVATAR_JSON}
    if superfluous:
        raise DataError(f"{folder} holds {min(superfluous)}, which {AVATAR_JSON} does not list: {_REMEDY}")
    ordered = rendered.model_copy(update={"files": tuple(sorted(rendered.files, key=sample_order))})
    for file in ordered.files:
        read_verified(folder, file)
    return ordered


def read_verified(folder: Path, file: RenderedFile) -> bytes:
    """The content of one listed file; raises ``DataError`` unless it is what was listed."""
    try:
        data = (folder / file.name).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{folder} lacks {file.name}: {_REMEDY}") from None
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise DataError(f"{folder / file.name} is not what {AVATAR_JSON} says ({len(data)} bytes): {_REMEDY}")
    return data


def publish_avatar_folder(
    parent: Path,
    avatar: int,
    files: Iterable[tuple[str, bytes]],
    seconds: dict[str, float],
    *,
    sub_seed: int = 0,
    rejections: tuple[Rejection, ...] = (),
) -> RenderedAvatar:
    """Write ``files`` (name, content) and their record as ``parent/a000012``, whole or not at all."""
    final = parent / format_avatar(avatar)
    temporary = temporary_path(final)
    temporary.mkdir()
    listed = []
    for name, data in files:
        (temporary / name).write_bytes(data)
        listed.append(RenderedFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
    rendered = RenderedAvatar(
        avatar=avatar, files=tuple(listed), seconds=seconds, sub_seed=sub_seed, rejections=rejections
    )
    (temporary / AVATAR_JSON).write_text(rendered.to_json())
    publish_folder(temporary, final)
    return rendered


def avatar_sha256(rendered: RenderedAvatar) -> str:
    """A hash over names and hashes of an avatar's files, in the order of the tar: what its fit depends on.

    Rendering times are no part of it, so an avatar taken back out of a tar has the same hash.
    """
    lines = (f"{file.name} {file.sha256}\n" for file in sorted(rendered.files, key=sample_order))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_suffixes(rendered: RenderedAvatar) -> tuple[str, ...]:
    """Which suffixes an avatar's files have, in the order of the tar."""
    found = {split_file_name(file.name)[2] for file in rendered.files}
    return tuple(suffix for suffix in SAMPLE_SUFFIXES if suffix in found)


def split_file_name(name: str) -> tuple[int, int, str]:
    """Avatar, view and suffix of a sample's file; raises ``DataError`` for any other name."""
    key, _, suffix = name.partition(".")
    avatar, view = parse_sample(key)
    if suffix not in SAMPLE_SUFFIXES:
        raise DataError(f"{name!r} ends in none of {', '.join(SAMPLE_SUFFIXES)}")
    return avatar, view, suffix


def sample_order(file: RenderedFile) -> tuple[int, int, int]:
    """Sorting key: by avatar, then view, then :data:`SAMPLE_SUFFIXES`."""
    avatar, view, suffix = split_file_name(file.name)
    return avatar, view, SAMPLE_SUFFIXES.index(suffix)


def _views(rendered: RenderedAvatar, where: Path) -> list[int]:
    try:
        names = [split_file_name(file.name) for file in rendered.files]
    except DataError as error:
        raise DataError(f"{where}: {error}: {_REMEDY}") from None
    if not names or any(avatar != rendered.avatar for avatar, _, _ in names):
        raise DataError(f"{where} lists no file, or one of another avatar: {_REMEDY}")
    return sorted({view for _, view, _ in names})
