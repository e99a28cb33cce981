"""Stage ``evaluate``: how good the fits and the generated avatars are, as one JSON file and one static page.

FID and KID compare generated images with renders of the training population on features of the run's CLIP, with
and without the refiner, always with the number of images and the encoder's hash.
"""

import csv
import json
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.config.run import RunConfig
from pipeline.contracts.camera import sphere_rig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout, format_avatar
from pipeline.contracts.planes import FitReport
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.report import (
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
from pipeline.contracts.stage import DriverReport, Progress, StageReport
from pipeline.images import encode_png, over_white, resized, to_uint8
from pipeline.io.ledger import read_ledger, read_ledgers
from pipeline.io.plane_store import PlaneStore
from pipeline.io.publish import publish_bytes, publish_text
from pipeline.machine import package_versions, processor_name
from pipeline.report.page import render_page
from pipeline.report.pictures import error_map
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES, single_stages, trained_models
from pipeline.stages.device import choose_device, read_samples, read_views, rgb_tensor, seeded, use_threads
from pipeline.stages.fit.decoder import load_decoder
from pipeline.stages.generate import RUN_SAMPLES
from pipeline.stages.sampler import Sampler, load_sampler
from pipeline.stages.work import Stopwatch, WorkItem, publish_entry
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.image.metrics import SetDistance, fid, kid

CPU = torch.device("cpu")
SHOWN_RENDERS = 24
SHOWN_PAIRS = 6
FEATURE_BATCH = 64


def evaluate_run(item: WorkItem, progress: Progress) -> StageReport:
    """Measure, and publish ``report/metrics.json`` and ``report/index.html``."""
    run, layout, config = item.run, item.layout, item.config
    avatars = tuple(sorted(run.render_sources()))
    known = item.published(StageReport)
    if known is not None and known.avatars == avatars and item.done(known, progress):
        return known
    stopwatch = Stopwatch()
    use_threads(config.fit.threads)
    device = choose_device(config)
    sampler = load_sampler(run, device)
    distances = measure_distances(run, sampler)
    progress(0.5, 1)
    fits = sorted((fit for report in run.fit_reports().values() for fit in report.fits), key=lambda f: f.avatar)
    pairs = fit_pairs(run, device, fits)
    progress(0.8, 1)
    encoder = run.stage_report("encode")
    data = ReportData(
        schema_version=SCHEMA_VERSION,
        run_name=layout.root.name,
        preset=config.preset,
        created_at=time.time(),
        processor=processor_name(),
        device=next(iter(run.render_reports().values())).device,
        versions=_versions(run),
        **_times(run),
        num_avatars=len(avatars),
        num_held_out=sum(config.is_held_out(avatar) for avatar in avatars),
        views_per_avatar=config.render.train_views + config.render.held_out_views + 1,
        resolution=config.render.resolution,
        failures=_failures(run),
        renders=_render_pictures(run, avatars),
        fits=tuple(_fit_row(config, fit) for fit in fits),
        fit_pairs=pairs,
        models=tuple(_trained(run, name) for name in trained_models()),
        generated=_generated(layout),
        distances=distances,
        encoder_sha256=encoder.notes["encoder_sha256"] if encoder else "",
        encoder=_encoder_words(config),
        config_toml=config.to_toml(),
    )
    publish_text(layout.report / "metrics.json", data.to_json())
    publish_text(layout.report / "index.html", render_page(data))
    progress(1, 1)
    return publish_entry(
        item,
        stopwatch,
        avatars=avatars,
        outputs=(layout.report / "metrics.json", layout.report / "index.html"),
        packages=("torch",),
        metrics={"mean_psnr_db": mean_psnr(fits), **_distance_metrics(distances)},
    )


def mean_psnr(fits: list[FitReport]) -> float | None:
    """Mean held-out whole-image PSNR over avatars."""
    values = [fit.psnr_db for fit in fits if fit.psnr_db is not None]
    return sum(values) / len(values) if values else None


def measure_distances(run: Run, sampler: Sampler) -> tuple[DistanceRow, ...]:
    """FID and KID of the avatars from noise against training renders, without and with the refiner.

    Both sets are of random cameras: the renders' own, and as many draws from the same rig.
    """
    real = torch.cat(
        [
            _features(sampler, [rgb_tensor(sample, CPU) for sample in read_samples(run, avatar, ("train",))])
            for avatar in sorted(run.render_sources())
            if not run.config.is_held_out(avatar)
        ]
    )
    plain: list[torch.Tensor] = []
    refined: list[torch.Tensor] = []
    for index, folder in enumerate(sorted((run.layout.samples / "noise").glob("avatar-*"))):
        planes = torch.from_numpy(np.load(folder / "planes.npy", allow_pickle=False)).to(sampler.device)
        latent = torch.from_numpy(np.load(folder / "latent.npy", allow_pickle=False)).to(sampler.device)
        cameras = sphere_rig(
            generator_for(run.config.seed, index, "evaluation views"),
            run.config.evaluate.images_per_avatar,
            elevation_deg=run.config.render.elevation_deg,
            distance=run.config.render.distance,
            fov_deg=run.config.render.fov_deg,
            size=run.config.generate.image_side,
        )
        for images, features in zip(sampler.images(planes, latent, cameras), (plain, refined), strict=True):
            features.append(_features(sampler, [_tensor(image) for image in images]))
    rows = []
    for name, features in (("without refiner", plain), ("with refiner", refined)):
        generated = torch.cat(features)
        frechet = fid(real, generated)
        kernel = kid(
            real,
            generated,
            num_subsets=run.config.evaluate.kid_subsets,
            subset_size=min(run.config.evaluate.kid_subset_size, len(generated)),
            generator=seeded(run.config, 0, "kid", CPU),
        )
        rows.append(_distance_row(name, frechet, kernel))
    return tuple(rows)


def fit_pairs(run: Run, device: torch.device, fits: list[FitReport]) -> tuple[FitPair, ...]:
    """Pictures of a held-out view of some avatars, held-out avatars first: render, fit, error."""
    store = PlaneStore.open(run.layout.planes, run.config.plane_spec())
    decoder, _ = load_decoder(run.layout, device)
    chosen = sorted(fits, key=lambda fit: (not run.config.is_held_out(fit.avatar), fit.avatar))[:SHOWN_PAIRS]
    pairs = []
    for fit in chosen:
        views = read_views(run, fit.avatar, ("held_out",), device)
        planes = torch.from_numpy(store.read(fit.avatar)).to(device).float()
        quality = evaluate_views(planes, decoder, views, samples=run.config.fit.render_samples)
        name = format_avatar(fit.avatar)
        truth, image = (to_uint8(tensor[0].cpu().numpy()) for tensor in (quality.truth, quality.images))
        pictures = {}
        for kind, pixels in (("truth", truth), ("fit", image), ("error", error_map(image, truth))):
            path = f"pictures/{name}-{kind}.png"
            publish_bytes(run.layout.report / path, encode_png(pixels))
            pictures[kind] = Picture(path=path, caption=f"{name}, held-out view, {kind}")
        pairs.append(
            FitPair(
                avatar_id=name,
                view=run.config.render.train_views,
                truth=pictures["truth"],
                fit=pictures["fit"],
                error=pictures["error"],
                psnr_db=quality.psnr_db[0],
            )
        )
    return tuple(pairs)


def _features(sampler: Sampler, images: list[torch.Tensor]) -> torch.Tensor:
    parts = []
    with torch.no_grad():
        for first in range(0, len(images), FEATURE_BATCH):
            batch = torch.stack(images[first : first + FEATURE_BATCH]).to(sampler.device)
            parts.append(sampler.clip.image_embeddings(batch).cpu())
    return torch.cat(parts)


def _tensor(image: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image[..., :3].copy()).permute(2, 0, 1).float() / 255


def _distance_row(name: str, frechet: SetDistance, kernel: SetDistance) -> DistanceRow:
    return DistanceRow(
        name=name,
        num_real=frechet.num_real,
        num_generated=frechet.num_generated,
        num_features=frechet.num_features,
        fid=frechet.value,
        fid_withheld=frechet.withheld,
        kid=kernel.value,
        kid_deviation=kernel.deviation,
        kid_withheld=kernel.withheld,
    )


def _distance_metrics(distances: tuple[DistanceRow, ...]) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {}
    for row in distances:
        key = row.name.replace(" ", "_")
        metrics |= {f"fid_{key}": row.fid, f"kid_{key}": row.kid, f"images_{key}": float(row.num_generated)}
    return metrics


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
    with (run.layout.model(name) / "loss.csv").open(newline="") as handle:
        header, *lines = list(csv.reader(handle)) or [[]]
    shown = [(place, key) for place, key in enumerate(header) if key not in ("step", "seconds")]
    curves = tuple(
        LossCurve(name=key, points=tuple((int(float(line[0])), float(line[place])) for line in lines))
        for place, key in shown
    )
    return TrainedModel(
        name=name,
        steps=int(report.metrics.get("steps") or 0),
        seconds=report.seconds,
        batch=getattr(run.config, name).batch,
        note=f"worker there after {report.metrics.get('startup_s') or 0:.1f} s",
        curves=curves,
    )


def _generated(layout: RunLayout) -> tuple[GeneratedAvatar, ...]:
    rows = []
    for kind in RUN_SAMPLES:
        for folder in sorted((layout.samples / kind).glob("avatar-*")):
            record = json.loads((folder / "avatar.json").read_text("utf-8"))
            relative = f"../samples/{kind}/{folder.name}"
            videos = {path.stem: f"{relative}/{path.name}" for path in folder.glob("turntable*")}
            rows.append(
                GeneratedAvatar(
                    name=f"{kind} {folder.name.removeprefix('avatar-')}",
                    source=record["source"],
                    prompt=record["prompt"],
                    turntable=videos.get("turntable"),
                    refined_turntable=videos.get("turntable_refined"),
                    strip=Picture(path=f"{relative}/strip.png", caption="turntable, rendered"),
                    refined_strip=Picture(path=f"{relative}/strip_refined.png", caption="turntable, refined"),
                )
            )
    return tuple(rows)


def _times(run: Run) -> dict[str, Any]:
    """Seconds of every stage and of Ray, from the ledgers."""
    spans: dict[str, tuple[float, float]] = {}
    counts: dict[str, tuple[int, int]] = {}
    renders, fits = run.render_reports().values(), run.fit_reports().values()
    if renders:
        spans["render"] = (min(r.started_at for r in renders), max(r.finished_at for r in renders))
        counts["render"] = (sum(len(r.done) for r in renders), sum(len(r.failures) for r in renders))
    if fits:
        spans["fit"] = (min(r.started_at for r in fits), max(r.finished_at for r in fits))
        counts["fit"] = (sum(len(r.fits) for r in fits), sum(len(r.failures) for r in fits))
    decoder = run.decoder_report()
    if decoder is not None:
        spans["decoder"], counts["decoder"] = (decoder.started_at, decoder.finished_at), (len(decoder.avatars), 0)
    for stage in single_stages():
        report = run.stage_report(stage)
        if report is not None and stage != "evaluate":
            spans[stage] = (report.started_at - (report.metrics.get("startup_s") or 0.0), report.finished_at)
    first = min(start for start, _ in spans.values())
    driver = read_ledger(run.layout.root / "ledger" / "driver" / "ray.json", DriverReport)
    earlier = read_ledgers(run.layout.root / "ledger" / "driver", DriverReport).values()
    return {
        "wall_seconds": sum(r.finished_at - r.started_at for r in earlier if r.stages)
        or max(e for _, e in spans.values()) - first,
        "ray_start_s": driver.ray_start_s if driver else None,
        "ray_stop_s": None,
        "stages": tuple(
            StageTime(
                name=stage,
                seconds=max(0.0, spans[stage][1] - spans[stage][0]),
                starts_at_s=spans[stage][0] - first,
                done=counts[stage][0] if stage in counts else None,
                failed=counts[stage][1] if stage in counts else 0,
            )
            for stage in STAGES
            if stage in spans
        ),
    }


def _versions(run: Run) -> dict[str, str]:
    versions = dict(package_versions(("rodin-pipe", "torch", "ray", "numpy", "zarr")))
    for report in run.render_reports().values():
        versions |= report.versions
    return versions


def _encoder_words(config: RunConfig) -> str:
    if config.clip.pretrained:
        return f"pretrained CLIP {config.clip.pretrained}"
    return "the run's own CLIP, trained on its renders: figures compare within the run only"
