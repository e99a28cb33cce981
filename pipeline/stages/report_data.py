"""What the report page shows of a run, collected from its ledgers, renders and samples."""

import csv
import io
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pipeline.config.models import TrainingConfig
from pipeline.config.run import RunConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout, format_avatar
from pipeline.contracts.planes import FitReport, FitShardReport
from pipeline.contracts.rendering import RenderedShard
from pipeline.contracts.report.page import (
    DistanceRow,
    FailureRow,
    FitPair,
    FitRow,
    GeneratedAvatar,
    LossCurve,
    Picture,
    ReportData,
    StageTime,
    TrainedModel,
)
from pipeline.contracts.stage import DriverReport
from pipeline.images import encode_png, over_white, resized
from pipeline.io.files import exists, names, read_text
from pipeline.io.ledger import read_ledger, read_ledgers
from pipeline.io.publish import publish_bytes
from pipeline.machine import package_versions, processor_name
from pipeline.run.model_folder import RELEASED
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES, single_stages, trained_models
from pipeline.stages.generate import RUN_SAMPLES
from pipeline.stages.views import read_samples

SHOWN_RENDERS = 24


def report_data(
    run: Run,
    avatars: tuple[int, ...],
    *,
    fits: Sequence[FitReport],
    fit_pairs: tuple[FitPair, ...],
    distances: tuple[DistanceRow, ...],
    live: Mapping[str, str],
    live_withheld: str,
) -> ReportData:
    """Everything on the page: what was measured, which is given, and what the run's ledgers say.

    ``avatars`` are those that are rendered, ``live`` the pages of samples by their names, ``live_withheld`` why there
    are none. Frontal views are published as pictures beside the page.
    """
    layout, config = run.layout, run.config
    encoder, stages, visits = run.stage_report("encode"), _stage_times(run), _visits(run)
    starting = read_ledger(layout.ledger("driver", "ray"), DriverReport)
    wall_seconds = sum(visit.finished_at - visit.started_at for visit in visits)
    return ReportData(
        schema_version=SCHEMA_VERSION,
        run_name=layout.root.name,
        preset=config.preset,
        created_at=time.time(),
        processor=processor_name(),
        device=next(iter(run.render_reports().values())).device,
        versions=_versions(run),
        wall_seconds=wall_seconds or max((row.starts_at_s or 0.0) + row.seconds for row in stages),
        ray_start_s=starting.ray_start_s if starting else None,
        ray_stop_s=visits[-1].ray_stop_s if visits else None,
        stages=stages,
        num_avatars=len(avatars),
        num_held_out=sum(config.is_held_out(avatar) for avatar in avatars),
        views_per_avatar=config.render.num_views,
        resolution=config.render.resolution,
        failures=_failures(run),
        renders=_render_pictures(run, avatars),
        fits=tuple(_fit_row(config, fit) for fit in fits),
        fit_pairs=fit_pairs,
        models=tuple(_trained(run, name) for name in trained_models()),
        started_from=_start_words(config),
        linear=config.base.linear,
        generated=_generated(layout, live),
        live_withheld=live_withheld,
        distances=distances,
        encoder_sha256=encoder.notes["encoder_sha256"] if encoder else "",
        encoder=_encoder_words(config),
        config_toml=config.to_toml(),
    )


def _render_pictures(run: Run, avatars: tuple[int, ...]) -> tuple[Picture, ...]:
    specs = run.specs()
    pictures = []
    for avatar in avatars[:SHOWN_RENDERS]:
        (sample,) = read_samples(run, avatar, ("frontal",))
        name = format_avatar(avatar)
        pixels = over_white(sample.rgba)
        if pixels.shape[0] > 256:
            pixels = resized(pixels, 256, 256)
        path = f"pictures/{name}-frontal.png"
        publish_bytes(run.layout.report / path, encode_png(pixels))
        label = name + (" (held out)" if run.config.is_held_out(avatar) else "")
        pictures.append(Picture(path=path, label=label, caption=specs[avatar].caption))
    return tuple(pictures)


def _fit_row(config: RunConfig, fit: FitReport) -> FitRow:
    return FitRow(
        avatar_id=format_avatar(fit.avatar),
        held_out=config.is_held_out(fit.avatar),
        psnr_db=fit.psnr_db,
        psnr_foreground_db=fit.psnr_foreground_db,
        ssim=fit.ssim,
        coverage=fit.coverage,
        seconds=fit.seconds,
    )


def _failures(run: Run) -> tuple[FailureRow, ...]:
    rows = []
    for stage, reports in (("render", run.render_reports()), ("fit", run.fit_reports())):
        for report in reports.values():
            rows += [
                FailureRow(stage=stage, avatar_id=format_avatar(f.avatar), reason=f.reason) for f in report.failures
            ]
    return tuple(rows)


