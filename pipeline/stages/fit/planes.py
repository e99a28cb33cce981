"""Stage ``fit``: the planes of one shard's avatars under the frozen decoder.

Each avatar's chunk of the plane store is written once, and its report beside the other parts of the shard, so that
a killed task does again at most the avatar in work, or the batch of them: on a GPU several are fitted at once. A fit
that diverges or stays below ``fit.min_psnr`` is a failure with a reason: the rest goes on, and training never reads it.
"""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.planes import FitReport, FitShardReport
from pipeline.contracts.rendering import AvatarFailure
from pipeline.contracts.stage import Progress
from pipeline.io.files import forget, make_folder
from pipeline.io.ledger import read_ledger, write_ledger
from pipeline.io.plane_store import PlaneStore
from pipeline.machine import package_versions, processor_name
from pipeline.stages.device import check_memory, choose_device, seeded, use_threads
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.fit.means import avatars_at_once, fit_shading
from pipeline.stages.fit.settings import fit_features, fit_settings
from pipeline.stages.fit.start import fit_starts
from pipeline.stages.views import read_views
from pipeline.stages.work import WorkItem
from rodin_models.field.decoder import Decoder
from rodin_models.field.triplane import downsample
from rodin_models.fit.batch_fit import fit_batch
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.fit.plane_fit import FitDiverged, fit_planes
from rodin_models.fit.shading import Shading
from rodin_models.fit.views import Views
from rodin_models.image.perceptual import FeatureMaps


def fit_shard(item: WorkItem, progress: Progress) -> FitShardReport:
    """Fit what is missing of one shard and publish its ledger."""
    run, layout, config, shard = item.run, item.layout, item.config, item.number
    renders, decoder_ledger = run.render_report(shard), run.decoder_report()
    if renders is None:
        raise DataError(f"stage fit: {item.name} is not rendered; run rodin-pipe render first")
    if decoder_ledger is None:
        raise DataError("stage fit: there is no decoder; see why stage decoder failed")
    before = item.published(FitShardReport)
    if before is not None and item.done(before, progress):
        return before

    started_at = time.time()
    use_threads(config.fit.threads)
    device = choose_device(config)
    check_memory("fit", config, device)
    shading, at_once = fit_shading(config, device), avatars_at_once(config, device)
    decoder, mean_planes = load_decoder(layout, device)
    features, starts = fit_features(config, device), fit_starts(run, mean_planes, device)
    store = PlaneStore.open(layout.planes, config.plane_spec(), decoder_ledger.decoder_sha256)
    parts = layout.parts("fit", shard)
    make_folder(parts)
    outcomes: dict[int, FitReport | AvatarFailure] = {}
    part_of: dict[int, Path] = {}
    for avatar in renders.done:
        source = renders.avatar_sha256[format_avatar(avatar)]
        part = parts / f"{format_avatar(avatar)}.{item.fingerprint}-{decoder_ledger.decoder_sha256[:16]}.json"
        known = read_ledger(part, FitReport) or _known_fit(item, before, decoder_ledger.decoder_sha256, avatar)
        if known is not None and known.source_sha256 == source:
            outcomes[avatar] = known
        else:
            part_of[avatar] = part
    for batch in batched(part_of, at_once):
        done = len(outcomes)

        def on_step(step: int, done: int = done, batch: tuple[int, ...] = batch) -> None:
            progress(done + len(batch) * step / config.fit.steps, item.units)

        start = time.monotonic()
        results = _fit(item, batch, decoder, starts, features, shading, device, on_step)
        seconds = (time.monotonic() - start) / len(batch)
        for avatar, result in zip(batch, results, strict=True):
            source = renders.avatar_sha256[format_avatar(avatar)]
            outcome = _measured(item, avatar, source, result, decoder, store, seconds)
            if isinstance(outcome, FitReport):
                write_ledger(part_of[avatar], outcome)
            outcomes[avatar] = outcome
    in_order = [outcomes[avatar] for avatar in renders.done]
    report = FitShardReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        shard=shard,
        decoder_sha256=decoder_ledger.decoder_sha256,
        fits=tuple(o for o in in_order if isinstance(o, FitReport)),
        failures=tuple(o for o in in_order if isinstance(o, AvatarFailure)),
        started_at=started_at,
        finished_at=time.time(),
        versions=package_versions(("torch", "numpy", "scipy", "zarr")),
        processor=processor_name(),
    )
    write_ledger(item.ledger, report)
    forget(parts)
    progress(item.units, item.units)
    return report


