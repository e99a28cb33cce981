"""Stage ``decoder``: the shared MLP, fitted jointly with the planes of the first avatars, then frozen.

It publishes ``decoder/``: the decoder's weights and the mean of its avatars' planes, from which every later fit
starts. The joint fit checkpoints planes, optimisers and generators, so that a killed one goes on to the same bytes.
"""

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline.config import RunConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout, format_avatar
from pipeline.contracts.planes import DecoderReport
from pipeline.contracts.stage import Progress
from pipeline.io.ledger import package_versions, processor_name, read_ledger, write_ledger
from pipeline.io.plane_store import name_decoder
from pipeline.io.publish import empty_folder, publish_folder
from pipeline.provenance import decoder_sha256, render_sources
from pipeline.stages.item import StageItem
from pipeline.stages.views import choose_device, read_views, seeded, use_threads
from rodin_models.checkpoint import load_state, save_state
from rodin_models.decoder import Decoder, DecoderSettings
from rodin_models.fitting import FitSettings, evaluate_views
from rodin_models.joint_fit import JointFit
from rodin_models.patch_loss import RandomFeatures
from rodin_models.perceptual import FeatureMaps, Vgg16Features
from rodin_models.views import Views

CPU = torch.device("cpu")
RANDOM_FEATURES_SEED = 0
"""All runs compare patches in the same random features, so that their figures compare."""


def fit_decoder(item: StageItem, inputs: tuple[Any, ...], progress: Progress) -> DecoderReport:
    """Fit the shared decoder on the avatars that were rendered, and publish it.

    Raises ``DataError`` when fewer than ``decoder.min_avatars`` are there.
    """
    del inputs
    layout, config = item.layout, item.config
    ledger = layout.ledger("decoder", "decoder")
    before = read_ledger(ledger, DecoderReport)
    sources = render_sources(config, layout)
    if before is not None and is_current(item, before, sources):
        progress(before.steps, before.steps)
        return before

    started_at, start = time.time(), time.monotonic()
    use_threads(config.decoder.threads)
    device = choose_device(config)
    avatars = tuple(a for a in config.decoder_avatars() if a in sources)
    if len(avatars) < config.decoder.min_avatars:
        raise DataError(
            f"stage decoder: {len(avatars)} of the first {config.decoder.avatars} avatars are rendered, "
            f"decoder.min_avatars is {config.decoder.min_avatars}; see rodin-pipe inspect for what failed to render"
        )
    total = total_steps(config, len(avatars))

    def views_of(position: int) -> Views:
        return read_views(config, layout, avatars[position], ("train",), device)

    joint = JointFit(
        views_of,
        num_avatars=len(avatars),
        decoder=Decoder(decoder_settings(config), seeded(config, 0, "decoder weights", CPU)).to(device),
        settings=fit_settings(config, steps=config.decoder.steps_per_avatar),
        generator=seeded(config, 0, "decoder", device),
        features=fit_features(config, device),
    )
    seconds_before = 0.0
    checkpoint = layout.work / "decoder" / item.fingerprint
    if (checkpoint / "state.json").exists():
        saved = load_state(checkpoint)
        if saved["avatars"] == list(avatars) and saved["sources"] == [sources[a] for a in avatars]:
            joint.load_state(saved["joint"])
            seconds_before = saved["seconds"]
    while joint.steps_done < total:
        until = joint.steps_done + config.decoder.checkpoint_every
        joint.run(until, on_step=lambda step, loss: progress(step + 1, total))
        _save_checkpoint(
            checkpoint,
            dict(
                joint=joint.state(),
                avatars=list(avatars),
                sources=[sources[a] for a in avatars],
                seconds=seconds_before + time.monotonic() - start,
            ),
        )

    staged = empty_folder(layout.work / "decoder" / "publish")
    save_state(
        staged,
        dict(
            settings=asdict(decoder_settings(config)),
            decoder=dict(joint.decoder.state_dict()),
            mean_planes=joint.mean_planes(),
        ),
    )
    sha256 = decoder_sha256(staged)
    publish_folder(staged, layout.decoder)
    # Every fit waits for this stage, so nobody else writes to the store now.
    name_decoder(layout.planes, sha256)
    psnrs = []
    for avatar, planes in zip(avatars, joint.planes, strict=True):
        held_out = read_views(config, layout, avatar, ("held_out",), device)
        quality = evaluate_views(planes, joint.decoder, held_out, samples=config.fit.render_samples)
        psnrs.append(sum(quality.psnr_db) / len(quality.psnr_db))
    report = DecoderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        avatars=avatars,
        sources={format_avatar(a): sources[a] for a in avatars},
        decoder_sha256=sha256,
        psnr_db=sum(psnrs) / len(psnrs),
        steps=total,
        started_at=started_at,
        finished_at=time.time(),
        seconds=round(seconds_before + time.monotonic() - start, 3),
        versions=package_versions(("torch", "numpy", "scipy")),
        processor=processor_name(),
    )
    write_ledger(ledger, report)
    shutil.rmtree(layout.work / "decoder", ignore_errors=True)
    return report


