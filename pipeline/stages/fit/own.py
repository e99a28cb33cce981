"""Stage ``own``: one avatar's planes with a decoder of its own, and how well they show it.

The joint fit of the shared decoder, of one avatar. It publishes ``RUN/own/a000012/``: planes and decoder
(``state.safetensors``, ``state.json``), ``metrics.json``, a turntable (``turntable.mp4``, or GIF where there is no
encoder), its contact sheet ``turntable.png``, and held-out views beside the fit and its error, ``views.png``. No other
stage reads it. The fit checkpoints, so that a killed one goes on to the same bytes; the ledger comes last.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pipeline.config.run import RunConfig
from pipeline.contracts.camera import Camera, turntable_rig
from pipeline.contracts.conventions import PLANE_AXES, PLANE_NAMES, SCHEMA_VERSION, TEXEL_RULE
from pipeline.contracts.errors import DataError
from pipeline.contracts.planes import FitReport, OwnFitReport, ViewQuality
from pipeline.contracts.rendering import AvatarFailure
from pipeline.contracts.stage import Progress, Watched
from pipeline.images import encode_png, to_uint8
from pipeline.io.files import file_size, forget, make_folder, names
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import planes_sha256
from pipeline.io.publish import empty_folder, publish_folder, sha256_file
from pipeline.machine import package_versions, processor_name
from pipeline.report.pictures import contact_sheet, encode_turntable, error_map
from pipeline.stages.device import check_memory, choose_device, seeded, use_threads
from pipeline.stages.fit.settings import decoder_settings, fit_features, fit_settings
from pipeline.stages.picture import picture
from pipeline.stages.views import read_samples, read_views, views_of
from pipeline.stages.weights import is_state, read_state
from pipeline.stages.work import WorkItem
from rodin_models.checkpoint import save_state
from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.render import planes_occupancy
from rodin_models.fit.evaluation import evaluate_views, glimpse_db
from rodin_models.fit.joint_fit import JointFit
from rodin_models.fit.plane_fit import FitDiverged
from rodin_models.fit.views import Views

CPU: Final = torch.device("cpu")
TURNTABLE_FPS: Final = 24
SHOWN_VIEWS: Final = 4
WATCHED_VIEWS: Final = 2
"""Held-out views that are measured at every checkpoint, for whoever watches."""
SHEET_COLUMNS: Final = 8
OCCUPANCY_CELLS: Final = 128
"""A side, by which the finished fit is rendered: thin parts fall between coarser ones."""
STEEPEST_DEG: Final = 60.0
"""The turntable goes round at the photographs' height, but no steeper than this."""


@dataclass(frozen=True)
class _Fitted:
    """A finished fit, planes as they are stored, and where they hold matter."""

    planes: torch.Tensor
    """float16 (3, channel, side, side)."""
    decoder: Decoder
    occupancy: Occupancy
    seconds: float


def fit_own(item: WorkItem, progress: Progress) -> OwnFitReport:
    """Fit one avatar, measure it, show it, and publish all that. A fit that diverges is a failure with a reason."""
    run, layout, config = item.run, item.layout, item.config
    source = run.render_sources().get(item.number)
    if source is None:
        raise DataError(f"stage own: {item.name} is not rendered; see rodin-pipe inspect for what failed")
    before = item.published(OwnFitReport)
    if before is not None and item.done(before, progress):
        return before
    started_at = time.time()
    use_threads(config.fit.threads)
    device = choose_device(config)
    check_memory("own", config, device)
    fitted = _fit(item, source, device, progress)
    fit: FitReport | None = None
    failure: AvatarFailure | None = None
    views: tuple[ViewQuality, ...] = ()
    outputs: dict[str, str] = {}
    sizes: dict[str, int] = {}
    if isinstance(fitted, AvatarFailure):
        failure = fitted
    else:
        staged = empty_folder(layout.work / "own" / f"{item.name}.publish")
        views = _measure(item, fitted, staged)
        fit = _fit_report(item, source, fitted, views)
        _write_state(config, fitted, staged)
        _write_turntable(item, fitted, staged)
        (staged / "metrics.json").write_text(_metrics(item, fit, views))
        final = layout.own / item.name
        make_folder(final.parent)
        publish_folder(staged, final)
        outputs = {str(path.relative_to(layout.root)): sha256_file(path) for path in names(final)}
        sizes = {name: file_size(layout.root / name) for name in outputs}
    report = OwnFitReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        source_sha256=source,
        fit=fit,
        failure=failure,
        views=views,
        outputs=outputs,
        sizes=sizes,
        started_at=started_at,
        finished_at=time.time(),
        versions=package_versions(("torch", "numpy", "scipy")),
        processor=processor_name(),
    )
    write_ledger(item.ledger, report)
    forget(_checkpoint(item).parent)
    progress(config.own.steps, config.own.steps)
    return report


