"""Everything of an avatar that needs no Blender: geometry, landmarks and checks. Runs beside the render before it.

Blender lets go of the interpreter's lock while it renders, so a thread is enough, and its arrays need no copying.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from blender_scripts.body.landmarks import landmark_points
from blender_scripts.geometry.arrays import Floats
from blender_scripts.geometry.parts import Part, skin_of
from blender_scripts.job.checks import Broken, check_geometry
from blender_scripts.person import build_person
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.rendering import AvatarJob, Rejection

Build = Callable[[AvatarSpec], list[Part]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """An avatar that passed the checks of its geometry."""

    draw: int
    """Which of the job's draws it is: 0 for ``spec``, then those of ``redraws``."""
    spec: AvatarSpec
    parts: list[Part]
    landmarks_world: Floats
    """(68, 3)."""
    landmark_normals: Floats
    rejections: tuple[Rejection, ...]
    """Of the draws before."""
    seconds: float
    """Of CPU: it runs beside the rendering, in what time that leaves."""


def prepare(
    job: AvatarJob,
    extent_m: float,
    first_draw: int = 0,
    rejections: tuple[Rejection, ...] = (),
    build: Build = build_person,
) -> Prepared:
    """Build the first draw, from ``first_draw`` on, that passes; raises :class:`Broken` when there is none."""
    started = time.thread_time()
    cameras = [view.camera for view in job.views]
    draws = (job.spec, *job.redraws)
    for draw in range(first_draw, len(draws)):
        parts = build(draws[draw])
        try:
            check_geometry(parts, draws[draw], cameras, extent_m)
        except Broken as broken:
            rejections = (*rejections, Rejection(avatar=job.avatar, sub_seed=draw, reason=str(broken)))
            continue
        skin = skin_of(parts)
        points, normals = landmark_points(skin)
        spent = time.thread_time() - started
        return Prepared(draw, draws[draw], parts, points / extent_m, normals, rejections, spent)
    raise Broken(f"none of {len(draws)} draws passed the checks: {rejections[-1].reason}")
