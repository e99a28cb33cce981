"""What was made in a studio: a folder an avatar, with its settings, that is there again after a restart.

    FOLDER/made/0001-a-woman/   planes.npy, pictures, turntables, avatar.html, avatar.glb, settings.json
           uploads/             what browsers sent; emptied when a studio starts and when it ends
           work/                what is in the making; emptied likewise
           lock                 held by the one studio of this folder

An avatar is published by one rename, so what stands below ``made/`` is whole.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.contracts.errors import DataError, ResourceError, RunLockedError
from pipeline.io.files import exists, names, read_bytes
from pipeline.io.ledger import parse_record
from pipeline.io.publish import empty_folder, publish_folder, publish_text
from pipeline.io.run_lock import run_lock
from pipeline.studio.wish import Made

SETTINGS: Final = "settings.json"
PAGE: Final = "avatar.html"
MESH: Final = "avatar.glb"
PICTURE: Final = "frontal_refined.png"
DOWNLOADS: Final = (
    ("HTML", PAGE),
    ("GLB", MESH),
    ("MP4", "turntable_refined.mp4"),
    ("GIF", "turntable_refined.gif"),
    ("PNG", PICTURE),
    ("planes", "planes.npy"),
)
"""What can be taken home, and its file; a turntable is a GIF only where this machine has no encoder for MP4."""
NAME: Final = re.compile(r"\d{4,}-[\w.-]+")
WORDS: Final = 40
"""Characters of a title in a name."""


@dataclass(frozen=True)
class Item:
    """An avatar on the shelf."""

    folder: Path
    made: Made

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    def downloads(self) -> tuple[tuple[str, str], ...]:
        """What there is of :data:`DOWNLOADS`."""
        return tuple((label, file) for label, file in DOWNLOADS if exists(self.folder / file))

    def portrait(self) -> Path | None:
        """The portrait that it was made of."""
        return self.folder / portrait_file(self.made.wish.portrait) if self.made.wish.portrait else None


@dataclass(frozen=True)
class Shelf:
    """The folder of a studio."""

    root: Path

    @property
    def uploads(self) -> Path:
        """Where browsers' files go."""
        return self.root / "uploads"

    @property
    def work(self) -> Path:
        """Where avatars are in the making."""
        return self.root / "work"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder while the block runs: no other studio has it, and what is passing is gone before and after.

        Raises ``ResourceError`` where another studio has it, or where it cannot be written.
        """
        try:
            with run_lock(self.root / "lock"):
                self._clear()
                try:
                    yield
                finally:
                    self._clear()
        except RunLockedError:
            raise ResourceError(
                f"{self.root} is in use by another studio: stop that one, or give another --to"
            ) from None
        except OSError as error:
            raise ResourceError(f"{self.root} cannot be written ({error.strerror}): give another --to") from None

    def look(self) -> tuple[tuple[Item, ...], tuple[str, ...]]:
        """All that was made, the newest first, and a sentence for each folder whose settings are damaged or gone."""
        found, complaints = [], []
        for folder in names(self.root / "made"):
            try:
                found.append(self._item(folder))
            except DataError as error:
                complaints.append(str(error))
        return tuple(sorted(found, key=lambda item: _number(item.folder), reverse=True)), tuple(complaints)

    def find(self, name: str) -> Item:
        """The avatar of that name; raises ``DataError`` where there is none."""
        folder = self.root / "made" / name
        if not NAME.fullmatch(name) or not exists(folder / SETTINGS):
            raise DataError(f"there is no avatar {name!r} here any more: choose another")
        return self._item(folder)

    def add(self, folder: Path, made: Made) -> Item:
        """Put a finished folder, below :attr:`work`, on the shelf with its settings."""
        publish_text(folder / SETTINGS, made.to_json())
        final = self.root / "made" / f"{self._next_number():04d}-{_words(made.wish.title)}"
        final.parent.mkdir(exist_ok=True)
        publish_folder(folder, final, replace=False)
        return Item(final, made)

    def _next_number(self) -> int:
        there = [path for path in names(self.root / "made") if NAME.fullmatch(path.name)]
        return max(map(_number, there), default=0) + 1

    def _item(self, folder: Path) -> Item:
        path = folder / SETTINGS
        if not NAME.fullmatch(folder.name) or not exists(path):
            raise DataError(f"{folder} is no avatar of a studio: it has no {SETTINGS}, or another name than they have")
        return Item(folder, parse_record(read_bytes(path), Made, where=str(path), remedy="make it again"))

    def _clear(self) -> None:
        for folder in (self.uploads, self.work):
            empty_folder(folder)


def portrait_file(name: str) -> str:
    """Under which name a portrait stands in an avatar's folder, however its owner calls it."""
    return f"portrait-{name}"


def _number(folder: Path) -> int:
    return int(folder.name.split("-")[0])


def _words(title: str) -> str:
    said = unicodedata.normalize("NFC", title).lower()
    return re.sub(r"[\W_]+", "-", said)[:WORDS].strip("-") or "avatar"
