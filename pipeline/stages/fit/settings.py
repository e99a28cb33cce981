"""The configuration of fits as the plain settings that ``rodin_models`` takes."""

from pathlib import Path

import torch

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError
from rodin_models.field.decoder import DecoderSettings
from rodin_models.fit.settings import FitSettings
from rodin_models.image.features import RandomFeatures, Vgg16Features
from rodin_models.image.perceptual import FeatureMaps

RANDOM_FEATURES_SEED = 0
"""All runs compare patches in the same random features, so that their figures compare."""


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
        learning_rate=fit.learning_rate,
        decoder_learning_rate=config.decoder.learning_rate,
        decoder_weight_decay=config.decoder.weight_decay,
        alpha_weight=fit.alpha_weight,
        tv_weight=fit.tv_weight,
        sparse_weight=fit.sparse_weight,
        compact_weight=fit.compact_weight,
        perceptual_weight=fit.perceptual_weight,
        perceptual_every=fit.perceptual_every,
        perceptual_patch=fit.perceptual_patch,
        plane_noise=fit.plane_noise,
        rescale_probability=fit.rescale_probability,
        coarse=fit.coarse,
        hull_resolution=fit.hull_resolution,
        shell_cells=fit.shell_cells,
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
