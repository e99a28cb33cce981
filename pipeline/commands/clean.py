"""``rodin-pipe clean``: dead attempts and half-written temporaries go; what is published or can be resumed stays."""

from collections.abc import Callable
from pathlib import Path

from pipeline.contracts.naming import RunLayout, next_command
from pipeline.contracts.rendering import AVATAR_JSON
from pipeline.contracts.units import bytes_text
from pipeline.io.files import exists, files_below, forget, make_folder, names
from pipeline.io.publish import publish_folder, remove_temporaries
from pipeline.io.run_lock import run_lock

Echo = Callable[[str], None]


def clean_run(layout: RunLayout, *, dry_run: bool, echo: Echo) -> None:
    """Remove dead attempts and temporaries. Takes the run's lock, so nothing alive is touched.

    Avatars that an attempt finished before it died are kept among the parts, where the next visit finds them.
    """
    with run_lock(layout.lock):
        attempts = [folder for folder in names(layout.scratch / "attempts", "*/*/*/*") if folder.is_dir()]
        dead = attempts + [folder for folder in names(layout.scratch / "ray_train") if folder.is_dir()]
        for folder in dead:
            echo(f"{'would remove' if dry_run else 'removing'} {folder} ({bytes_text(directory_bytes(folder))})")
            if dry_run:
                continue
            if folder in attempts:
                _keep_finished(folder, layout)
            forget(folder)
        if not dry_run:
            for path in remove_temporaries(layout.root):
                echo(f"removed {path}")
        if not dead:
            echo("no dead attempts")
    echo(next_command("inspect", "--out", layout.root))


def _keep_finished(attempt: Path, layout: RunLayout) -> None:
    parts = layout.scratch / "parts" / attempt.parent.relative_to(layout.scratch / "attempts")
    for record in names(attempt, f"*/{AVATAR_JSON}"):
        part = parts / record.parent.name
        if not exists(part):
            make_folder(part.parent)
            publish_folder(record.parent, part)


def directory_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in files_below(path))