def _known_fit(item: WorkItem, before: FitShardReport | None, decoder_sha256: str, avatar: int) -> FitReport | None:
    """The avatar's fit in the published ledger, when that ledger has this configuration and decoder."""
    if before is None or before.fingerprint != item.fingerprint or before.decoder_sha256 != decoder_sha256:
        return None
    return next((fit for fit in before.fits if fit.avatar == avatar), None)


def batched(avatars: Iterable[int], size: int) -> list[tuple[int, ...]]:
    """Avatars in order, ``size`` at a time."""
    listed = tuple(avatars)
    return [listed[i : i + size] for i in range(0, len(listed), size)]


def _fit(
    item: WorkItem,
    avatars: tuple[int, ...],
    decoder: Decoder,
    starts: Callable[[int], torch.Tensor],
    features: FeatureMaps | None,
    shading: Shading,
    device: torch.device,
    on_step: Callable[[int], None],
) -> list[torch.Tensor | FitDiverged]:
    """The planes of several avatars, or why there are none.

    One alone on a CPU, in float32, goes the way that is fastest there; so does one whose patches are compared, which
    batches do not know.
    """
    run, config = item.run, item.config
    settings = fit_settings(config, steps=config.fit.steps)
    generators = [seeded(config, avatar, "fit", device) for avatar in avatars]

    def views(index: int) -> Views:
        return read_views(run, avatars[index], ("train",), device)

    if features is not None or (device.type == "cpu" and len(avatars) == 1 and shading == Shading()):
        try:
            alone = fit_planes(
                views(0),
                decoder,
                settings,
                generators[0],
                initial=starts(avatars[0]),
                features=features,
                on_step=lambda step, _: on_step(step),
            )
        except FitDiverged as error:
            return [error]
        return [alone.planes]
    alike = config.fit.start == "mean"
    initial = starts(avatars[0]) if alike else torch.stack([starts(avatar) for avatar in avatars])
    batch = fit_batch(views, decoder, settings, generators, initial=initial, shading=shading, on_step=on_step)
    return [fit.planes if math.isfinite(fit.losses[-1]) else FitDiverged(len(fit.losses) - 1) for fit in batch]


def _measured(
    item: WorkItem,
    avatar: int,
    source: str,
    fitted: torch.Tensor | FitDiverged,
    decoder: Decoder,
    store: PlaneStore,
    seconds: float,
) -> FitReport | AvatarFailure:
    """Measure fitted planes as they are stored, and store them; ``seconds`` is what fitting them took."""
    run, config = item.run, item.config
    start = time.monotonic()
    if isinstance(fitted, FitDiverged):
        return AvatarFailure(
            avatar=avatar,
            reason=f"fit of {format_avatar(avatar)} diverged: {fitted}; lower fit.learning_rate "
            f"{config.fit.learning_rate}",
        )
    planes = fitted.to(torch.float16)
    if not bool(torch.isfinite(planes).all()):
        return AvatarFailure(avatar=avatar, reason=f"fit of {format_avatar(avatar)} diverged: planes are not finite")
    held_out = read_views(run, avatar, ("held_out",), fitted.device)
    quality = evaluate_views(planes.float(), decoder, held_out, samples=config.fit.render_samples)
    psnr = _mean(quality.psnr_db)
    if not psnr >= config.fit.min_psnr:
        return AvatarFailure(
            avatar=avatar,
            reason=f"held-out PSNR {psnr:.2f} dB of {format_avatar(avatar)} is below fit.min_psnr "
            f"{config.fit.min_psnr}",
        )
    full = planes.cpu().numpy()
    base = downsample(planes.float(), config.planes.base_resolution).to(torch.float16).cpu().numpy()
    sha256 = store.write(avatar, full, base)
    return FitReport(
        avatar=avatar,
        source_sha256=source,
        psnr_db=psnr,
        psnr_foreground_db=_mean(quality.psnr_foreground_db),
        ssim=_mean(quality.ssim()),
        coverage=_mean(quality.coverage),
        steps=config.fit.steps,
        seconds=round(seconds + time.monotonic() - start, 3),
        planes_sha256=sha256,
    )


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