def turntable_cameras(photographs: Sequence[Camera], num_views: int, most_pixels: int) -> tuple[Camera, ...]:
    """A circle of cameras as far, as high and as wide as the photographs' are on the median."""
    positions = np.stack([camera.matrix()[:3, 3] for camera in photographs])
    distances = np.linalg.norm(positions, axis=1)
    elevations = np.degrees(np.arcsin(np.clip(positions[:, 1] / np.maximum(distances, 1e-6), -1, 1)))
    side = min(photographs[0].width, photographs[0].height)
    fov_deg = math.degrees(2 * math.atan(side / 2 / max(photographs[0].fx, photographs[0].fy)))
    return turntable_rig(
        num_views,
        elevation_deg=float(np.clip(np.median(elevations), -STEEPEST_DEG, STEEPEST_DEG)),
        distance=float(np.median(distances)),
        fov_deg=fov_deg,
        size=min(side, most_pixels),
    )


def _checkpoint(item: WorkItem) -> Path:
    return item.layout.work / "own" / item.name / item.fingerprint


def _fit(item: WorkItem, source: str, device: torch.device, progress: Progress) -> _Fitted | AvatarFailure:
    run, config = item.run, item.config
    start, seconds_before = time.monotonic(), 0.0
    joint = JointFit(
        lambda _: read_views(run, item.number, ("train",), device),
        num_avatars=1,
        decoder=Decoder(decoder_settings(config), seeded(config, item.number, "own decoder weights", CPU)).to(device),
        settings=replace(fit_settings(config, steps=config.own.steps), supersample=config.own.supersample),
        generator=seeded(config, item.number, "own", device),
        features=fit_features(config, device),
    )
    checkpoint = _checkpoint(item)
    if is_state(checkpoint):
        remedy = f"delete {checkpoint} and give the command again"
        saved = read_state(checkpoint, ("source", "joint", "seconds"), what="a checkpoint", remedy=remedy)
        if saved["source"] == source:
            joint.load_state(saved["joint"])
            seconds_before = saved["seconds"]
            if isinstance(progress, Watched):
                progress.goes_on_from(joint.steps_done, config.own.steps)
    watched: list[Views] = _watched_views(item, device) if isinstance(progress, Watched) else []
    while joint.steps_done < config.own.steps:
        try:
            joint.run(
                joint.steps_done + config.own.checkpoint_every,
                on_step=lambda step, loss: progress(step + 1, config.own.steps),
            )
        except FitDiverged as error:
            return AvatarFailure(avatar=item.number, reason=f"own fit of {item.name} diverged: {error}")
        staged = empty_folder(checkpoint.with_name(f"{checkpoint.name}.new"))
        seconds = seconds_before + time.monotonic() - start
        save_state(staged, {"joint": joint.state(), "source": source, "seconds": seconds})
        publish_folder(staged, checkpoint)
        if isinstance(progress, Watched):
            progress.report({f"dB on {len(watched)} held-out views": _watched_db(config, joint, watched)})
    planes = joint.planes[0].to(torch.float16)
    if not bool(torch.isfinite(planes).all()):
        return AvatarFailure(avatar=item.number, reason=f"own fit of {item.name} diverged: planes are not finite")
    decoder = joint.decoder.requires_grad_(False).eval()
    occupancy = planes_occupancy(planes.float(), decoder, OCCUPANCY_CELLS)
    return _Fitted(planes, decoder, occupancy, round(seconds_before + time.monotonic() - start, 3))


def _watched_views(item: WorkItem, device: torch.device) -> list[Views]:
    """Held-out views, each alone, since they may be of different sizes."""
    held_out = read_samples(item.run, item.number, ("held_out",))
    return [views_of((sample,), device) for sample in _spread(held_out, WATCHED_VIEWS)]


def _watched_db(config: RunConfig, joint: JointFit, watched: Sequence[Views]) -> float:
    """Mean PSNR over white of some pixels of single held-out views, as the fit is now."""
    planes = joint.planes[0].detach()
    with torch.no_grad():
        occupancy = planes_occupancy(planes, joint.decoder, OCCUPANCY_CELLS)
    samples, supersample = config.fit.render_samples, config.own.supersample
    each = [
        glimpse_db(planes, joint.decoder, view, samples=samples, occupancy=occupancy, supersample=supersample)
        for view in watched
    ]
    return float(np.mean(each))


