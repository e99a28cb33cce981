"""The whole render stage against bare Blender: the same avatars, cameras, samples, passes and threads.

    python benchmarks/render.py [--avatars 6] [--views 40] [--resolution 256] [--samples 16] [--threads 2]
                                [--rounds 1] [--memory-avatars 60]

``stage`` is everything from nothing to a published shard: the process's start, geometry, checks, redraws, labels, tar,
ledger. ``bare`` renders scenes that are built already, the camera moved from view to view, one sync an avatar, and
times nothing else. ``rebuild`` does the same without persistent data, as the usual scripts do. A round measures all
three; ratios are medians over the rounds. Then many avatars at one small view each in one process say what memory does.
The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.blender_process import run_blender
from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.contracts.naming import RunLayout, format_avatar
from pipeline.contracts.rendering import RenderedAvatar, RenderJob, RenderReport
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.render import avatar_jobs, render_job, render_shard
from pipeline.stages.work import WorkItem


def bare_loops(job_path: Path) -> None:
    """In a Blender process: time the loops of a job's avatars, with and without persistent data; print JSON."""
    from blender_scripts.job.preparation import prepare
    from blender_scripts.scene import cycles
    from blender_scripts.scene.camera import place_camera
    from blender_scripts.scene.frame import render_frame
    from blender_scripts.scene.scene import make_scene
    from pipeline.contracts.randomness import seed_for

    job = RenderJob.from_json(job_path.read_bytes())
    device = cycles.choose_device(job.settings.device)
    frame = Path(job.output) / "frame.exr"
    seconds = {"bare": 0.0, "rebuild": 0.0}
    for avatar in job.avatars:
        prepared = prepare(avatar, job.settings.extent_m)
        for kind in seconds:
            scene = make_scene(prepared.parts, prepared.spec.light, job.settings.extent_m)
            cycles.configure(scene, job.settings, device)
            scene.render.use_persistent_data = kind == "bare"
            started = time.perf_counter()
            for view in avatar.views:
                cycles.seed_view(scene, seed_for(prepared.spec.seed, view.view, "cycles"))
                place_camera(scene, view.camera)
                render_frame(scene, frame)
            seconds[kind] += time.perf_counter() - started
    frame.unlink()
    sys.stdout.write("SECONDS " + json.dumps(seconds) + "\n")
    sys.stdout.flush()
    os._exit(0)  # Blender's static destructors can hang


def measure_bare(config: RunConfig, avatars: int, folder: Path) -> dict[str, float]:
    """Seconds of the two loops."""
    folder.mkdir()
    job = render_job(config, 0, avatar_jobs(config, range(avatars)).values(), folder)
    (folder / "job.json").write_text(job.to_json())
    environment = dict(os.environ, OMP_NUM_THREADS=str(config.render.threads))
    command = [sys.executable, __file__, "--bare", str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("SECONDS "))
    found: dict[str, float] = json.loads(line.removeprefix("SECONDS "))
    return found


def measure_stage(config: RunConfig, root: Path) -> tuple[float, RenderReport]:
    """Seconds of one shard, from nothing to its ledger."""
    item = WorkItem(Run(RunLayout(root), config), "render", stage_fingerprints(config)["render"], 0)
    started = time.perf_counter()
    report = render_shard(item, lambda done, total: None)
    seconds = time.perf_counter() - started
    assert not report.failures, report.failures[0].reason
    return seconds, report


def measure_memory(config: RunConfig, avatars: int, folder: Path) -> list[float]:
    """MB held after each avatar of one process that renders one small view of each."""
    folder.mkdir()
    job = render_job(config, 0, avatar_jobs(config, range(avatars)).values(), folder)
    one = tuple(a.model_copy(update={"views": (a.views[-1],)}) for a in job.avatars)
    outcome = run_blender(job.model_copy(update={"avatars": one}), python=sys.executable, timeout_s=600.0)
    assert outcome.result is not None, outcome.log_tail
    records = (folder / format_avatar(avatar) / "avatar.json" for avatar in outcome.result.done)
    return [RenderedAvatar.from_json(record.read_bytes()).rss_mb for record in records]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    for name, value in {"avatars": 6, "views": 40, "resolution": 256, "samples": 16, "threads": 2, "rounds": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--memory-avatars", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], help="as rodin-pipe's, such as render.passes.normal=true")
    given = parser.parse_args()
    if given.bare:
        bare_loops(given.bare)

    def configuration(avatars: int, resolution: int) -> RunConfig:
        return load_config(
            preset="demo",
            settings=[
                f"render.num_avatars={max(avatars, 6)}",
                f"render.shard_size={avatars}",
                f"render.train_views={given.views - 2}",
                "render.held_out_views=1",
                f"render.resolution={resolution}",
                f"render.samples={given.samples}",
                f"render.threads={given.threads}",
                "render.timeout_s=600.0",
                "refiner.input_side=16",
                *given.set,
            ],
        )

    config = configuration(given.avatars, given.resolution)
    images = given.avatars * given.views
    rates: dict[str, list[float]] = {"stage": [], "bare": [], "rebuild": []}
    with tempfile.TemporaryDirectory(prefix="rodin-render-") as name:
        root = Path(name)
        for number in range(given.rounds):
            loops = measure_bare(config, given.avatars, root / f"bare-{number}")
            seconds, report = measure_stage(config, root / f"stage-{number}")
            for kind, spent in {**loops, "stage": seconds}.items():
                rates[kind].append(images / spent)
            told = ", ".join(f"{kind} {rates[kind][-1]:.3f}" for kind in rates)
            print(f"round {number}: images/s: {told}; load {os.getloadavg()[0]:.1f}", flush=True)
            steps = ", ".join(f"{step} {spent:.2f}" for step, spent in report.seconds.items())
            print(f"  seconds an avatar: {steps}; redraws {len(report.rejections)}", flush=True)
        memory: list[float] = []
        if given.memory_avatars:
            memory = measure_memory(configuration(given.memory_avatars, 64), given.memory_avatars, root / "memory")
    if memory:
        print("memory after avatars, MB:", ", ".join(f"{i + 1}: {mb:.0f}" for i, mb in list(enumerate(memory))[::10]))
    ratios = {
        f"stage_over_{kind}": statistics.median(s / b for s, b in zip(rates["stage"], rates[kind], strict=True))
        for kind in ("bare", "rebuild")
    }
    summary = {
        **{name: round(value, 4) for name, value in ratios.items()},
        "images_per_s": round(statistics.median(rates["stage"]), 4),
        "peak_rss_mb": max([report.peak_rss_mb, *memory]),
        "avatars": given.avatars,
        "views": given.views,
        "resolution": given.resolution,
        "samples": given.samples,
        "threads": given.threads,
        "load": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
