"""Two workers against one: wall time of stage ``render`` and of stage ``fit`` on the same avatars, one process.

    python benchmarks/scaling.py [--avatars 4] [--preset demo]

Each worker renders or fits with one thread. Ray's start-up is not counted; the decoder is fitted once, before. The last
line is one JSON object: seconds and ratios (1 worker over 2 workers, 2 is ideal).
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from cluster.dag import Task, TaskFailed, run_tasks
from cluster.session import ray_session
from pipeline.config.load import load_config
from pipeline.contracts.naming import RunLayout
from pipeline.driver.worker_group import Node, do_work
from pipeline.io.plane_store import create_plane_store
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.fit.decoder import fit_decoder
from pipeline.stages.work import WorkItem


def wall_seconds(tasks: list[Task], workers: int) -> float:
    """Run tasks on so many workers, after each worker's process is there."""
    with ray_session(None, num_cpus=workers):
        run_tasks([Task(f"warm-{i}", "warm", _wait, 1.0) for i in range(workers)])
        start = time.monotonic()
        results = run_tasks(tasks)
        seconds = time.monotonic() - start
    failed = [result.reason for result in results.values() if isinstance(result, TaskFailed)]
    assert not failed, failed
    return seconds


def _wait(seconds: float, inputs: object, progress: object) -> None:
    time.sleep(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", type=int, default=4)
    parser.add_argument("--preset", default="demo")
    arguments = parser.parse_args()
    config = load_config(
        preset=arguments.preset,
        settings=[
            f"render.num_avatars={arguments.avatars}",
            "render.shard_size=1",
            "render.threads=1",
            "fit.threads=1",
            "fit.min_psnr=0",
            "decoder.avatars=2",
            "decoder.steps_per_avatar=50",
        ],
    )
    fingerprints = stage_fingerprints(config)
    shards = range(arguments.avatars)
    root = Path(tempfile.mkdtemp(prefix="rodin-scaling-"))
    seconds: dict[str, dict[int, float]] = {"render": {}, "fit": {}}
    try:
        for workers in (1, 2):
            layout = RunLayout(root / f"workers-{workers}")
            renders = [
                Task(
                    f"render/{s}",
                    "render",
                    do_work,
                    Node(WorkItem(Run(layout, config), "render", fingerprints["render"], s)),
                )
                for s in shards
            ]
            seconds["render"][workers] = wall_seconds(renders, workers)
            print(f"render, {workers} workers: {seconds['render'][workers]:.1f} s", flush=True)
        layout = RunLayout(root / "workers-1")
        create_plane_store(layout.planes, config.plane_spec(), arguments.avatars)
        fit_decoder(WorkItem(Run(layout, config), "decoder", fingerprints["decoder"]), lambda done, total: None)
        for workers in (1, 2):
            shutil.rmtree(layout.ledgers("fit"), ignore_errors=True)
            fits = [
                Task(f"fit/{s}", "fit", do_work, Node(WorkItem(Run(layout, config), "fit", fingerprints["fit"], s)))
                for s in shards
            ]
            seconds["fit"][workers] = wall_seconds(fits, workers)
            print(f"fit, {workers} workers: {seconds['fit'][workers]:.1f} s", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    summary = {
        f"{stage}_{key}": round(value, 3)
        for stage, times in seconds.items()
        for key, value in (("seconds_1", times[1]), ("seconds_2", times[2]), ("speedup", times[1] / times[2]))
    }
    print(json.dumps(summary | {"avatars": arguments.avatars}))


if __name__ == "__main__":
    main()
