"""``rodin-pipe export nerf``: an avatar's photographs and cameras in the NeRF layout.

Training views become ``transforms_train.json``, held-out views ``_test``, the frontal view ``_val``. File paths have no
suffix, as the layout's first readers want it. The files also say under ``world`` how their axes and units lie in ours,
so that ``rodin-pipe ingest`` gives the same cameras back.
"""

import json
import shutil
from pathlib import Path
from typing import Final

from pipeline.contracts.camera import Camera
from pipeline.contracts.capture import CaptureWorld
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.contracts.naming import RunLayout, format_avatar
from pipeline.contracts.rendering import Split
from pipeline.images import encode_png
from pipeline.io.files import exists, is_folder, names
from pipeline.io.nerf_layout import transforms_document
from pipeline.io.publish import publish_folder, temporary_path
from pipeline.io.shards import Sample, read_avatar
from pipeline.run.photographs import photographs_of
from pipeline.run.run import Run

FOLDERS: Final[dict[Split, str]] = {"train": "train", "held_out": "test", "frontal": "val"}
"""Names of the layout for our splits."""


def nerf_path(layout: RunLayout, avatar: int) -> Path:
    """Where an avatar's photographs go by default."""
    return layout.root / "nerf" / format_avatar(avatar)


def export_nerf(run: Run, avatar: int, folder: Path) -> int:
    """Publish one avatar's views as ``folder``, whole or not at all; returns how many there are.

    Raises ``DataError`` where the avatar is not there or something stands at ``folder``, ``ResourceError`` where
    nothing can be written.
    """
    there = run.render_sources()
    if avatar not in there:
        raise DataError(
            f"{run.layout.root} has no photographs of {format_avatar(avatar)}; it has those of {len(there)} avatars; "
            "rodin-pipe inspect says what failed"
        )
    if exists(folder) and (not is_folder(folder) or names(folder)):
        raise DataError(f"--file {folder} is there and not an empty folder: nothing is written over; give another")
    samples = read_avatar(photographs_of(run, avatar), avatar)
    temporary = temporary_folder(folder)
    try:
        _write(temporary, samples)
        publish_folder(temporary, folder)
    except OSError as error:
        raise ResourceError(f"{folder} cannot be written ({error.strerror}): give another --file") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(samples)


def temporary_folder(folder: Path) -> Path:
    """A name beside ``folder`` that nobody else uses. Raises ``ResourceError`` where it cannot be made."""
    try:
        return temporary_path(folder.resolve())
    except OSError as error:
        raise ResourceError(f"{folder} cannot be written ({error.strerror}): give another --file") from None


def _write(folder: Path, samples: tuple[Sample, ...]) -> None:
    folder.mkdir()
    first = samples[0].record
    world = CaptureWorld(up="+y", centre=(0.0, 0.0, 0.0), half_side=1.0, extent_m=first.extent_m)
    for split, name in FOLDERS.items():
        frames: list[tuple[str, Camera]] = []
        (folder / name).mkdir()
        for sample in samples:
            if sample.record.split == split:
                file = f"{name}/v{sample.record.view:03d}"
                (folder / f"{file}.png").write_bytes(encode_png(sample.rgba))
                frames.append((f"./{file}", sample.record.camera))
        document = transforms_document(frames, world=world, caption=first.caption)
        (folder / f"transforms_{name}.json").write_text(json.dumps(document, indent=1) + "\n")