def total_steps(config: RunConfig, num_avatars: int) -> int:
    """Optimiser steps of the joint fit."""
    return config.decoder.steps_per_avatar * num_avatars


def is_current(item: StageItem, report: DecoderReport, sources: dict[int, str]) -> bool:
    """Whether the published decoder has this configuration and its avatars' renders are what they were."""
    now = {format_avatar(a): sources.get(a) for a in report.avatars}
    return report.fingerprint == item.fingerprint and report.sources == now


def decoder_settings(config: RunConfig) -> DecoderSettings:
    """The decoder's shape as plain arguments."""
    return DecoderSettings(
        channels=config.planes.channels,
        hidden=config.decoder.hidden,
        colour_hidden=config.decoder.colour_hidden,
        frequencies=config.decoder.frequencies,
        direction_frequencies=config.decoder.direction_frequencies,
    )


def fit_settings(config: RunConfig, *, steps: int) -> FitSettings:
    """The configuration of a fit as plain arguments; the joint fit and every other share it but for ``steps``."""
    fit = config.fit
    return FitSettings(
        resolution=config.planes.resolution,
        steps=steps,
        rays=fit.rays,
        samples=fit.samples,
        lr_planes=fit.learning_rate,
        lr_decoder=config.decoder.learning_rate,
        decoder_weight_decay=config.decoder.weight_decay,
        alpha=fit.alpha_weight,
        tv=fit.tv_weight,
        sparse=fit.sparse_weight,
        compact=fit.compact_weight,
        perceptual=fit.perceptual_weight,
        perceptual_every=fit.perceptual_every,
        patch=fit.perceptual_patch,
        noise=fit.plane_noise,
        rescale_probability=fit.rescale_probability,
        coarse=fit.coarse,
        hull_resolution=fit.hull_resolution,
        visit_steps=config.decoder.visit_steps,
    )


def fit_features(config: RunConfig, device: torch.device) -> FeatureMaps | None:
    """The network whose features a fit compares patches in, if they weigh anything; raises ``DataError``."""
    if not config.fit.perceptual_weight:
        return None
    if not config.fit.perceptual_vgg:
        return RandomFeatures(torch.Generator().manual_seed(RANDOM_FEATURES_SEED)).to(device)
    try:
        return Vgg16Features.from_file(Path(config.fit.perceptual_vgg)).to(device)
    except ValueError as error:
        raise DataError(f"fit.perceptual_vgg: {error}") from None


def load_decoder(layout: RunLayout, device: torch.device) -> tuple[Decoder, torch.Tensor]:
    """The published decoder, frozen, and the mean planes (3, channels, resolution, resolution)."""
    if not (layout.decoder / "state.json").exists():
        raise DataError(f"{layout.decoder} holds no decoder; run rodin-pipe fit first")
    tree = load_state(layout.decoder)
    decoder = Decoder(DecoderSettings(**tree["settings"]), torch.Generator())
    decoder.load_state_dict(tree["decoder"])
    decoder.requires_grad_(False)
    return decoder.to(device).eval(), tree["mean_planes"].to(device)


def _save_checkpoint(folder: Path, tree: dict[str, Any]) -> None:
    staged = empty_folder(folder.with_name(folder.name + ".new"))
    save_state(staged, tree)
    publish_folder(staged, folder)
