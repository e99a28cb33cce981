"""A run on nodes that are taken away, over the same run on nodes that stay: wall time of renders and fits.

    PYTHONPATH=.:tests python -m benchmarks.spot [--avatars 16] [--every 30] [--set KEY=VALUE]

Preset ``demo`` in small, by the commands that people type, with Blender. Both runs have two nodes of one CPU, each a
Ray of its own on this machine; in the second, every ``--every`` seconds the node that has been there longest is lost
(SIGKILL to its raylet, which takes its tasks with it) and another joins. A node of a cloud takes minutes to come; one
of these takes seconds of the same cores that the others work on. The last line is one JSON object: ``overhead`` is the
seconds of the second run over those of the first, less 1; ``same_bytes`` says that tars, decoder and planes are equal.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from support.commands import finish, started
from support.nodes import DOES_BOTH, cluster, kill_node
from support.tiny import tree_hashes

NODES: Final = 2
SMALL: Final = (
    "render.shard_size=2",
    "render.resolution=96",
    "render.train_views=8",
    "render.samples=2",
    "render.held_out_every=8",
    "decoder.avatars=2",
    "decoder.min_avatars=1",
    "decoder.steps_per_avatar=200",
    "fit.min_psnr=0",
    "train.start_from=",
    "refiner.input_side=48",
)
OUTPUTS: Final = ("renders", "decoder", "planes.zarr")


def seconds_of(run: Path, settings: list[str], every_s: float) -> tuple[float, int]:
    """Wall seconds of renders and fits on a cluster, and how many nodes it lost on the way; 0 loses none."""
    lost, log = 0, run.with_suffix(".log")
    with cluster('--resources={"train": 1}') as head, ExitStack() as stack:
        nodes: deque[subprocess.Popen[bytes]] = deque(stack.enter_context(head.node(*DOES_BOTH)) for _ in range(NODES))
        head.wait_for(NODES)
        start = time.monotonic()
        next_loss = start + every_s
        for command in ("render", "fit"):
            words = (command, "--preset", "demo", "--out", run, *settings, "--address", head.address)
            with started(*words, log=log) as driver:
                while driver.poll() is None:
                    time.sleep(0.1)
                    if every_s and time.monotonic() > next_loss:
                        kill_node(nodes.popleft())
                        nodes.append(stack.enter_context(head.node(*DOES_BOTH)))
                        lost, next_loss = lost + 1, next_loss + every_s
                finish(driver, log=log)
        return time.monotonic() - start, lost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", type=int, default=16)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two losses")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as of rodin-pipe")
    arguments = parser.parse_args()
    chosen = (f"render.num_avatars={arguments.avatars}", *SMALL, *arguments.settings)
    settings = [word for setting in chosen for word in ("--set", setting)]
    with tempfile.TemporaryDirectory(prefix="rodin-spot-") as name:
        calm, spot = Path(name, "calm"), Path(name, "spot")
        calm_s, _ = seconds_of(calm, settings, 0.0)
        print(f"nodes that stay: {calm_s:.1f} s", flush=True)
        spot_s, lost = seconds_of(spot, settings, arguments.every)
        print(f"nodes that are taken away, {lost} of them: {spot_s:.1f} s", flush=True)
        same = all(tree_hashes(spot / output) == tree_hashes(calm / output) for output in OUTPUTS)
    summary = {
        "overhead": round(spot_s / calm_s - 1, 3),
        "lost": lost,
        "every_s": arguments.every,
        "same_bytes": same,
        "avatars": arguments.avatars,
        "seconds_calm": round(calm_s, 1),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
