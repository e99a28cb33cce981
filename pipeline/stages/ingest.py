"""Stage ``ingest``: prepared captures are published as avatars, in place of what ``render`` would have rendered.

That is shards and ledger, but for specs and labels, which a capture has none of.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.capture.photograph import read_frame
from pipeline.capture.prepare import PreparedCapture
from pipeline.capture.understanding import Understood
from pipeline.config.run import RunConfig
from pipeline.contracts.capture import CAPTURED_COLOUR, CaptureReport, Placement
from pipeline.contracts.conventions import ALPHA, SCHEMA_VERSION
from pipeline.contracts.naming import format_avatar, format_sample
from pipeline.contracts.rendering import RenderPasses, RenderReport, SampleRecord, sample_suffixes
from pipeline.images import encode_png
from pipeline.io.avatar_folder import avatar_sha256, publish_avatar_folder, verify_avatar_folder
from pipeline.io.files import exists, forget, make_folder
from pipeline.io.ledger import write_ledger
from pipeline.io.publish import sha256_file
from pipeline.io.shard_index import avatar_spans
from pipeline.io.shards import write_shard
from pipeline.machine import package_versions, processor_name
from pipeline.stages.work import WorkItem

LABELS: Final = RenderPasses(depth=False)


@dataclass(frozen=True)
class IngestItem:
    """One shard to publish: its captures, in order of avatar."""

    work: WorkItem
    captures: tuple[PreparedCapture, ...]
    placements: tuple[Understood, ...]
    captions: tuple[str, ...]


def ingest_shard(item: IngestItem, on_frame: Callable[[], None]) -> RenderReport:
    """Publish one shard and its ledger; a finished avatar of an interrupted visit is adopted.

    ``on_frame`` is called for each frame that is written.
    """
    layout, config, shard = item.work.layout, item.work.config, item.work.number
    started_at, start = time.time(), time.monotonic()
    avatars = item.work.avatars
    before = item.work.published(RenderReport)
    if (
        before is not None
        and before.fingerprint == item.work.fingerprint
        and _is_as_published(layout.shard(shard), before)
    ):
        return before
    parts = layout.parts("render", shard) / item.work.fingerprint
    make_folder(parts)
    for avatar, prepared, understood, caption in zip(
        avatars, item.captures, item.placements, item.captions, strict=True
    ):
        if not exists(parts / format_avatar(avatar)):
            files: list[tuple[str, bytes]] = []
            for view in range(len(prepared.frames)):
                files += _sample_files(config, avatar, view, prepared, understood.placement, caption)
                on_frame()
            publish_avatar_folder(parts, avatar, files, seconds={})
    rendered = {avatar: verify_avatar_folder(parts / format_avatar(avatar)) for avatar in avatars}
    tar_sha256, tar_bytes = write_shard(layout.shard(shard), [parts / format_avatar(avatar) for avatar in avatars])
    report = RenderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.work.fingerprint,
        shard=shard,
        done=avatars,
        failures=(),
        tar_sha256=tar_sha256,
        tar_bytes=tar_bytes,
        avatar_sha256={format_avatar(avatar): avatar_sha256(record) for avatar, record in rendered.items()},
        specs=(),
        seconds={"shard": round(time.monotonic() - start, 3)},
        started_at=started_at,
        finished_at=time.time(),
        attempts=0,
        versions=package_versions(("numpy", "pillow")),
        processor=processor_name(),
        device="",
        passes=LABELS,
        captures=tuple(
            _capture_report(avatar, prepared, understood)
            for avatar, prepared, understood in zip(avatars, item.captures, item.placements, strict=True)
        ),
        spans=avatar_spans(rendered.values()),
    )
    write_ledger(item.work.ledger, report)
    forget(parts.parent)
    return report


def _is_as_published(tar: Path, report: RenderReport) -> bool:
    """Whether a shard is there, and what its ledger says."""
    return exists(tar) and sha256_file(tar) == report.tar_sha256


def _sample_files(
    config: RunConfig, avatar: int, view: int, prepared: PreparedCapture, placement: Placement, caption: str
) -> list[tuple[str, bytes]]:
    frame, sight = prepared.frames[view], prepared.sights[view]
    rgba = read_frame(frame, config.ingest, prepared.reading).rgba
    record = SampleRecord(
        schema_version=SCHEMA_VERSION,
        avatar_id=format_avatar(avatar),
        view=view,
        split=frame.split,
        held_out_avatar=config.is_held_out(avatar),
        camera=placement.place(sight.camera),
        caption=caption,
        caption_short=caption,
        extent_m=config.render.extent_m,
        depth_scale=0.0,
        alpha=ALPHA,
        colour_transform=CAPTURED_COLOUR,
        passes=LABELS,
    )
    png = encode_png(rgba, optimize=False)
    contents = {"rgba.png": png, "json": record.to_json().encode()}
    return [(f"{format_sample(avatar, view)}.{suffix}", contents[suffix]) for suffix in sample_suffixes(LABELS)]


def _capture_report(avatar: int, prepared: PreparedCapture, understood: Understood) -> CaptureReport:
    agreement = understood.agreement
    return CaptureReport.model_validate(
        dict(
            avatar=avatar,
            folder=str(prepared.capture.folder.resolve()),
            sha256=prepared.sha256,
            placement=understood.placement,
            cube=understood.how,
            alpha=prepared.alpha,
            train_views=prepared.count("train"),
            held_out_views=prepared.count("held_out"),
            held_out="share" if prepared.split_by_share else "val and test",
            agreement=round(agreement.median, 4),
            worst_agreement=round(agreement.frames[agreement.worst], 4),
            worst_frame=prepared.sights[agreement.worst].where.removeprefix(f"{prepared.capture.folder}/"),
            notes=prepared.notes,
        )
    )
