"""One frame of a scene into a file, and which Blender renders it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy


def render_frame(scene: Any, path: Path) -> None:
    """Render the scene's current view into a multilayer EXR."""
    scene.render.filepath = str(path)
    with _without_chatter():
        bpy.ops.render.render(write_still=True, scene=scene.name)


def blender_version() -> str:
    """Of the module that is loaded, such as 4.5.15."""
    version: str = bpy.app.version_string.split()[0]
    return version


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Drop what is printed on file descriptor 1: Cycles reports fifty lines of progress a frame."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
