"""Stage ``evaluate``: how good the fits and the generated avatars are, as one JSON file and one static page.

FID and KID compare generated images with renders of the training population on features of the run's CLIP, with
and without the refiner, always with the number of images and the encoder's hash.
"""

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.camera import sphere_rig
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.planes import FitReport
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.report.page import (
    DistanceRow,
    FitPair,
    Picture,
)
from pipeline.contracts.stage import Progress, StageReport
from pipeline.images import encode_png, to_uint8
from pipeline.io.files import names, read_array
from pipeline.io.plane_store import PlaneStore
from pipeline.io.publish import publish_bytes, publish_text
from pipeline.report.page import render_page
from pipeline.report.pictures import error_map
from pipeline.report.web.page import LiveAvatar, web_page
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.stages.device import choose_device, seeded, use_threads
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.generate import RUN_SAMPLES
from pipeline.stages.live import live_fit, live_sample, live_withheld
from pipeline.stages.report_data import report_data
from pipeline.stages.sampling.load import load_sampler
from pipeline.stages.sampling.sampler import Sampler
from pipeline.stages.views import read_samples, read_views, rgb_tensor
from pipeline.stages.work import Stopwatch, WorkItem, publish_entry
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.image.metrics import SetDistance, fid, kid

CPU = torch.device("cpu")
SHOWN_PAIRS = 6
LIVE_POSTER_SIDE = 192
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
    sampler = load_sampler(ModelFolder.of_run(run), device)
    distances = measure_distances(run, sampler)
    progress(0.5, 1)
    fits = sorted((fit for report in run.fit_reports().values() for fit in report.fits), key=lambda f: f.avatar)
    withheld = live_withheld(sampler.decoder)
    pairs = fit_pairs(run, device, fits, live=not withheld)
    progress(0.8, 1)
    live = {} if withheld else live_samples(run, sampler)
    data = report_data(run, avatars, fits=fits, fit_pairs=pairs, distances=distances, live=live, live_withheld=withheld)
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
    for index, folder in enumerate(names(run.layout.samples / "noise", "avatar-*")):
        planes = torch.from_numpy(read_array(folder / "planes.npy")).to(sampler.device)
        latent = torch.from_numpy(read_array(folder / "latent.npy")).to(sampler.device)
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


def fit_pairs(run: Run, device: torch.device, fits: list[FitReport], *, live: bool) -> tuple[FitPair, ...]:
    """Pictures of a held-out view of some avatars, held-out avatars first: render, fit, error; and ``live`` pages."""
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
                live=publish_live(run, live_fit(run, fit, planes, decoder, own=False, poster_side=LIVE_POSTER_SIDE))
                if live
                else None,
            )
        )
    return tuple(pairs)


def live_samples(run: Run, sampler: Sampler) -> dict[str, str]:
    """Pages that draw the run's own samples, relative to the report's folder, by the samples' names."""
    pages = {}
    for folder in (folder for kind in RUN_SAMPLES for folder in names(run.layout.samples / kind, "avatar-*")):
        name = f"{folder.parent.name}/{folder.name}"
        planes = torch.from_numpy(read_array(folder / "planes.npy")).to(sampler.device).float()
        whose = f"of the run {run.layout.root.name}"
        avatar = live_sample(
            name, folder, planes, sampler.decoder, sampler.sampling, whose, poster_side=LIVE_POSTER_SIDE
        )
        pages[name] = publish_live(run, avatar)
    return pages


def publish_live(run: Run, avatar: LiveAvatar) -> str:
    """Publish an avatar's page beside the report; returns its path relative to the report's folder."""
    path = f"live/{avatar.name.replace('/', '-')}.html"
    publish_text(run.layout.report / path, web_page((avatar,), f"{avatar.name} · {run.layout.root.name}"))
    return path


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
