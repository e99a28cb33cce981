"""The base diffusion on the antialiased base planes, conditioned on the image latent."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.train.plane_data import (
    PlaneData,
    diffusion_settings,
    save_diffusion,
    set_plane_statistics,
    unet_settings,
)
from pipeline.stages.train.recipe import Batch, Places, draw_rows
from rodin_models.diffusion.base import BaseModel, BaseSettings, training_loss
from rodin_models.diffusion.conditioning import ConditionSettings


class BaseRecipe:
    """A batch is base planes of different avatars, with their image latents."""

    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        self.data = PlaneData(run)
        self.avatars = self.data.avatars
        latent_dim = self.data.latents.shape[1]
        self.settings = BaseSettings(
            unet=unet_settings(
                run.config.base.unet,
                side=run.config.planes.base_resolution,
                channels=run.config.planes.channels,
                latent_dim=latent_dim,
                upsampler=False,
            ),
            condition=ConditionSettings(dim=latent_dim, dropout=run.config.base.latent_dropout),
            diffusion=diffusion_settings(run.config.base.diffusion),
        )

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with the statistics of its planes and latents."""
        model = BaseModel(self.settings, generator)
        set_plane_statistics(model.statistics, self.data.statistics("base_planes"))
        model.condition.statistics.set_from(self.data.latents)
        return model

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Rows."""
        return draw_rows(generator, len(self.avatars), batch)

    def load(self, places: Places) -> Batch:
        """Planes and latents."""
        return {
            "planes": self.data.read(places, "base_planes"),
            "latents": self.data.latents[torch.from_numpy(places)],
        }

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The diffusion loss."""
        return training_loss(model, batch["planes"], batch["latents"], generator)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings."""
        save_diffusion(model, self.settings, folder)
        return {}
