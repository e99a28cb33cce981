"""What fitting several avatars at once costs: seconds an avatar, avatars an hour, how busy a GPU is.

``python -m benchmarks.fit FOLDER --batch 1 4 16 [--device cuda] [--precision bfloat16] [--compile] [--fused]`` calls
this; it needs torch, numpy, einops and jaxtyping only. A batch of more avatars than FOLDER has takes them again, each
with a seed of its own. Seconds count hulls, rays and steps, not the evaluation, and end when the last avatar of the
batch has reached the wanted PSNR; divided by the avatars, they are the price of one. Kernels are counted on CUDA only,
over steps at full resolution.
"""

import json
import math
import time
from collections.abc import Sequence

import torch

from benchmarks.subject import Subject, quality_of
from rodin_models.fit.batch_fit import BatchFit
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.shading import Shader, Shading, probe_compile, probe_kernels

PROFILED_STEPS = 20


def measure(
    subjects: Sequence[Subject],
    settings: FitSettings,
    shading: Shading,
    batch: int,
    *,
    wanted: Sequence[float],
    every: int,
    render_samples: int,
    seed: int,
) -> dict[str, float | int | None]:
    """Fit one batch to its end; when each PSNR was reached, and what that comes to an avatar."""
    chosen = [subjects[i % len(subjects)] for i in range(batch)]
    qualities = [quality_of(subject, render_samples) for subject in chosen]
    device = chosen[0].mean_planes.device
    start = _now(device)
    fit = _start(chosen, settings, shading, seed)
    setup = seconds = _now(device) - start
    best = [-math.inf] * batch
    reached: dict[float, float] = {}
    for step in range(1, settings.steps + 1):
        start = _now(device) if step % every == 1 or every == 1 else start
        fit.step()
        if step % every and step != settings.steps:
            continue
        seconds += _now(device) - start
        scores = [quality(planes) for quality, planes in zip(qualities, fit.planes, strict=True)]
        best = [max(pair) for pair in zip(best, scores, strict=True)]
        for level in wanted:
            if min(best) >= level:
                reached.setdefault(level, seconds)
        print(f"    step {step}: {seconds:.2f} s, worst of the batch {min(best):.2f} dB", flush=True)
    told: dict[str, float | int | None] = {"batch": batch, "setup_s": round(setup / batch, 4)}
    for level in wanted:
        each = reached[level] / batch if level in reached else None
        told[f"s_per_avatar_to_{level:g}_db"] = each and round(each, 4)
        told[f"avatars_per_hour_to_{level:g}_db"] = each and round(3600 / each, 1)
    told["s_per_avatar_all_steps"] = round(seconds / batch, 4)
    told["avatars_per_hour_all_steps"] = round(3600 * batch / seconds, 1)
    told["psnr_db"] = round(sum(best) / batch, 3)
    told["ms_per_step"] = round(1e3 * (seconds - setup) / settings.steps, 3)
    if device.type == "cuda":
        told["kernel_share"] = round(_kernel_share(fit), 4)
        told["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return told


def run(
    subjects: Sequence[Subject],
    settings: FitSettings,
    shading: Shading,
    batches: Sequence[int],
    *,
    wanted: Sequence[float],
    every: int,
    render_samples: int,
    seed: int,
) -> None:
    """Measure each batch size and print a line for it; the last line is one JSON object with all of them."""
    device = subjects[0].mean_planes.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    told = {"device": name, "torch": torch.__version__, "precision": str(shading.dtype).removeprefix("torch.")}
    means = {"compiled": shading.compiled, "fused": shading.fused}
    print(", ".join([*told.values(), *(name for name, meant in means.items() if meant)]))
    if shading.compiled:
        probe_compile(device)
    if shading.fused:
        probe_kernels(device)
    _start(subjects[:1], settings, shading, seed).step()  # whatever the device does once
    rows = []
    for batch in batches:
        print(f"batch of {batch}", flush=True)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        if shading.compiled:  # a batch size is compiled once, whatever the number of shards
            _start([subjects[0]] * batch, settings, shading, seed).step()
        more = dict(wanted=wanted, every=every, render_samples=render_samples, seed=seed)
        rows.append(measure(subjects, settings, shading, batch, **more))
        print("  ", ", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    print(json.dumps({**told, **means, "batches": rows}))


def _start(chosen: Sequence[Subject], settings: FitSettings, shading: Shading, seed: int) -> BatchFit:
    first = chosen[0]
    device = first.mean_planes.device
    generators = [torch.Generator(device).manual_seed(seed + i) for i in range(len(chosen))]
    shader = Shader(first.decoder, shading)
    return BatchFit(lambda i: chosen[i].train, shader, settings, generators, initial=first.mean_planes)


def _kernel_share(fit: BatchFit) -> float:
    """Share of the wall time of some more steps in which a kernel or a copy runs on the GPU."""
    device = fit.table.device
    fit.step()
    start = _now(device)
    for _ in range(PROFILED_STEPS):
        fit.step()
    wall = _now(device) - start
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(PROFILED_STEPS):
            fit.step()
        _now(device)
    # The wall time is of steps that were not watched: watching slows the host down, not the kernels.
    # Kernels are told twice, on the device and with the operator that began them.
    on_device = [e for e in profile.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA]
    busy_us = sum(event.self_device_time_total for event in on_device)
    return busy_us / 1e6 / wall


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
