"""What Cycles' settings cost and give: seconds and PSNR against many samples, on the same scenes, in one process.

    python benchmarks/render_settings.py [--avatars 3] [--views 4] [--resolution 256] [--threads 2] [--samples 16]
                                         [--truth 256] [--only NAME ...]

Each try changes one thing of what ``blender_scripts.scene.cycles`` sets. Of each avatar the first frame, which syncs
the scene, is not timed. The truth is not denoised and has a seed of its own, so its noise bounds what a try can reach:
``truth again`` says how far. PSNR is over white, of 8-bit images, averaged over images. Beside images/s stand the CPU
seconds of an image, which other work on the machine disturbs less. The last line is one JSON object.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blender_scripts.job.preparation import Prepared, prepare
from blender_scripts.scene import cycles
from blender_scripts.scene.camera import place_camera
from blender_scripts.scene.frame import render_frame
from blender_scripts.scene.passes import encode_rgba, read_passes
from blender_scripts.scene.scene import make_scene
from pipeline.config.load import load_config
from pipeline.contracts.rendering import AvatarJob
from pipeline.stages.render import avatar_jobs, render_job

Image = npt.NDArray[np.float64]


def set_samples(count: int, denoise: bool = True) -> Callable[[Any], None]:
    """Samples a pixel."""

    def change(scene: Any) -> None:
        scene.cycles.samples, scene.cycles.use_denoising = count, denoise

    return change


def set_cycles(**values: Any) -> Callable[[Any], None]:
    """Properties of ``scene.cycles``."""

    def change(scene: Any) -> None:
        for name, value in values.items():
            setattr(scene.cycles, name, value)

    return change


def set_bounces(count: int) -> Callable[[Any], None]:
    """Bounces of every kind."""
    kinds = ("max_bounces", "diffuse_bounces", "glossy_bounces", "transmission_bounces")
    return set_cycles(**dict.fromkeys(kinds, count))


def follow_noise(threshold: float, most: int, least: int) -> Callable[[Any], None]:
    """Adaptive sampling."""
    return set_cycles(
        use_adaptive_sampling=True, adaptive_threshold=threshold, samples=most, adaptive_min_samples=least
    )


def no_subsurface(scene: Any) -> None:
    """Skin without light below its surface."""
    for item in scene.objects:
        for slot in item.material_slots:
            for node in slot.material.node_tree.nodes:
                if "Subsurface Weight" in node.inputs:
                    node.inputs["Subsurface Weight"].default_value = 0.0


def diffuse_hair(scene: Any) -> None:
    """Strands without highlights."""
    for item in scene.objects:
        if item.type == "CURVES":
            for slot in item.material_slots:
                for node in slot.material.node_tree.nodes:
                    if "Specular IOR Level" in node.inputs:
                        node.inputs["Specular IOR Level"].default_value = 0.0


def thick_hair(scene: Any) -> None:
    """Strands as round curves rather than ribbons."""
    scene.cycles_curves.shape = "THICK"


def tries(samples: int) -> dict[str, Callable[[Any], None]]:
    """Each change by its name."""
    return {
        "as shipped": lambda scene: None,
        "8 samples": set_samples(8),
        "12 samples": set_samples(12),
        "24 samples": set_samples(24),
        "32 samples": set_samples(32),
        "not denoised": set_samples(samples, denoise=False),
        "denoiser without guides": set_cycles(denoising_input_passes="RGB"),
        "denoiser with albedo": set_cycles(denoising_input_passes="RGB_ALBEDO"),
        "prefilter accurate": set_cycles(denoising_prefilter="ACCURATE"),
        "no prefilter": set_cycles(denoising_prefilter="NONE"),
        "denoiser quality balanced": set_cycles(denoising_quality="BALANCED"),
        "denoiser quality fast": set_cycles(denoising_quality="FAST"),
        "light tree": set_cycles(use_light_tree=True),
        "1 bounce": set_bounces(1),
        "2 bounces": set_bounces(2),
        "samples follow noise 0.1": follow_noise(0.1, samples, 4),
        "samples follow noise 0.05, to 32": follow_noise(0.05, 2 * samples, 8),
        "no subsurface": no_subsurface,
        "hair without highlights": diffuse_hair,
        "round strands": thick_hair,
        "blue-noise pattern": set_cycles(sampling_pattern="BLUE_NOISE"),
        "wide pixel filter 1.0": set_cycles(filter_width=1.0),
    }


def frames(
    scene: Any, job: AvatarJob, change: Callable[[Any], None], seed: int, path: Path
) -> tuple[list[Image], Image]:
    """The avatar's images over white in 0..1, and seconds and CPU seconds of all but the first frame."""
    change(scene)
    images, seconds = [], np.zeros(2)
    for number, view in enumerate((job.views[0], *job.views)):
        cycles.seed_view(scene, seed + view.view)
        place_camera(scene, view.camera)
        started = np.array((time.perf_counter(), time.process_time()))
        render_frame(scene, path)
        if number:
            seconds += np.array((time.perf_counter(), time.process_time())) - started
            rgba = encode_rgba(read_passes(path).rgba).astype(float) / 255
            images.append(rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])
    return images, seconds


