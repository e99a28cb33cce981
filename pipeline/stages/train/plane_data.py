"""Planes and latents as the diffusion models read them: one avatar at a time, straight from the store."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.models import DiffusionConfig, UNetConfig
from pipeline.io.plane_store import Level, PlaneStatistics, PlaneStore
from pipeline.run.run import Run
from pipeline.stages.train.people_data import PeopleData
from rodin_models.checkpoint import save_state
from rodin_models.diffusion.eigen_planes import ReadPlanes
from rodin_models.diffusion.process import DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings
from rodin_models.diffusion.upsampler import enlarge
from rodin_models.field.triplane import mirrored


class PlaneData(PeopleData):
    """The fitted avatars with their planes; see :class:`PeopleData` for the rows."""

    def __init__(self, run: Run, stage: str) -> None:
        super().__init__(run, stage, run.plane_sources())
        self.store = PlaneStore.open(run.layout.planes, run.config.plane_spec())

    def read(self, rows: Sequence[int] | np.ndarray, level: Level) -> Tensor:  # type: ignore[type-arg]
        """Planes of the given rows, float32 (batch, 3, channel, side, side)."""
        avatars = [self.avatar(int(row)) for row in rows]
        planes = torch.from_numpy(self.store.read_many(avatars, level)).float()
        for place, row in enumerate(rows):
            if self.is_mirrored(int(row)):
                planes[place] = mirrored(planes[place])
        return planes

    def read_all(self, level: Level) -> ReadPlanes:
        """:meth:`read` of the rows from the first to before the last."""
        return lambda first, last: self.read(range(first, last), level)

    def detail(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, texel by texel, of what enlarging base planes leaves over (3, channel, side, side)."""
        total = squares = torch.zeros((), dtype=torch.float64)
        for row in range(self.rows):
            full = self.read([row], "planes")
            rest = (full - enlarge(self.read([row], "base_planes"), full.shape[-1]))[0].double()
            total, squares = total + rest, squares + rest.square()
        mean = total / self.rows
        return mean.float(), (squares / self.rows - mean.square()).clamp(min=0.0).sqrt().float()

    def statistics(self, level: Level) -> PlaneStatistics:
        """Per plane and channel, over these avatars only; mirror images have the same."""
        return self.store.statistics(self.avatars, level)


def unet_settings(
    unet: UNetConfig, *, side: int, channels: int, latent_dim: int, extra: bool, has_level: bool, planes: int = 3
) -> UNetSettings:
    """The configuration of a UNet as plain arguments; ``extra`` planes besides the noisy ones have as many channels.

    Attention sides that it does not have are left out.
    """
    levels = range(len(unet.multipliers))
    sides = {side // unet.patch >> level for level in levels}
    return UNetSettings(
        side=side,
        planes=planes,
        patch=unet.patch,
        bypass=unet.bypass,
        in_channels=channels,
        out_channels=channels,
        extra_channels=channels if extra else 0,
        width=unet.width,
        multipliers=unet.multipliers,
        blocks=unet.blocks,
        attention_sides=tuple(s for s in unet.attention_sides if s in sides),
        aware_levels=tuple(level for level in levels if level < unet.aware_levels),
        dropout=unet.dropout,
        condition_dim=latent_dim,
        has_level=has_level,
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
        snr_spread=diffusion.snr_spread or None,
    )


def set_plane_statistics(module: Any, statistics: PlaneStatistics) -> None:
    """Give a model's :class:`rodin_models.diffusion.normalisation.PlaneStatistics` what the store knows."""
    module.set(torch.from_numpy(statistics.mean).float(), torch.from_numpy(statistics.std).float())


def save_diffusion(model: nn.Module, settings: Any, folder: Path, **more: Any) -> None:
    """:func:`save_model` of a model with a UNet, without what only its training had to know."""
    save_model(model, replace(settings, unet=replace(settings.unet, recompute=False)), folder, **more)


def save_model(model: nn.Module, settings: Any, folder: Path, **more: Any) -> None:
    """Weights and settings in one tree, and further trees by name."""
    save_state(folder, {"settings": asdict(settings), "model": dict(model.state_dict()), **more})
