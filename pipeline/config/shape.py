"""Which settings shape a run's weights: weights of other ones cannot be taken up by a run.

All else of how a model is trained may differ where its training goes on: steps, learning rate, dropout, data.
"""

import json
from typing import Final

from pydantic import JsonValue

from pipeline.config.run import RunConfig
from pipeline.config.setting import settings_of, value_of

SHAPING: Final[tuple[str, ...]] = (
    "render.extent_m",
    "planes",
    "decoder.hidden",
    "decoder.colour_hidden",
    "decoder.frequencies",
    "decoder.direction_frequencies",
    "clip.pretrained",
    "clip.image_size",
    "clip.patch_size",
    "clip.width",
    "clip.layers",
    "clip.heads",
    "clip.latent_dim",
    "clip.max_tokens",
    "clip.likeness",
    "base.unet",
    "base.diffusion",
    "base.linear",
    "upsampler.unet",
    "upsampler.diffusion",
    "upsampler.residual",
    "latent.width",
    "latent.layers",
    "latent.diffusion",
    "frontal.side",
    "frontal.unet",
    "frontal.diffusion",
    "head.side",
    "head.middle",
    "head.coarse_side",
    "head.unet",
    "head.diffusion",
    "refiner.width",
    "refiner.multipliers",
    "refiner.blocks",
    "refiner.scale",
)
"""Settings, and sections of which all settings count but those of :data:`ONLY_TRAINED_BY`."""

ONLY_TRAINED_BY: Final = ("dropout", "recompute", "sampler", "clip", "min_snr", "eta", "snr_spread")
"""Of a UNet or a noise process: how it is trained or sampled, at one shape."""


def shaping_settings(config: RunConfig) -> dict[str, JsonValue]:
    """The values of a configuration's shaping settings, as JSON has them, by dotted name."""
    return {
        name: json.loads(json.dumps(value_of(config, name)))
        for name, _ in settings_of(RunConfig)
        if name.rpartition(".")[2] not in ONLY_TRAINED_BY
        and any(name == shaping or name.startswith(f"{shaping}.") for shaping in SHAPING)
    }


def contradiction(config: RunConfig, given: dict[str, JsonValue]) -> str:
    """The first shaping setting at which a configuration differs from given values, and how; empty where none does."""
    own = shaping_settings(config)
    for name, value in given.items():
        if name in own and own[name] != value:
            return f"{name} is {json.dumps(own[name])}, and theirs is {json.dumps(value)}"
    return ""
