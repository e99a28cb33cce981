"""The frontal diffusion: small frontal pictures, conditioned on the image latents that were read from them."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.train.people_data import PeopleData
from pipeline.stages.train.plane_data import diffusion_settings, save_diffusion, unet_settings
from pipeline.stages.train.recipe import Batch, Places
from pipeline.stages.train.recipes.rows import RowDiffusion
from pipeline.stages.train.start import take_up
from pipeline.stages.views import read_samples, rgb_tensor
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.frontal import COLOURS, ExpectedPicture, FrontalModel, FrontalSettings, training_loss
from rodin_models.image.resize import at_side

CPU = torch.device("cpu")
FITTED_PEOPLE = 1024
"""Most people whom the regression to expected pictures is fitted to."""
KEPT_BYTES = 2**29
"""Of pictures that a worker keeps: the same ones come back in every epoch."""


class FrontalRecipe(RowDiffusion):
    """A batch is frontal pictures of different people, with their image latents."""

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
        self._pictures: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = Lock()

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with its regression and statistics."""
        model = FrontalModel(self.settings, generator)
        if not take_up(self.run.config, "frontal", model):
            people = min(len(self.avatars), FITTED_PEOPLE)
            rows = [row for row in range(self.data.rows) if row % len(self.avatars) < people]
            pictures, latents = torch.stack([self._picture(row) for row in rows]), self.data.latents_of(np.array(rows))
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
            "pictures": torch.stack([self._picture(int(row)) for row in places]),
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

    def _picture(self, row: int) -> Tensor:
        """The frontal picture of a row (3, side, side) over white, in [0, 1]."""
        avatar = self.data.avatar(row)
        with self._lock:
            if avatar not in self._pictures:
                side = self.run.config.frontal.side
                rgb = rgb_tensor(read_samples(self.run, avatar, ("frontal",))[0], CPU)
                self._pictures[avatar] = (at_side(rgb, side) * 255).round().byte()
                while len(self._pictures) > KEPT_BYTES // self._pictures[avatar].numel():
                    self._pictures.popitem(last=False)
            picture = self._pictures[avatar]
            self._pictures.move_to_end(avatar)
        picture = picture.float() / 255
        return picture.flip(-1) if self.data.is_mirrored(row) else picture
