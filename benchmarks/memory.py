"""Peak memory of a real fit at 256 pixels against what ``pipeline.run.memory`` states, in a process of its own each.

    python -m benchmarks.memory FOLDER [--steps 30] [--rays 2048 ...]

FOLDER comes from ``python -m benchmarks.fit_views FOLDER``. Each process imports what a worker does, fits one avatar
(128 texels x 32 channels, 16 samples a ray) under the frozen decoder and measures its held-out views, with and without
depth; another fits a decoder jointly with as many avatars as there are. The steps are few: planes go through all their
sizes all the same. The last line is one JSON object: the share of the statement that each peak reached.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.run.memory import decoder_bytes, fit_bytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rays", type=int, nargs="*", default=[2048])
    parser.add_argument("--child", choices=("fit", "decoder"), help=argparse.SUPPRESS)
    parser.add_argument("--depth", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure(given.folder, given.child, config_of(given.folder, given.steps, given.rays[0], given.depth))
        return
    shares: dict[str, float] = {}
    for rays in given.rays:
        for kind, depth in (("fit", False), ("fit", True), ("decoder", False)):
            stated = (fit_bytes if kind == "fit" else decoder_bytes)(config_of(given.folder, given.steps, rays, depth))
            command = [sys.executable, "-m", "benchmarks.memory", str(given.folder), f"--steps={given.steps}"]
            command += [f"--rays={rays}", f"--child={kind}", *(("--depth",) if depth else ())]
            peak = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
            name = f"{kind}_{rays}{'_depth' if depth else ''}"
            shares[name] = round(peak / stated, 3)
            print(f"{name}: peak {peak / 2**20:.0f} MiB, stated {stated / 2**20:.0f} MiB", flush=True)
    print(json.dumps(shares))


def config_of(folder: Path, steps: int, rays: int, depth: bool) -> RunConfig:
    """The preset ``desk`` with the views, the decoder and the number of avatars that the folder has."""
    import numpy as np

    with np.load(folder / "avatar-00.npz") as arrays, np.load(folder / "decoder.npz") as saved:
        settings = json.loads(str(saved["settings"]))
        views, held_out = (arrays[f"{split}_rgba"].shape for split in ("train", "held_out"))
    avatars = len(list(folder.glob("avatar-*.npz")))
    return load_config(
        preset="desk",
        settings=[
            f"render.train_views={views[0]}",
            f"render.held_out_views={held_out[0]}",
            f"render.resolution={views[1]}",
            f"planes.channels={settings['channels']}",
            f"decoder.hidden={settings['hidden']}",
            f"decoder.colour_hidden={settings['colour_hidden']}",
            f"decoder.avatars={avatars}",
            f"decoder.min_avatars={avatars}",
            f"decoder.steps_per_avatar={steps}",
            f"decoder.visit_steps={max(1, steps // 3)}",
            f"fit.steps={steps}",
            f"fit.rays={rays}",
            f"fit.depth={str(depth).lower()}",
            "fit.threads=1",
        ],
    )


def measure(folder: Path, kind: str, config: RunConfig) -> None:
    """Fit in this process and print its peak resident bytes."""
    import ray
    import torch

    from benchmarks.subject import load_subjects
    from pipeline.stages.fit.settings import decoder_settings, fit_settings
    from rodin_models.field.decoder import Decoder
    from rodin_models.fit.evaluation import evaluate_views
    from rodin_models.fit.joint_fit import JointFit
    from rodin_models.fit.plane_fit import fit_planes

    del ray  # a worker has it in memory
    torch.set_num_threads(config.fit.threads)
    generator = torch.Generator().manual_seed(0)
    settings = fit_settings(config, steps=config.fit.steps)

    def subject(avatar: int) -> Any:
        return load_subjects(folder, avatar + 1, torch.device("cpu"), depth=config.fit.depth)[avatar]

    if kind == "fit":
        known = subject(0)
        decoder, mean_planes, held_out = known.decoder, known.mean_planes, known.held_out
        planes = fit_planes(known.train, decoder, settings, generator, initial=mean_planes).planes
        del known
    else:
        decoder = Decoder(decoder_settings(config), generator)
        held_out = subject(0).held_out
        joint = JointFit(lambda i: subject(i).train, config.decoder.avatars, decoder, settings, generator)
        joint.run(joint.total_steps)
        joint.mean_planes()
        planes = joint.planes_of(0)
    quality = evaluate_views(planes.half().float(), decoder, held_out, samples=config.fit.render_samples)
    if kind == "fit":
        quality.ssim()
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
