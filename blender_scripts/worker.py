"""The Blender process of one shard: ``python -m blender_scripts.worker JOB_JSON [--parent PID]``.

Reads a ``RenderJob``; leaves ``output/a000012/`` for every finished avatar (renamed into place when complete),
``output/progress.jsonl`` with an event a line, and, last, ``output/result.json``. Standard output belongs to Blender's
chatter and goes to standard error. ``--probe`` renders one small frame and prints one JSON line instead; ``--check``
only looks whether all that it needs is there.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.contracts.errors import DataError, ResourceError, RodinError
from pipeline.contracts.rendering import RenderJob

PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 0 when a result was written, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m blender_scripts.worker", description=__doc__)
    parser.add_argument("job", nargs="?", type=Path, help="job.json")
    parser.add_argument("--parent", type=int, help="process id to die with")
    parser.add_argument("--probe", action="store_true", help="render one 64-pixel frame and print a JSON line")
    parser.add_argument(
        "--check", action="store_true", help="exit with 2 and one line if a package or asset is missing"
    )
    options = parser.parse_args(arguments)
    if options.parent is not None:
        _die_with(options.parent)
    answer = _claim_stdout()
    try:
        if options.probe:
            answer.write(json.dumps(_probe()) + "\n")
            answer.flush()
        elif options.check:
            _check()
        elif options.job is None:
            parser.error("a job.json, or --probe, is required")
        else:
            _render(_read_job(options.job))
    except RodinError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _render(job: RenderJob) -> None:
    """Render a shard. Blender is imported here only: that takes seconds, and ``--check`` must do without it."""
    began = time.perf_counter()
    from blender_scripts.job.shard_renderer import ShardRenderer

    ShardRenderer(job).run(began)


def _check() -> None:
    missing = [name for name in ("bpy", "OpenEXR", "PIL", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(
            f"{sys.executable} lacks the package {missing[0]}; "
            "install the render extra (pip install 'rodin-pipe[render]')"
        )
    from blender_scripts.body.makehuman import verify_assets

    verify_assets()


def _probe() -> dict[str, Any]:
    started = time.perf_counter()
    from blender_scripts.job.probe import render_probe
    from blender_scripts.scene.frame import blender_version

    device = render_probe()
    return {
        "ok": True,
        "bpy": blender_version(),
        "device": device,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _read_job(path: Path) -> RenderJob:
    try:
        return RenderJob.from_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"no job at {path}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path} is no render job: {where}: {first['msg']} (and {error.error_count() - 1} more)"
        ) from None


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; leave at once if that has happened already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _claim_stdout() -> Any:
    """Send file descriptor 1, where Blender prints, to the log; return the real standard output."""
    sys.stdout.flush()
    real = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return real


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Blender's static destructors can hang, and everything is written.
    os._exit(code)
