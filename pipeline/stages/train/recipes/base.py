"""The base diffusion on the antialiased base planes, conditioned on the image latent."""

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.contracts.randomness import generator_for
from pipeline.run.run import Run
from pipeline.stages.device import seeded
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.picture import camera_rays
from pipeline.stages.train.plane_data import (
    PlaneData,
    diffusion_settings,
    save_diffusion,
    set_plane_statistics,
    unet_settings,
)
from pipeline.stages.train.recipe import Batch, Places
from pipeline.stages.train.recipes.rows import RowDiffusion
from pipeline.stages.train.start import given_linear
from pipeline.stages.views import read_one
from rodin_models.diffusion.base import BaseModel, BaseSettings, training_loss, weights_of_texels
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.linear import LinearFit, fit_linear
from rodin_models.field.render import planes_occupancy
from rodin_models.field.sensitivity import texel_sensitivity
from rodin_models.field.triplane import mirrored

CPU = torch.device("cpu")
SHOWN_AVATARS, SHOWN_VIEWS, SHOWN_SIDE = 32, 3, 48
"""Pictures that say how much each texel shows: of so many avatars, so many views of so many pixels a side."""


class BaseRecipe(RowDiffusion):
    """A batch is base planes of different avatars, with their image latents."""

    data: PlaneData
    settings: BaseSettings
    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        self.run, self.device = run, device
        self.texel_weight: Tensor | None = None
        self.data = PlaneData(run, "base")
        self.avatars, self.held_out = self.data.avatars, self.data.held_out
        latent_dim = self.data.latents.shape[1]
        self.settings = BaseSettings(
            unet=unet_settings(
                run.config.base.unet,
                side=run.config.planes.base_resolution,
                channels=run.config.planes.channels,
                latent_dim=latent_dim,
                extra=run.config.base.linear,
                has_level=False,
            ),
            condition=ConditionSettings(dim=latent_dim, dropout=run.config.base.latent_dropout),
            diffusion=diffusion_settings(run.config.base.diffusion),
            linear=run.config.base.linear,
        )
        self.linear: LinearFit | None = None
        if self.settings.linear:
            self.linear = given_linear(run.config, self.data.latents) or fit_linear(
                self.data.read_all("base_planes"),
                self.data.latents,
                run.config.base.components,
                mirrored=run.config.train.mirror,
            )

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with the statistics of its planes and latents."""
        model = BaseModel(self.settings, generator)
        if self.linear is not None:
            model.set_texel_statistics(self.linear.model.eigen.mean, self.linear.model.residual)
        else:
            set_plane_statistics(model.statistics, self.data.statistics("base_planes"))
        model.condition.statistics.set_from(self.data.latents)
        share = self.run.config.base.shown_share
        if share:
            self.texel_weight = weights_of_texels(model, self._sensitivity(), share).to(self.device)
        return model

    def load(self, places: Places) -> Batch:
        """Planes and latents, and the planes that the linear model would predict without having seen them."""
        batch = {"planes": self.data.read(places, "base_planes"), "latents": self.data.latents_of(places)}
        if self.linear is not None:
            batch["predicted"] = self._predicted(places, batch["latents"])
        return batch

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """The diffusion loss."""
        return training_loss(
            model, batch["planes"], batch["latents"], generator, batch.get("predicted"), time, self.texel_weight
        )

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings, and the linear model that it stands on."""
        if self.linear is None:
            save_diffusion(model, self.settings, folder)
            return {}
        save_diffusion(model, self.settings, folder, linear=self.linear.model.tree())
        eigen_planes = f"{self.linear.model.settings.components} eigen-planes"
        if not self.linear.ridge:
            return {"linear": f"{eigen_planes}, taken as they were"}
        return {
            "linear": f"{eigen_planes}, ridge {self.linear.ridge:.3g}, explains {self.linear.explained:.1%} of the "
            "variance of avatars that it has not seen"
        }

    def _sensitivity(self) -> Tensor:
        """Sensitivity of some pictures of some avatars to base texels (3, channel, side, side)."""
        config, rows = self.run.config, min(SHOWN_AVATARS, len(self.avatars))
        decoder, _ = load_decoder(self.run.layout, CPU)
        decoder.requires_grad_(False)
        total = torch.zeros((3, config.planes.channels, *2 * [config.planes.base_resolution]))
        for row in range(rows):
            planes = self.data.read([row], "base_planes")[0]
            occupancy = planes_occupancy(planes, decoder)
            views = generator_for(config.seed, row, "shown views").integers(config.render.train_views, size=SHOWN_VIEWS)
            for view in views:
                camera = read_one(self.run, self.avatars[row], int(view)).record.camera.resized(SHOWN_SIDE, SHOWN_SIDE)
                total += texel_sensitivity(
                    planes,
                    decoder,
                    camera_rays(camera, CPU),
                    occupancy,
                    side=config.planes.resolution,
                    samples=config.fit.samples,
                    draws=2,
                    generator=seeded(config, row, "shown signs", CPU),
                )
        return total + mirrored(total) if config.train.mirror else total

    def _predicted(self, places: Places, latents: Tensor) -> Tensor:
        """Of the avatars that it learned from, what it would have predicted had it not; held-out ones are new to it."""
        assert self.linear is not None
        learned = torch.from_numpy(places < self.data.rows)
        rows = torch.from_numpy(places).clamp(max=self.data.rows - 1)
        unseen = self.linear.model.eigen.planes(self.linear.unseen[rows])
        if learned.all():
            return unseen
        return torch.where(learned.view(-1, 1, 1, 1, 1), unseen, self.linear.model.predict(latents))