def _measure(item: WorkItem, fitted: _Fitted, staged: Path) -> tuple[ViewQuality, ...]:
    """Quality of held-out views, one at a time in memory; the first of them go side by side into ``views.png``."""
    config = item.config
    samples = _spread(read_samples(item.run, item.number, ("held_out",)), config.own.held_out_views)
    shown = {sample.record.view for sample in _spread(samples, SHOWN_VIEWS)}
    qualities, pictures, labels = [], [], []
    for sample in samples:
        result = evaluate_views(
            fitted.planes.float(),
            fitted.decoder,
            views_of((sample,), fitted.planes.device),
            samples=config.fit.render_samples,
            supersample=config.own.supersample,
            occupancy=fitted.occupancy,
        )
        quality = ViewQuality(
            view=sample.record.view,
            psnr_db=result.psnr_db[0],
            psnr_foreground_db=result.psnr_foreground_db[0],
            ssim=result.ssim()[0],
            coverage=result.coverage[0],
        )
        qualities.append(quality)
        if quality.view in shown:
            truth, image = (to_uint8(picture[0].cpu().numpy()) for picture in (result.truth, result.images))
            pictures += [truth, image, error_map(image, truth)]
            labels += [f"view {quality.view}", f"fit, {quality.psnr_db:.2f} dB", "error, 0 to 0.25"]
    tile = min(512, max(160, *pictures[0].shape[:2]))
    (staged / "views.png").write_bytes(encode_png(contact_sheet(pictures, columns=3, tile=tile, labels=labels)))
    return tuple(qualities)


def _fit_report(item: WorkItem, source: str, fitted: _Fitted, views: Sequence[ViewQuality]) -> FitReport:
    def mean(name: str) -> float:
        return float(np.mean([getattr(view, name) for view in views]))

    return FitReport(
        avatar=item.number,
        source_sha256=source,
        psnr_db=mean("psnr_db"),
        psnr_foreground_db=mean("psnr_foreground_db"),
        ssim=mean("ssim"),
        coverage=mean("coverage"),
        steps=item.config.own.steps,
        seconds=fitted.seconds,
        planes_sha256=planes_sha256(fitted.planes.cpu().numpy()),
    )


def _write_state(config: RunConfig, fitted: _Fitted, staged: Path) -> None:
    save_state(
        staged,
        {
            "settings": asdict(decoder_settings(config)),
            "decoder": dict(fitted.decoder.state_dict()),
            "planes": fitted.planes,
            "plane_names": PLANE_NAMES,
            "plane_axes": PLANE_AXES,
            "texel_rule": TEXEL_RULE,
            "extent_m": config.render.extent_m,
        },
    )


def _write_turntable(item: WorkItem, fitted: _Fitted, staged: Path) -> None:
    config = item.config
    photographs = [s.record.camera for s in read_samples(item.run, item.number, ("train",))]
    cameras = turntable_cameras(photographs, config.own.turntable_views, config.own.turntable_side)
    frames = [_picture(config, fitted, camera) for camera in cameras]
    video = encode_turntable(frames, fps=TURNTABLE_FPS)
    (staged / f"turntable{video.suffix}").write_bytes(video.data)
    sheet = contact_sheet(
        _spread(frames, 2 * SHEET_COLUMNS), columns=SHEET_COLUMNS, tile=max(64, min(256, len(frames[0])))
    )
    (staged / "turntable.png").write_bytes(encode_png(sheet))


def _picture(config: RunConfig, fitted: _Fitted, camera: Camera) -> npt.NDArray[np.uint8]:
    image = picture(fitted.planes, fitted.decoder, camera, fitted.occupancy, samples=config.fit.render_samples)
    return to_uint8(image.rgb.cpu().numpy())


def _metrics(item: WorkItem, fit: FitReport, views: Sequence[ViewQuality]) -> str:
    tree = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": item.fingerprint,
        **fit.model_dump(),
        "held_out_views": [view.model_dump() for view in views],
    }
    return json.dumps(tree, indent=1) + "\n"


def _spread(things: Sequence[Any], most: int) -> tuple[Any, ...]:
    """At most so many, evenly spread, the first among them."""
    if len(things) <= most:
        return tuple(things)
    return tuple(things[int(i * len(things) / most)] for i in range(most))
