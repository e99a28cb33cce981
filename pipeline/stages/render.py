"""Stage ``render``: one shard of avatars, photographed by Blender processes and published as one tar.

A finished avatar is never rendered twice: avatars of a published tar (when a run is extended), verified parts and
the finished folders of attempts that died are adopted first. What then fails, or was in work when its process died,
gets one fresh attempt; what fails again is listed in the ledger with its log's tail and the rest is published.
"""

import errno
import os
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from pipeline.blender_process import run_blender
from pipeline.config.load import read_specs
from pipeline.config.run import RunConfig
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.camera import Camera, frontal_camera, sphere_rig
from pipeline.contracts.conventions import PEOPLE_VERSION, SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.randomness import generator_for, seed_for
from pipeline.contracts.rendering import (
    AvatarFailure,
    AvatarJob,
    Event,
    FrameWritten,
    Rejection,
    RenderedAvatar,
    RenderJob,
    RenderPasses,
    RenderReport,
    RenderSettings,
    ViewSpec,
    sample_suffixes,
)
from pipeline.contracts.stage import Progress
from pipeline.io.avatar_folder import avatar_sha256, verify_avatar_folder
from pipeline.io.files import exists, forget, make_folder, names
from pipeline.io.ledger import write_ledger
from pipeline.io.publish import publish_folder
from pipeline.io.shard_index import avatar_spans
from pipeline.io.shards import extract_avatars, write_shard
from pipeline.machine import processor_name
from pipeline.people.draw import draw_avatar
from pipeline.stages.work import WorkItem

ATTEMPTS_PER_AVATAR = 2
_FULL = os.strerror(errno.ENOSPC)


def view_specs(config: RunConfig, avatar: int) -> tuple[ViewSpec, ...]:
    """The photographs of one avatar: training views first, then held-out views, the frontal view last."""
    render = config.render
    rig = dict(
        elevation_deg=render.elevation_deg, distance=render.distance, fov_deg=render.fov_deg, size=render.resolution
    )
    train = sphere_rig(generator_for(config.seed, avatar, "train views"), render.train_views, **rig)  # type: ignore[arg-type]
    held_out = sphere_rig(generator_for(config.seed, avatar, "held-out views"), render.held_out_views, **rig)  # type: ignore[arg-type]
    cameras = [(camera, "train") for camera in train] + [(camera, "held_out") for camera in held_out]
    cameras.append((_frontal(config), "frontal"))
    return tuple(
        ViewSpec.model_validate(dict(view=i, camera=camera, split=split)) for i, (camera, split) in enumerate(cameras)
    )


def _frontal(config: RunConfig) -> Camera:
    render = config.render
    return frontal_camera(distance=render.distance, fov_deg=render.fov_deg, size=render.resolution)


def depth_scale(config: RunConfig) -> float:
    """World units a level of the depth image: the cube's far corner, seen from the sphere, is the last level."""
    return float(config.render.distance + 3**0.5) / 65535


def render_shard(item: WorkItem, progress: Progress) -> RenderReport:
    """Render what is missing of one shard and publish tar and ledger. Never raises for a bad avatar."""
    layout, config, shard, wanted = item.layout, item.config, item.number, item.avatars
    before = item.published(RenderReport)
    if before is not None and item.done(before, progress):
        return before

    started_at, start = time.time(), time.monotonic()
    jobs = avatar_jobs(config, wanted)
    # Under the fingerprint, so that what an interrupted visit with another configuration left is never adopted.
    parts = layout.parts("render", shard) / item.fingerprint
    make_folder(parts)
    attempts = layout.attempts("render", item.name) / item.fingerprint
    if before is not None and before.done:
        _adopt_published(layout.shard(shard), set(before.done), parts)
    for dead in names(attempts):
        _adopt_finished(dead, jobs, parts, config.render.passes)

    pending = [avatar for avatar in wanted if not exists(parts / format_avatar(avatar))]
    failures: dict[int, AvatarFailure] = {}
    tries = dict.fromkeys(wanted, 0)
    versions: dict[str, str] = dict(before.versions) if before else {}
    device, num_processes = (before.device if before else ""), 0
    peak_rss_mb = before.peak_rss_mb if before else 0.0
    while pending:
        finished = len(wanted) - len(pending)
        frames = 0

        def on_event(event: Event, finished: int = finished) -> None:
            nonlocal frames
            if isinstance(event, FrameWritten):
                frames += 1
                progress(min(finished + frames / config.render.num_views, len(wanted)), len(wanted))

        output = attempts / uuid.uuid4().hex
        make_folder(output)
        num_processes += 1
        job = render_job(config, shard, [jobs[avatar] for avatar in pending], output)
        outcome = run_blender(
            job, python=config.render.python or sys.executable, timeout_s=config.render.timeout_s, on_event=on_event
        )
        adopted = _adopt_finished(output, jobs, parts, config.render.passes)
        failed = {f.avatar: f for f in outcome.failures if f.avatar not in adopted}
        said = [text for failure in outcome.failures for text in (failure.reason, failure.log_tail)]
        if any(_FULL in text for text in (*said, outcome.reason, outcome.log_tail)):
            raise OSError(errno.ENOSPC, _FULL, str(output))  # of the disk, not of the avatars
        if not adopted and not failed:  # it did not even begin: nobody in particular is to blame
            failed = {a: AvatarFailure(avatar=a, reason=outcome.reason, log_tail=outcome.log_tail) for a in pending}
        if outcome.result is not None:
            versions, device = outcome.result.versions, outcome.result.device
            peak_rss_mb = max(peak_rss_mb, outcome.result.peak_rss_mb)
        for avatar, failure in failed.items():
            tries[avatar] += 1
            failures[avatar] = failure
        for avatar in adopted:
            failures.pop(avatar, None)
        pending = [a for a in pending if a not in adopted and tries[a] < ATTEMPTS_PER_AVATAR]

    done = tuple(a for a in wanted if exists(parts / format_avatar(a)))
    rendered = {a: verify_avatar_folder(parts / format_avatar(a)) for a in done}
    folders = [parts / format_avatar(a) for a in done]
    tar_sha256, tar_bytes = write_shard(layout.shard(shard), folders) if done else ("", 0)
    report = RenderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        shard=shard,
        done=done,
        failures=tuple(failures[a] for a in wanted if a in failures and a not in done),
        tar_sha256=tar_sha256,
        tar_bytes=tar_bytes,
        avatar_sha256={format_avatar(a): avatar_sha256(rendered[a]) for a in done},
        specs=tuple(_rendered_spec(jobs[a], rendered.get(a)) for a in wanted),
        seconds=_mean_seconds(rendered) | {"shard": round(time.monotonic() - start, 3)},
        started_at=started_at,
        finished_at=time.time(),
        attempts=num_processes,
        versions=versions,
        processor=processor_name(),
        device=device,
        passes=config.render.passes,
        rejections=_rejections(rendered, before),
        peak_rss_mb=peak_rss_mb,
        people_version=PEOPLE_VERSION,
        spans=avatar_spans(rendered.values()),
    )
    write_ledger(item.ledger, report)
    for folder in (attempts.parent, parts.parent):
        forget(folder)
    progress(len(wanted), len(wanted))
    return report


