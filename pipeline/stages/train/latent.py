"""The latent diffusion: image latents, with the caption's latent as a condition that is dropped now and then."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.latents import load_latents
from pipeline.stages.train.plane_data import diffusion_settings, save_model
from pipeline.stages.train.recipe import NUM_LEVELS, Batch, Levels, Places, draw_rows, learnable, measured
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.latent import LatentModel, LatentSettings, training_loss
from rodin_models.diffusion.process import Diffusion


class LatentRecipe:
    """A batch is pairs of image and caption latents."""

    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        latents = load_latents(run.layout)
        known = set(latents.avatars)
        self.avatars = tuple(a for a in learnable(run.config, run.render_sources()) if a in known)
        self.held_out = measured(run.config, set(run.render_sources()) & known, "latent")
        mirror = run.config.train.mirror
        self.image, text = latents.to_learn(self.avatars, mirror=mirror), latents.text[latents.rows(self.avatars)]
        self.captions = text
        self.text = torch.cat((text, text)) if mirror else text
        strangers = latents.rows(self.held_out)
        self._all_image = torch.cat((self.image, latents.image[strangers]))
        self._all_text = torch.cat((self.text, latents.text[strangers]))
        section, dim = run.config.latent, self.image.shape[1]
        self.settings = LatentSettings(
            dim=dim,
            width=section.width,
            layers=section.layers,
            condition=ConditionSettings(dim=self.text.shape[1], dropout=section.text_dropout),
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

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The rows of the held-out avatars, after all that it learns from."""
        del generator
        return np.arange(len(self.image), len(self._all_image))

    def levels(self) -> Levels:
        """Of the noise process."""
        return Diffusion(self.settings.diffusion).levels(NUM_LEVELS)

    def load(self, places: Places) -> Batch:
        """Both latents."""
        rows = torch.from_numpy(places)
        return {"image": self._all_image[rows], "text": self._all_text[rows]}

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """The diffusion loss."""
        return training_loss(model, batch["image"], batch["text"], generator, time)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings, and the latents of the captions (avatar, text latent), for avatars from noise."""
        save_model(model, self.settings, folder, captions=self.captions)
        return {}
