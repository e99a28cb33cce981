"""``rodin-pipe`` and ``python`` as somebody calls them who installed the program."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def reader_environment(folder: Path, options: Sequence[str] = ()) -> dict[str, str]:
    """An environment in which both are this interpreter's; they are made in ``folder``.

    ``options`` are what each ``rodin-pipe`` gets too.
    """
    folder.mkdir(exist_ok=True)
    python = shlex.quote(sys.executable)
    for name, command in (
        ("python", f'{python} "$@"'),
        ("rodin-pipe", f'{python} -m pipeline.cli "$@" {shlex.join(options)}'),
    ):
        path = folder / name
        path.write_text(f"#!/bin/sh\nexec {command}\n")
        path.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return inherited | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
