"""The frontal diffusion: small frontal pictures, conditioned on the image latents that were read from them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.train.fronts import Fronts
from pipeline.stages.train.people_data import PeopleData
from pipeline.stages.train.plane_data import diffusion_settings, save_diffusion, unet_settings
from pipeline.stages.train.recipe import Batch, Places
from pipeline.stages.train.recipes.rows import RowDiffusion
from pipeline.stages.train.start import take_up
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.frontal import COLOURS, ExpectedPicture, FrontalModel, FrontalSettings, training_loss

FITTED_PEOPLE = 1024
"""Most people whom the regression to expected pictures is fitted to."""


class FrontalRecipe(RowDiffusion):
    """A batch is frontal pictures of different people, with their image latents."""

    data: PeopleData
    settings: FrontalSettings
    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        self.run = run
        self.data = PeopleData(run, "frontal", run.render_sources())
        self.avatars, self.held_out = self.data.avatars, self.data.held_out
        section, latent_dim = run.config.frontal, self.data.latents.shape[1]
        self.settings = FrontalSettings(
            unet=unet_settings(
                section.unet,
                side=section.side,
                channels=COLOURS,
                latent_dim=latent_dim,
                extra=True,
                has_level=False,
                planes=1,
            ),
            condition=ConditionSettings(dim=latent_dim, dropout=section.latent_dropout),
            diffusion=diffusion_settings(section.diffusion),
        )
        self.expected = ExpectedPicture(latent_dim, section.side)
        self.unseen: dict[int, Tensor] = {}
        """Of rows that the regression was fitted to, the small picture that all others make one expect."""
        self.note = "taken as it was"
        self.fronts = Fronts(run, self.data, section.side)

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with its regression and statistics."""
        model = FrontalModel(self.settings, generator)
        if not take_up(self.run.config, "frontal", model):
            people = min(len(self.avatars), FITTED_PEOPLE)
            rows = self.data.rows_of_first(people)
            pictures = torch.stack([self.fronts.picture(row) for row in rows])
            latents = self.data.latents_of(np.array(rows))
            unseen, explained = model.expected.fit(pictures, latents, people)
            model.set_statistics(pictures, unseen)
            model.plane.condition.statistics.set_from(self.data.latents)
            self.unseen = dict(zip(rows, unseen, strict=True))
            self.note = f"explains {explained:.1%} of the variance of strangers' small pictures"
        self.expected.load_state_dict(model.expected.state_dict())
        return model

    def load(self, places: Places) -> Batch:
        """Pictures and latents, and the pictures that are expected of them unseen."""
        return {
            "pictures": torch.stack([self.fronts.picture(int(row)) for row in places]),
            "latents": self.data.latents_of(places),
            "expected": torch.cat([self._expected(int(row)) for row in places]),
        }

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """The diffusion loss; what is measured is measured with latents as they are."""
        noise = self.run.config.frontal.latent_noise if time is None else 0.0
        return training_loss(model, batch["pictures"], batch["latents"], batch["expected"], generator, time, noise)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings."""
        save_diffusion(model, self.settings, folder)
        return {"expected": self.note}

    def _expected(self, row: int) -> Tensor:
        small = self.unseen.get(row)
        if small is not None:
            return self.expected.enlarged(small[None])
        return self.expected(self.data.latents_of(np.array([row])))
