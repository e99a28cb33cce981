"""Planes and latents as the diffusion models read them: one avatar at a time, straight from the store."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.models import DiffusionConfig, UNetConfig
from pipeline.io.plane_store import Level, PlaneStatistics, PlaneStore
from pipeline.run.run import Run
from pipeline.stages.latents import load_latents
from pipeline.stages.train.recipe import learnable
from rodin_models.checkpoint import save_state
from rodin_models.diffusion.process import DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings


class PlaneData:
    """The fitted avatars that are not held out, with their image latents."""

    def __init__(self, run: Run) -> None:
        latents = load_latents(run.layout)
        fitted = run.plane_sources()
        self.avatars = tuple(avatar for avatar in learnable(run.config, fitted) if avatar in set(latents.avatars))
        self.store = PlaneStore.open(run.layout.planes, run.config.plane_spec())
        rows = latents.rows(self.avatars)
        self.latents, self.text = latents.image[rows], latents.text[rows]

    def read(self, rows: np.ndarray, level: Level) -> Tensor:  # type: ignore[type-arg]
        """Planes of the given rows of :attr:`avatars`, float32 (batch, 3, channel, side, side)."""
        return torch.from_numpy(self.store.read_many([self.avatars[row] for row in rows], level)).float()

    def statistics(self, level: Level) -> PlaneStatistics:
        """Per plane and channel, over these avatars only."""
        return self.store.statistics(self.avatars, level)


def unet_settings(unet: UNetConfig, *, side: int, channels: int, latent_dim: int, upsampler: bool) -> UNetSettings:
    """The configuration of a UNet as plain arguments. Attention sides that it does not have are left out."""
    levels = range(len(unet.multipliers))
    sides = {side >> level for level in levels}
    return UNetSettings(
        side=side,
        in_channels=channels,
        out_channels=channels,
        extra_channels=channels if upsampler else 0,
        width=unet.width,
        multipliers=unet.multipliers,
        blocks=unet.blocks,
        attention_sides=tuple(s for s in unet.attention_sides if s in sides),
        aware_levels=tuple(level for level in levels if level < unet.aware_levels),
        dropout=unet.dropout,
        condition_dim=latent_dim,
        has_level=upsampler,
        recompute=unet.recompute,
    )


def diffusion_settings(diffusion: DiffusionConfig) -> DiffusionSettings:
    """The configuration of a noise process as plain arguments."""
    return DiffusionSettings(
        timesteps=diffusion.timesteps,
        schedule=diffusion.schedule,
        input_scale=diffusion.input_scale,
        prediction=diffusion.prediction,
        sampler=diffusion.sampler,
        clip=diffusion.clip or None,
        zero_terminal_snr=diffusion.zero_terminal_snr,
        min_snr=diffusion.min_snr or None,
        eta=diffusion.eta,
    )


def set_plane_statistics(module: Any, statistics: PlaneStatistics) -> None:
    """Give a model's :class:`rodin_models.diffusion.normalisation.PlaneStatistics` what the store knows."""
    module.set(torch.from_numpy(statistics.mean).float(), torch.from_numpy(statistics.std).float())


def save_diffusion(model: nn.Module, settings: Any, folder: Path) -> None:
    """:func:`save_model` of a model with a UNet, without what only its training had to know."""
    save_model(model, replace(settings, unet=replace(settings.unet, recompute=False)), folder)


def save_model(model: nn.Module, settings: Any, folder: Path) -> None:
    """Weights and settings in one tree."""
    save_state(folder, {"settings": asdict(settings), "model": dict(model.state_dict())})
