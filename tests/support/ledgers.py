"""Ledger entries of a run with shards of two avatars, written without doing the work."""

from pipeline.contracts.conventions import PEOPLE_VERSION, SCHEMA_VERSION
from pipeline.contracts.naming import format_avatar, format_shard
from pipeline.contracts.planes import DecoderReport, FitReport, FitShardReport, OwnFitReport
from pipeline.contracts.rendering import AvatarFailure, RenderReport
from pipeline.contracts.stage import StageReport
from pipeline.io.ledger import write_ledger
from pipeline.people.draw import draw_avatar


def write_render(layout, shard, done, sources="s", fingerprint="f", people_version=PEOPLE_VERSION):
    """A shard of two avatars of which those in ``done`` were rendered, with hashes such as ``s3``."""
    avatars = range(2 * shard, 2 * shard + 2)
    report = RenderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=fingerprint,
        shard=shard,
        done=tuple(done),
        failures=tuple(AvatarFailure(avatar=a, reason="none") for a in avatars if a not in done),
        tar_sha256="",
        tar_bytes=0,
        avatar_sha256={format_avatar(a): f"{sources}{a}" for a in done},
        specs=tuple(draw_avatar(0, a) for a in avatars),
        seconds={},
        started_at=0.0,
        finished_at=0.0,
        attempts=1,
        versions={},
        processor="",
        device="",
        people_version=people_version,
    )
    write_ledger(layout.ledger("render", format_shard(shard)), report)


def write_fit(layout, shard, avatars, planes="p", fingerprint="f"):
    """Fits under decoder ``d`` of renders such as ``s3``, with planes such as ``p3``."""
    fits = tuple(
        FitReport(
            avatar=a,
            source_sha256=f"s{a}",
            psnr_db=30.0,
            psnr_foreground_db=25.0,
            ssim=0.9,
            coverage=0.4,
            steps=1,
            seconds=1.0,
            planes_sha256=f"{planes}{a}",
        )
        for a in avatars
    )
    report = FitShardReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=fingerprint,
        shard=shard,
        decoder_sha256="d",
        fits=fits,
        failures=(),
        started_at=0.0,
        finished_at=0.0,
        versions={},
        processor="",
    )
    write_ledger(layout.ledger("fit", format_shard(shard)), report)


def write_decoder(layout, avatars, sources="s", fingerprint="f"):
    """A decoder with hash ``d``."""
    report = DecoderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=fingerprint,
        avatars=avatars,
        sources={format_avatar(a): f"{sources}{a}" for a in avatars},
        decoder_sha256="d",
        psnr_db=None,
        steps=1,
        started_at=0.0,
        finished_at=0.0,
        seconds=0.0,
        versions={},
        processor="",
    )
    write_ledger(layout.ledger("decoder", "decoder"), report)


def write_own(layout, avatar, fingerprint="f"):
    """A fit with a decoder of its own that came to nothing, of renders such as ``s3``."""
    report = OwnFitReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=fingerprint,
        source_sha256=f"s{avatar}",
        fit=None,
        failure=AvatarFailure(avatar=avatar, reason="none"),
        views=(),
        outputs={},
        started_at=0.0,
        finished_at=0.0,
        versions={},
        processor="",
    )
    write_ledger(layout.ledger("own", format_avatar(avatar)), report)


def write_stage(layout, stage, avatars, inputs, outputs=None, fingerprint="f"):
    """A stage that is one piece of work."""
    report = StageReport(
        schema_version=SCHEMA_VERSION,
        stage=stage,
        fingerprint=fingerprint,
        avatars=avatars,
        inputs=inputs,
        outputs=outputs or {},
        started_at=0.0,
        finished_at=0.0,
        seconds=0.0,
        versions={},
        processor="",
    )
    write_ledger(layout.ledger(stage, stage), report)
    return report
