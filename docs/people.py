"""The pictures of people in ``docs/avatars.md``: the first of seed 0 by running number, nobody left out.

    python docs/people.py avatars        # avatars.jpg: 200 from the front; 22 minutes on two busy cores
    python docs/people.py turntable      # turntable.jpg: six from eight sides
    python docs/people.py closeup        # closeup.jpg: one at 768 pixels

Each is rendered by Blender, photographs as those of a run; the people are those of this version of the program.
"""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pipeline.blender_process import run_blender
from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.contracts.camera import Camera, frontal_camera, turntable_rig
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.rendering import ViewSpec
from pipeline.images import Pixels, over_white
from pipeline.io.files import names
from pipeline.report.pictures import contact_sheet
from pipeline.stages.render import avatar_jobs, render_job

DOCS: Final = Path(__file__).parent
CLOSE: Final = 3
"""The avatar of ``closeup.jpg``."""


def settings(resolution: int, samples: int, *more: str) -> RunConfig:
    """A run of seed 0 with photographs of this size and quality; its refiner must not ask for larger ones."""
    render = (f"render.resolution={resolution}", f"render.samples={samples}", f"refiner.input_side={resolution // 2}")
    return load_config(preset="demo", settings=["seed=0", *render, *more])


def photographs(
    config: RunConfig, avatars: Iterable[int], cameras: Sequence[Camera], folder: Path
) -> dict[int, list[Pixels]]:
    """Each avatar as each camera sees it, over white. Raises ``RuntimeError`` where one cannot be rendered."""
    views = tuple(ViewSpec(view=number, camera=camera, split="train") for number, camera in enumerate(cameras))
    jobs = [job.model_copy(update={"views": views}) for job in avatar_jobs(config, avatars).values()]
    outcome = run_blender(
        render_job(config, 0, jobs, folder),
        python=config.render.python or sys.executable,
        timeout_s=config.render.timeout_s,
    )
    if outcome.result is None or outcome.failures:
        raise RuntimeError(outcome.reason or outcome.failures[0].reason)
    return {
        job.avatar: [
            over_white(np.asarray(Image.open(path))) for path in names(folder / format_avatar(job.avatar), "*.rgba.png")
        ]
        for job in jobs
    }


def sheet(config: RunConfig, count: int, folder: Path) -> Pixels:
    """People from the front, each above its number."""
    seen = photographs(config, range(count), [_frontal(config)], folder)
    images = [image for _, (image,) in sorted(seen.items())]
    return contact_sheet(images, columns=20, tile=138, labels=[str(avatar) for avatar in sorted(seen)])


def turntables(config: RunConfig, count: int, folder: Path) -> Pixels:
    """A row for each person, from as many sides."""
    render = config.render
    cameras = turntable_rig(
        8, elevation_deg=5.0, distance=render.distance, fov_deg=render.fov_deg, size=render.resolution
    )
    seen = photographs(config, range(count), cameras, folder)
    return contact_sheet([image for _, row in sorted(seen.items()) for image in row], columns=8, tile=150)


def closeup(config: RunConfig, avatar: int, folder: Path) -> Pixels:
    """One person as large as it was rendered."""
    return photographs(config, [avatar], [_frontal(config)], folder)[avatar][0]


def _frontal(config: RunConfig) -> Camera:
    render = config.render
    return frontal_camera(distance=render.distance, fov_deg=render.fov_deg, size=render.resolution)


if __name__ == "__main__":
    (chosen,) = sys.argv[1:]
    make = {
        "avatars": lambda folder: sheet(settings(192, 12), 200, folder),
        "turntable": lambda folder: turntables(settings(192, 12), 6, folder),
        "closeup": lambda folder: closeup(settings(768, 64), CLOSE, folder),
    }[chosen]
    with tempfile.TemporaryDirectory() as temporary:
        Image.fromarray(make(Path(temporary))).save(DOCS / f"{chosen}.jpg", quality=85)