def _trained(run: Run, name: str) -> TrainedModel:
    report = run.stage_report(name)
    assert report is not None, "evaluation follows training"
    settings: TrainingConfig = getattr(run.config, name)
    measured = _curves(run.layout.model(name) / "held_out.csv")
    return TrainedModel(
        name=name,
        steps=int(report.metrics.get("steps") or 0),
        seconds=report.seconds,
        batch=settings.batch * settings.accumulate,
        parameters=int(parameters) if (parameters := report.metrics.get("parameters")) else None,
        note=f"worker there after {report.metrics.get('startup_s') or 0:.1f} s",
        curves=_curves(run.layout.model(name) / "loss.csv") + measured[:1],
        levels=measured[1:],
        held_out_before=measured[0].points[0][1] if measured else None,
        held_out_after=report.metrics.get("held_out"),
    )


def _curves(path: Path) -> tuple[LossCurve, ...]:
    """Every column of a curve's file but step and seconds; nothing where the file is missing."""
    if not exists(path):
        return ()
    header, *lines = list(csv.reader(io.StringIO(read_text(path), newline=""))) or [[]]
    return tuple(
        LossCurve(name=key, points=tuple((int(float(line[0])), float(line[place])) for line in lines))
        for place, key in enumerate(header)
        if key not in ("step", "seconds")
    )


def _generated(layout: RunLayout, live: Mapping[str, str]) -> tuple[GeneratedAvatar, ...]:
    rows = []
    for kind in RUN_SAMPLES:
        for folder in names(layout.samples / kind, "avatar-*"):
            record = json.loads(read_text(folder / "avatar.json"))
            relative = f"../samples/{kind}/{folder.name}"
            videos = {path.stem: f"{relative}/{path.name}" for path in names(folder, "turntable*")}
            rows.append(
                GeneratedAvatar(
                    name=f"{kind} {folder.name.removeprefix('avatar-')}",
                    source=record["source"],
                    prompt=record["prompt"],
                    turntable=videos.get("turntable"),
                    refined_turntable=videos.get("turntable_refined"),
                    strip=Picture(path=f"{relative}/strip.png", caption="turntable, rendered"),
                    refined_strip=Picture(path=f"{relative}/strip_refined.png", caption="turntable, refined"),
                    live=live.get(f"{kind}/{folder.name}"),
                    live_poster=f"{relative}/frontal.png",
                )
            )
    return tuple(rows)


def _stage_times(run: Run) -> tuple[StageTime, ...]:
    """Seconds of every stage, from the ledgers; of this one nothing is known yet."""
    rows: dict[str, tuple[float, float, int | None, int, str]] = {}
    renders, fits = run.render_reports().values(), run.fit_reports().values()
    if renders:
        done, failed = sum(len(r.done) for r in renders), sum(len(r.failures) for r in renders)
        note = f"{sum(r.attempts for r in renders)} Blender processes"
        rows["render"] = (*_span(renders), done, failed, note)
    if fits:
        done, failed = sum(len(r.fits) for r in fits), sum(len(r.failures) for r in fits)
        rows["fit"] = (*_span(fits), done, failed, "")
    decoder = run.decoder_report()
    if decoder is not None:
        note = "" if decoder.avatars else "taken as it was"
        rows["decoder"] = (decoder.started_at, decoder.finished_at, len(decoder.avatars), 0, note)
    for stage in single_stages():
        report = run.stage_report(stage)
        if report is not None and stage != "evaluate":
            begun_at = report.started_at - (report.metrics.get("startup_s") or 0.0)
            rows[stage] = (begun_at, report.finished_at, None, 0, "")
    first = min(begun_at for begun_at, *_ in rows.values())
    return tuple(
        StageTime(
            name=stage,
            seconds=max(0.0, rows[stage][1] - rows[stage][0]),
            starts_at_s=rows[stage][0] - first,
            done=rows[stage][2],
            failed=rows[stage][3],
            note=rows[stage][4],
        )
        for stage in STAGES
        if stage in rows
    )


def _span(reports: Collection[RenderedShard] | Collection[FitShardReport]) -> tuple[float, float]:
    return min(report.started_at for report in reports), max(report.finished_at for report in reports)


def _visits(run: Run) -> tuple[DriverReport, ...]:
    """Earlier visits that did something; this one has not ended."""
    return tuple(
        report for report in read_ledgers(run.layout.ledgers("driver"), DriverReport).values() if report.stages
    )


def _versions(run: Run) -> dict[str, str]:
    versions = dict(package_versions(("rodin-pipe", "torch", "ray", "numpy", "zarr")))
    for report in run.render_reports().values():
        versions |= report.versions
    return versions


def _start_words(config: RunConfig) -> str:
    start_from = config.train.start_from
    return "the released models" if start_from == RELEASED else start_from


def _encoder_words(config: RunConfig) -> str:
    if config.clip.pretrained:
        return f"pretrained CLIP {config.clip.pretrained}"
    if config.train.start_from:
        return f"the CLIP of {_start_words(config)}: figures compare within runs that start from them"
    return "the run's own CLIP, trained on its renders: figures compare within the run only"
