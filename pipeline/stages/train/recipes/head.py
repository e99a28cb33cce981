"""The head diffusion: the heads of small frontal pictures, under other light and framing at every step."""

from pathlib import Path
from typing import Final

import torch
from torch import nn

from pipeline.run.run import Run
from pipeline.stages.train.fronts import Fronts
from pipeline.stages.train.people_data import People
from pipeline.stages.train.plane_data import diffusion_settings, save_diffusion, unet_settings
from pipeline.stages.train.recipe import Batch, Places
from pipeline.stages.train.recipes.rows import RowDiffusion
from pipeline.stages.train.start import take_up
from rodin_models.diffusion.frontal import COLOURS
from rodin_models.diffusion.head import HeadModel, HeadSettings, training_loss
from rodin_models.image.augment import Augmentation, augment

MEASURED_PEOPLE: Final = 1024
"""Most people whose pictures statistics are taken from."""
OTHER_LIGHT: Final = Augmentation(
    zoom=0.0, exposure=0.3, white_balance=0.2, gamma=0.15, contrast=0.1, shift=0.05, scale=0.08, rotation_deg=3.5
)
"""How pictures are changed: what is shown of one changes with it, so that a few hundred people become many."""


class HeadRecipe(RowDiffusion):
    """A batch is frontal pictures of different people."""

    settings: HeadSettings
    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        self.run = run
        self.data = People(run, "head", run.render_sources())
        self.avatars, self.held_out = self.data.avatars, self.data.held_out
        section, picture_side = run.config.head, run.config.frontal.side
        left, top = run.config.head_corner()
        self.settings = HeadSettings(
            picture_side=picture_side,
            left=left,
            top=top,
            coarse_side=section.coarse_side,
            noise=section.noise,
            unet=unet_settings(
                section.unet, side=section.side, channels=COLOURS, latent_dim=1, extra=True, has_level=False, planes=1
            ),
            diffusion=diffusion_settings(section.diffusion),
        )
        self.fronts = Fronts(run, self.data, picture_side, alpha=True)

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with its statistics."""
        model = HeadModel(self.settings, generator)
        if not take_up(self.run.config, "head", model):
            rows = self.data.rows_of_first(MEASURED_PEOPLE)
            pictures = torch.stack([self.fronts.picture(row) for row in rows])
            model.set_statistics(under_other_light(pictures, generator), generator)
        return model

    def load(self, places: Places) -> Batch:
        """Pictures with their alpha."""
        return {"pictures": torch.stack([self.fronts.picture(int(row)) for row in places])}

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, torch.Tensor]:
        """The diffusion loss; what is measured is measured on pictures as they are."""
        pictures = batch["pictures"]
        seen = under_other_light(pictures, generator) if time is None else pictures[:, :COLOURS]
        return training_loss(model, seen, generator, time)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings."""
        save_diffusion(model, self.settings, folder)
        return {}


def under_other_light(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures with their alpha (row, 4, side, side) as it learns from them (row, 3, side, side)."""
    return augment(pictures[:, :COLOURS], generator, OTHER_LIGHT, pictures[:, COLOURS:]).rgb.clamp(0, 1)
