"""The latent diffusion: image latents, with the caption's latent as a condition that is dropped now and then."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.latents import load_latents
from pipeline.stages.train.plane_data import diffusion_settings, save_model
from pipeline.stages.train.recipe import Batch, Places, draw_rows, learnable
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.latent import LatentModel, LatentSettings, training_loss


class LatentRecipe:
    """A batch is pairs of image and caption latents."""

    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        latents = load_latents(run.layout)
        known = set(latents.avatars)
        self.avatars = tuple(a for a in learnable(run.config, run.render_sources()) if a in known)
        rows = latents.rows(self.avatars)
        mirror = run.config.train.mirror
        self.image, text = latents.to_learn(self.avatars, mirror=mirror), latents.text[rows]
        self.text = torch.cat((text, text)) if mirror else text
        section, dim = run.config.latent, self.image.shape[1]
        self.settings = LatentSettings(
            dim=dim,
            width=section.width,
            layers=section.layers,
            condition=ConditionSettings(dim=dim, dropout=section.text_dropout),
            diffusion=diffusion_settings(section.diffusion),
        )

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with the statistics of both latents."""
        model = LatentModel(self.settings, generator)
        model.statistics.set_from(self.image)
        model.condition.statistics.set_from(self.text)
        return model

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Rows."""
        return draw_rows(generator, len(self.image), batch)

    def load(self, places: Places) -> Batch:
        """Both latents."""
        rows = torch.from_numpy(places)
        return {"image": self.image[rows], "text": self.text[rows]}

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The diffusion loss."""
        return training_loss(model, batch["image"], batch["text"], generator)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings."""
        save_model(model, self.settings, folder)
        return {}