def avatar_jobs(config: RunConfig, avatars: Iterable[int]) -> dict[int, AvatarJob]:
    """What is to be rendered of each avatar, by index."""
    fixed = read_specs(config) if config.render.specs else ()
    return {avatar: _avatar_job(config, avatar, fixed) for avatar in avatars}


def render_job(config: RunConfig, shard: int, avatars: Iterable[AvatarJob], output: Path) -> RenderJob:
    """What a Blender process is told to do for some avatars of a shard."""
    return RenderJob(shard=shard, avatars=tuple(avatars), settings=_settings(config), output=str(output))


def _avatar_job(config: RunConfig, avatar: int, fixed: tuple[AvatarSpec, ...]) -> AvatarJob:
    population, redraws = config.render.population, range(1, 1 + config.render.redraws)
    if avatar < len(fixed):  # what the user fixed stays: only what is scattered is drawn again
        spec = fixed[avatar]
        others = [
            spec.model_copy(update={"seed": seed_for(config.seed, avatar, f"fixed avatar/{i}"), "sub_seed": i})
            for i in redraws
        ]
    else:
        spec = draw_avatar(config.seed, avatar, population)
        others = [draw_avatar(config.seed, avatar, population, i) for i in redraws]
    return AvatarJob(
        avatar=avatar,
        spec=spec,
        views=view_specs(config, avatar),
        held_out=config.is_held_out(avatar),
        redraws=tuple(others),
    )


def _rendered_spec(job: AvatarJob, rendered: RenderedAvatar | None) -> AvatarSpec:
    """The draw that was rendered; of an avatar that failed, the first."""
    return (job.spec, *job.redraws)[rendered.sub_seed if rendered else 0]


def _rejections(rendered: dict[int, RenderedAvatar], before: RenderReport | None) -> tuple[Rejection, ...]:
    """What checks rejected; of avatars taken out of a published tar, what its ledger says."""
    known = {(r.avatar, r.sub_seed): r for r in (before.rejections if before else ()) if r.avatar in rendered}
    known |= {(r.avatar, r.sub_seed): r for avatar in rendered.values() for r in avatar.rejections}
    return tuple(known[key] for key in sorted(known))


def _settings(config: RunConfig) -> RenderSettings:
    render = config.render
    return RenderSettings(
        samples=render.samples,
        denoise=render.denoise,
        max_bounces=render.max_bounces,
        extent_m=render.extent_m,
        depth_scale=depth_scale(config),
        threads=render.threads,
        device=render.device,
        passes=render.passes,
    )


def _adopt_finished(attempt: Path, jobs: dict[int, AvatarJob], parts: Path, passes: RenderPasses) -> set[int]:
    """Move the finished avatars of an attempt, verified, into ``parts``; returns their indices."""
    adopted = set()
    for avatar, job in jobs.items():
        folder, target = attempt / format_avatar(avatar), parts / format_avatar(avatar)
        if not exists(folder) or exists(target):
            continue
        try:
            rendered = verify_avatar_folder(folder)
        except DataError:
            continue  # a finished folder was damaged afterwards: it is rendered again
        if len(rendered.files) == len(sample_suffixes(passes)) * len(job.views):
            publish_folder(folder, target)
            adopted.add(avatar)
    return adopted


def _adopt_published(tar: Path, avatars: set[int], parts: Path) -> None:
    """Unpack the avatars of a published tar that are not among the parts yet."""
    missing = sorted(a for a in avatars if not exists(parts / format_avatar(a)))
    if missing and exists(tar):
        extract_avatars(tar, missing, parts)


def _mean_seconds(rendered: dict[int, RenderedAvatar]) -> dict[str, float]:
    steps = sorted({step for avatar in rendered.values() for step in avatar.seconds})
    return {
        step: round(sum(avatar.seconds.get(step, 0.0) for avatar in rendered.values()) / len(rendered), 4)
        for step in steps
    }