def psnr(images: list[Image], truth: list[Image]) -> float:
    """Mean over images, in dB."""
    return float(np.mean([-10 * math.log10(((a - b) ** 2).mean()) for a, b in zip(images, truth, strict=True)]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"avatars": 3, "views": 4, "resolution": 256, "threads": 2, "samples": 16, "truth": 256}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", nargs="*", default=[], help="names of tries")
    given = parser.parse_args()
    wanted = {
        f"render.resolution={given.resolution}",
        f"render.samples={given.samples}",
        f"render.threads={given.threads}",
        f"render.train_views={given.views}",
        "refiner.input_side=16",
    }
    config = load_config(preset="demo", settings=sorted(wanted))
    job = render_job(config, 0, avatar_jobs(config, range(given.avatars)).values(), Path("/nowhere"))
    device = cycles.choose_device("cpu")
    chosen = {name: change for name, change in tries(given.samples).items() if not given.only or name in given.only}
    noise: list[float] = []
    quality: dict[str, list[float]] = {name: [] for name in chosen}
    spent = {name: np.zeros(2) for name in chosen}
    with tempfile.TemporaryDirectory(prefix="rodin-settings-") as folder:
        path = Path(folder) / "frame.exr"
        for avatar in job.avatars:
            prepared = prepare(avatar, job.settings.extent_m)
            avatar = avatar.model_copy(update={"views": avatar.views[: given.views]})

            def shoot(
                change: Callable[[Any], None], seed: int, avatar: AvatarJob = avatar, prepared: Prepared = prepared
            ) -> tuple[list[Image], Image]:
                scene = make_scene(prepared.parts, prepared.spec.light, job.settings.extent_m)
                cycles.configure(scene, job.settings, device)
                return frames(scene, avatar, change, seed, path)

            print(f"avatar {avatar.avatar}", flush=True)
            truth, _ = shoot(set_samples(given.truth, denoise=False), 10_000)
            noise.append(psnr(shoot(set_samples(given.truth, denoise=False), 20_000)[0], truth))
            for name, change in chosen.items():
                images, seconds = shoot(change, 0)
                quality[name].append(psnr(images, truth))
                spent[name] += seconds
    count = given.avatars * given.views
    table = {
        name: [
            round(float(np.mean(quality[name])), 2),
            round(count / float(spent[name][0]), 3),
            round(float(spent[name][1]) / count, 3),
        ]
        for name in chosen
    }
    print(f"truth again: {np.mean(noise):.2f} dB")
    for name, (decibel, rate, cpu) in table.items():
        print(f"{name:34s} {decibel:6.2f} dB  {rate:6.3f} images/s  {cpu:6.3f} CPU s")
    print(json.dumps({"truth_again_db": round(float(np.mean(noise)), 2), "tries": table, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    code = 1
    try:
        main()
        code = 0
    except Exception:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)  # Blender's static destructors can hang
