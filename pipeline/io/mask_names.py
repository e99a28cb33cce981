"""Which file is an image's mask: what its frame says, or what in a folder of masks is named after it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.contracts.errors import DataError
from pipeline.io.given_names import find_given
from pipeline.io.lens_keys import short

MASK_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")


def find_mask(folder: Path, frame: Mapping[str, Any], image: Path, masks: Path | None, where: str) -> Path | None:
    """The mask of a frame of a JSON in ``folder``: its ``mask_path``, or in ``masks`` the one of its image's name.

    Masks may lie in folders like the images'. Raises ``DataError`` where one is missing, or is the image itself.
    """
    named = frame.get("mask_path")
    if named is not None and not isinstance(named, str):
        raise DataError(f"{where}: mask_path is {short(named)}, not the name of a file")
    if named:
        found = find_given(folder, named, MASK_SUFFIXES)
        if found is None:
            raise DataError(f"{where}: there is no mask {named}: restore it or take mask_path out")
    elif masks is not None:
        found = _in_folder(folder, image, masks)
        if found is None:
            raise DataError(f"{where}: {masks} holds no mask named {image.stem}: give one for each image")
    else:
        return None
    if found.resolve() == image.resolve():
        raise DataError(f"{where}: its mask {found} is the image itself: give masks that are black and white")
    return found


def _in_folder(folder: Path, image: Path, masks: Path) -> Path | None:
    """The mask of an image, from the longest path that masks and images may share to the bare name."""
    try:
        parents = image.resolve().relative_to(folder.resolve()).parts[:-1]
    except ValueError:
        parents = ()
    for start in range(len(parents) + 1):
        below = "/".join(parents[start:])
        for name in (image.name, image.stem, f"{image.stem}_mask", f"mask_{image.stem}"):
            found = find_given(masks, f"{below}/{name}" if below else name, MASK_SUFFIXES)
            if found is not None:
                return found
    return None
