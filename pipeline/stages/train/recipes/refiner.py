"""The convolutional refiner: images rendered from planes, fitted or as soft as generated ones, beside photographs."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.run import RunConfig
from pipeline.contracts.randomness import generator_for
from pipeline.io.shards import Sample
from pipeline.run.run import Run
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.latents import load_run_clip
from pipeline.stages.picture import rgba
from pipeline.stages.train.plane_data import PlaneData, save_model
from pipeline.stages.train.recipe import Batch, Levels, Places, draw_rows
from pipeline.stages.views import read_one
from rodin_models.diffusion.upsampler import enlarge
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.render import planes_occupancy
from rodin_models.image.refiner import Refiner, RefinerSettings, training_loss
from rodin_models.image.resize import at_side

KEPT_IMAGES = 4096
"""Rendered images that a worker keeps: the same views come back."""
KEPT_OCCUPANCIES = 64


class RefinerRecipe:
    """A batch is pairs of (rendered from planes, photograph) of different avatars, with their latents."""

    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        self.run, self.device = run, device
        self.data = PlaneData(run, "refiner")
        self.avatars, self.held_out = self.data.avatars, self.data.held_out
        self.decoder, _ = load_decoder(run.layout, device)
        self.detail = self.data.detail()[0] if run.config.refiner.from_base else None
        """People's mean detail (3, channel, side, side), where pictures are rendered from base planes."""
        self.settings = refiner_settings(run.config, self.data.latents.shape[1])
        clip = load_run_clip(run.layout, device)[0] if self.settings.perceptual_weight else None
        # No submodule of the model: the feature network is frozen and not saved with it.
        self.features: Any = clip.requires_grad_(False).vision_maps if clip is not None else None
        self._images: OrderedDict[tuple[int, int], tuple[Tensor, Tensor]] = OrderedDict()
        self._occupancies: OrderedDict[int, tuple[Tensor, Occupancy]] = OrderedDict()
        self._lock = Lock()

    def build(self, generator: torch.Generator) -> nn.Module:
        """The network; before training it enlarges bicubically."""
        return Refiner(self.settings, generator)

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Rows and views; view 0 stands for the frontal one."""
        return self._places(draw_rows(generator, len(self.avatars), batch), generator)

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The rows of the held-out avatars, with a view of each."""
        return self._places(self.data.held_out_rows, generator)

    def levels(self) -> Levels:
        """None: it knows no noise process."""
        return ()

    def load(self, places: Places) -> Batch:
        """Rendered image, photograph, latent."""
        pairs = [self._pair(int(row), int(view)) for row, view in places]
        return {
            "rendered": torch.stack([pair[0] for pair in pairs]),
            "target": torch.stack([pair[1] for pair in pairs]),
            "latents": self.data.latents_of(places[:, 0]),
        }

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """L1, and on patches the perceptual distance and the discriminator's terms."""
        del time
        return training_loss(
            model,
            self.settings,
            batch["rendered"],
            batch["target"],
            batch["latents"],
            features=self.features,
            generator=generator,
        )

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings; the discriminator has done its work and is left out."""
        assert isinstance(model, Refiner)
        model.discriminator = None
        save_model(model, replace(self.settings, adversarial_weight=0.0), folder)
        return {}

    def _places(self, rows: Places, generator: np.random.Generator) -> Places:
        views = min(self.run.config.refiner.views_per_avatar, self.run.config.render.train_views)
        return np.stack((rows, generator.integers(views + 1, size=len(rows))), 1)

    def _pair(self, row: int, view: int) -> tuple[Tensor, Tensor]:
        with self._lock:
            if (row, view) in self._images:
                self._images.move_to_end((row, view))
                return self._images[row, view]
            render = self.run.config.render
            number = render.frontal_view if view == 0 else view - 1
            sample = read_one(self.run, self.data.avatar(row), number)
            pair = (self._render(row, number, sample).cpu(), self._photograph(sample))
            self._images[row, view] = pair
            while len(self._images) > KEPT_IMAGES:
                self._images.popitem(last=False)
            return pair

    def _render(self, row: int, number: int, sample: Sample) -> Tensor:
        soft = self._softened(row, number)
        with torch.no_grad():
            planes, occupancy = self._fitted(row) if soft is None else (soft, planes_occupancy(soft, self.decoder))
        side = self.run.config.refiner.input_side
        camera = sample.record.camera.resized(side, side)
        return rgba(planes, self.decoder, camera, occupancy, samples=self.run.config.refiner.samples)

    def _fitted(self, row: int) -> tuple[Tensor, Occupancy]:
        if row not in self._occupancies:
            planes = self.data.read([row], "planes")[0].to(self.device)
            self._occupancies[row] = (planes, planes_occupancy(planes, self.decoder))
            while len(self._occupancies) > KEPT_OCCUPANCIES:
                self._occupancies.popitem(last=False)
        return self._occupancies[row]

    def _softened(self, row: int, number: int) -> Tensor | None:
        """Planes that base planes make one expect, for the share of pictures that is rendered from such; else None.

        A function of row and view: the same picture comes back in every epoch.
        """
        section = self.run.config.refiner
        generator = generator_for(self.run.config.seed, row, f"refiner picture {number}")
        if generator.random() >= section.from_base:
            return None
        assert self.detail is not None
        low = self.data.read([row], "base_planes")
        if section.blend:
            other = self.data.read([int(generator.integers(self.data.rows))], "base_planes")
            low = torch.lerp(low, other, section.blend * generator.random())
        return (enlarge(low, self.detail.shape[-1])[0] + self.detail).to(self.device)

    def _photograph(self, sample: Sample) -> Tensor:
        side = self.run.config.refiner.input_side * self.settings.scale
        rgba = torch.from_numpy(sample.rgba.copy()).float().permute(2, 0, 1) / 255
        alpha = rgba[3:]
        image = torch.cat((rgba[:3] * alpha + 1 - alpha, alpha))
        return at_side(image.clamp(0, 1), side)


def refiner_settings(config: RunConfig, latent_dim: int) -> RefinerSettings:
    """The configuration as plain arguments."""
    section = config.refiner
    return RefinerSettings(
        scale=section.scale,
        width=section.width,
        multipliers=section.multipliers,
        blocks=section.blocks,
        latent_dim=latent_dim,
        perceptual_weight=section.perceptual_weight,
        adversarial_weight=section.adversarial_weight,
        patch=min(section.patch, section.input_side * section.scale),
    )
