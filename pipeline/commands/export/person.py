"""``rodin-pipe export person``: the mesh that an avatar was photographed from, with its hair as lines."""

import sys
from pathlib import Path

from pipeline.blender_process import build_person_mesh
from pipeline.contracts.errors import ConfigError, DataError, ResourceError
from pipeline.contracts.naming import RunLayout, format_avatar
from pipeline.io.files import is_folder, make_folder
from pipeline.io.publish import delivering
from pipeline.run.run import Run


def person_path(layout: RunLayout, avatar: int) -> Path:
    """Where an avatar's own mesh goes by default."""
    return layout.root / "meshes" / f"{format_avatar(avatar)}-person.glb"


def export_person(run: Run, avatar: int, path: Path) -> None:
    """Write the mesh of a rendered avatar, built again from its spec: binary glTF in metres.

    Raises ``ConfigError`` for a path that cannot be, ``DataError`` for an avatar that is not there, ``ResourceError``
    where the mesh cannot be built or written.
    """
    if path.suffix.lower() != ".glb" or is_folder(path):
        raise ConfigError(f"--file {path} is no name of a .glb file")
    specs = run.specs()
    if avatar not in specs:
        raise DataError(
            f"{run.layout.root} has rendered no {format_avatar(avatar)}: it has specs of {len(specs)} avatars; "
            "captures that were ingested have none"
        )
    try:
        make_folder(path.parent)
    except OSError as error:
        raise ResourceError(f"{path.parent} cannot be made: {error.strerror}") from None
    with delivering(path) as written:
        build_person_mesh(
            specs[avatar], run.config.render.extent_m, written, python=run.config.render.python or sys.executable
        )
