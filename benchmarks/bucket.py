"""A run in a bucket over the same run in a folder: wall time of renders, fits and one epoch of training ``base``.

    PYTHONPATH=.:tests python -m benchmarks.bucket [--avatars 8] [--delay-ms 30] [--mb-per-s 100] [--set KEY=VALUE]

Preset ``demo``, by the commands that people type, each stage in the folder and then in the bucket, so that a loaded
machine slows both; each command starts a Ray of its own, which is counted on both sides. The bucket is moto's, in
memory, on this machine, behind a proxy that waits so long before each request and lets so many bytes a second pass, in
either direction and of all connections together. Both take a share of the same cores, which a real bucket would not.
What lies between (``clip`` in a few steps, ``encode``) is done and not counted. The last line is one JSON object:
``ratio`` is the bucket's seconds over the folder's, ``requests_per_avatar`` those of the commands that count.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from support.bucket import environment, s3_server
from support.s3_proxy import s3_proxy

from pipeline.config.load import load_config

COMMANDS: Final = {
    "render": ("render",),
    "fit": ("fit",),
    "between": ("train", "clip", "encode"),
    "base": ("train", "base"),
}
"""In the order in which they are given."""
COUNTED: Final = ("render", "fit", "base")


def _serve(upstream: str, delay_s: float, bytes_per_s: float, wire: Connection) -> None:
    """The proxy's process: tells its address, then, whenever it is asked, how many requests there were."""
    with s3_proxy(upstream) as proxy:
        proxy.delay_s, proxy.bytes_per_s = delay_s, bytes_per_s
        wire.send(proxy.url)
        with contextlib.suppress(EOFError):
            while True:
                wire.recv()
                wire.send(len(proxy.seen))


@contextlib.contextmanager
def slow_way(upstream: str, delay_s: float, bytes_per_s: float) -> Iterator[tuple[str, Connection]]:
    """The address of a proxy that is a process of its own, and a wire that answers how many requests it has seen."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(upstream, delay_s, bytes_per_s, there), daemon=True)
    process.start()
    there.close()
    try:
        yield str(here.recv()), here
    finally:
        here.close()
        process.join(10)
        process.kill()


def seconds_of(words: tuple[str, ...], out: str, settings: list[str], variables: dict[str, str]) -> float:
    """Wall seconds of one command, which must end well."""
    chosen = [word for setting in settings for word in ("--set", setting)]
    start = time.monotonic()
    command = [sys.executable, "-m", "pipeline.cli", *words, "--out", out, "--preset", "demo", *chosen]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", type=int, default=8)
    parser.add_argument("--delay-ms", type=float, default=30.0, help="before each request")
    parser.add_argument("--mb-per-s", type=float, default=100.0, help="of all connections together")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as of rodin-pipe")
    arguments = parser.parse_args()
    # No loss on held-out avatars: it is no part of an epoch.
    plain = ("fit.min_psnr=0", "clip.steps=2", "base.held_out_every=0", "base.keep=last")
    settings = [f"render.num_avatars={arguments.avatars}", *plain, *arguments.settings]
    config = load_config(preset="demo", settings=settings)
    learners = sum(not config.is_held_out(avatar) for avatar in range(arguments.avatars))
    settings.append(f"base.steps={math.ceil(learners / config.base.batch)}")
    local: dict[str, float] = {}
    far: dict[str, float] = {}
    requests: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="rodin-bucket-") as name:
        folder = Path(name)
        with (
            s3_server(folder / "server") as server,
            slow_way(server.url, arguments.delay_ms / 1000, arguments.mb_per_s * 1e6) as (url, wire),
        ):
            variables = environment(url, folder / "cache")
            for stage, words in COMMANDS.items():
                local[stage] = seconds_of(words, str(folder / "run"), settings, {})
                wire.send(None)
                before = int(wire.recv())
                far[stage] = seconds_of(words, str(server.place("run")), settings, variables)
                wire.send(None)
                requests[stage] = int(wire.recv()) - before
                print(
                    f"{stage}: {local[stage]:.1f} s in a folder, {far[stage]:.1f} s in a bucket, "
                    f"{requests[stage]} requests",
                    flush=True,
                )
    summary = {
        "ratio": round(sum(far[stage] for stage in COUNTED) / sum(local[stage] for stage in COUNTED), 3),
        "requests_per_avatar": round(sum(requests[stage] for stage in COUNTED) / arguments.avatars, 1),
        "avatars": arguments.avatars,
        **{f"{stage}_ratio": round(far[stage] / local[stage], 3) for stage in COUNTED},
        **{f"{stage}_requests_per_avatar": round(requests[stage] / arguments.avatars, 1) for stage in COUNTED},
        "seconds_local": round(sum(local[stage] for stage in COUNTED), 1),
        "delay_ms": arguments.delay_ms,
        "mb_per_s": arguments.mb_per_s,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
