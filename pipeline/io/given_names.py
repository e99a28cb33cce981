"""Files as other machines name them: another case, another Unicode form, backslashes, somebody else's folders.

A name is taken as it stands first. Where nothing lies there, each part is looked for in its folder by its letters,
whatever their case and form; of an absolute path, its last parts are tried below the folder that is here.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath


def find_given(folder: Path, name: str, suffixes: Sequence[str]) -> Path | None:
    """The file that ``name`` means below ``folder``, perhaps with one of the suffixes added; None where there is
    none.
    """
    exact = [folder / name, *(folder / f"{name}{suffix}" for suffix in suffixes)]
    found = next((path for path in exact if path.is_file()), None)
    if found is not None:
        return found
    parts = _parts(name)
    is_absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
    for start in range(len(parts) if is_absolute else 1):
        found = _alike(folder, parts[start:], suffixes)
        if found is not None:
            return found
    return None


def _parts(name: str) -> list[str]:
    path = PureWindowsPath(name)  # which takes both slashes
    return [part for part in path.parts if part not in (path.anchor, ".")]


def _alike(folder: Path, parts: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """The one file whose path has the same letters; None where there is none, or more than one."""
    if not parts:
        return None
    for part in parts[:-1]:
        if part == "..":
            folder = folder.parent
            continue
        found = [path for path in _listed(folder) if path.is_dir() and _letters(path.name) == _letters(part)]
        if len(found) != 1:
            return None
        folder = found[0]
    for suffix in ("", *suffixes):
        last = _letters(parts[-1] + suffix)
        found = [path for path in _listed(folder) if path.is_file() and _letters(path.name) == last]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _letters(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
