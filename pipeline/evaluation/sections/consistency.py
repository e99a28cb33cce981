"""Whether refined pictures of one avatar are of one thing in space: planes fitted to many of them show them again.

Blurred pictures are the easier to fit, so bicubic enlargement says how well that goes without any detail made up, and
the same planes rendered large, with none made up either, how well it goes with detail that is consistent.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.contracts.camera import Camera, sphere_rig
from pipeline.contracts.conventions import BACKGROUND
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.report.results import Row, Table
from pipeline.evaluation.figures import mean
from pipeline.evaluation.subject import Subject, Tally
from pipeline.stages.device import seeded
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.fit.settings import fit_settings
from pipeline.stages.views import intrinsics
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.fit.plane_fit import fit_planes
from rodin_models.fit.views import Views
from rodin_models.image.refiner import enlarged, refine

PEOPLE: Final = 4
"""Most held-out people, since each is fitted anew three times."""
VIEWS: Final = 60


def refits(subject: Subject, people: tuple[int, ...], tally: Tally) -> Table:
    """How well planes that are fitted to large pictures of fits show these pictures."""
    found: dict[str, list[float]] = {}
    for avatar in people:
        name = f"refits/{avatar:06d}-{subject.planes_name((avatar,))}"

        def measured(avatar: int = avatar) -> dict[str, float]:
            return {way: _refit(subject, avatar, *seen) for way, seen in _seen(subject, avatar).items()}

        for way, decibels in subject.generated.numbers(name, measured).items():
            found.setdefault(way, []).append(decibels)
        tally.step()
    rows = [
        Row(name=way, figures=(mean("dB of the refit", values, subject.generator(0, f"refit {way}")),))
        for way, values in found.items()
    ]
    note = f"Planes fitted to {VIEWS} pictures of a fit, against these pictures."
    return Table(title="Consistency in space", rows=tuple(rows), note=note)


def _seen(subject: Subject, avatar: int) -> dict[str, tuple[Tensor, tuple[Camera, ...]]]:
    """Large pictures (view, 4, side, side) of a fit, colour over white and alpha, by way, and their cameras."""
    network, render = subject.sampler.refiner, subject.run.config.render
    cameras = sphere_rig(
        generator_for(subject.run.config.seed, avatar, "refit views"),
        VIEWS,
        elevation_deg=render.elevation_deg,
        distance=render.distance,
        fov_deg=render.fov_deg,
        size=subject.side * network.settings.scale,
    )
    planes, device, latent = subject.planes(avatar), subject.sampler.device, subject.latents((avatar,))
    small = subject.seen(planes, cameras, subject.decoder)
    refined = [refine(network, one[None].to(device), latent.to(device))[0].cpu() for one in small]
    return {
        "bicubic": (enlarged(small, network.settings.scale).clamp(0, 1), cameras),
        "refiner": (torch.stack(refined), cameras),
        "the same planes rendered large": (subject.seen(planes, cameras, subject.decoder, cameras[0].width), cameras),
    }


def _refit(subject: Subject, avatar: int, pictures: Tensor, cameras: tuple[Camera, ...]) -> float:
    """Mean PSNR of planes fitted to pictures, against them."""
    config, device = subject.run.config, subject.sampler.device
    alpha = pictures[:, 3:]
    colour = ((pictures[:, :3] - BACKGROUND * (1 - alpha)) / alpha.clamp(min=1e-3)).clamp(0, 1)
    views = Views(
        rgba=(torch.cat((colour, alpha), 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().to(device),
        cam2world=torch.from_numpy(np.stack([camera.matrix() for camera in cameras])).float().to(device),
        intrinsics=torch.tensor([intrinsics(camera) for camera in cameras], device=device),
    )
    decoder, mean_planes = load_decoder(subject.run.layout, device)
    generator = seeded(config, avatar, "evaluation refit", device)
    fit = fit_planes(views, decoder, fit_settings(config, steps=config.fit.steps), generator, initial=mean_planes)
    quality = evaluate_views(fit.planes, decoder, views, samples=config.fit.render_samples, occupancy=fit.occupancy)
    return sum(quality.psnr_db) / len(quality.psnr_db)
