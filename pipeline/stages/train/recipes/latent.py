"""The latent diffusion: image latents, with the caption's latent as a condition that is dropped now and then."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.latents import Latents, load_latents
from pipeline.stages.train.plane_data import diffusion_settings, save_model
from pipeline.stages.train.recipe import NUM_LEVELS, Batch, Levels, Places, draw_rows, learnable, measured
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.latent import LatentModel, LatentSettings, training_loss
from rodin_models.diffusion.process import Diffusion
from rodin_models.drawn import DrawnLatents, drawn_latents


class LatentRecipe:
    """A batch is pairs of the image latent of an avatar and the latent of its caption, or of a sentence about it."""

    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        latents = load_latents(run.layout)
        known = set(latents.avatars)
        self.avatars = tuple(a for a in learnable(run.config, run.render_sources()) if a in known)
        self.held_out = measured(run.config, set(run.render_sources()) & known, "latent")
        section, mirror = run.config.latent, run.config.train.mirror
        self.image = latents.to_learn(self.avatars, mirror=mirror)
        told = latents.told(self.avatars, section.sentences)
        self.captions = told[:, 0]
        self.text = torch.cat((told, told)) if mirror else told
        strangers = latents.rows(self.held_out)
        self._all_image = torch.cat((self.image, latents.image[strangers]))
        self._all_text = torch.cat((self.text, latents.told(self.held_out, section.sentences)))
        self.drawn, self.drawn_share = self._drawn(latents), section.drawn_share
        self.drawn_text = None if latents.drawn_people is None else latents.drawn_people.text
        self.settings = LatentSettings(
            dim=self.image.shape[1],
            width=section.width,
            layers=section.layers,
            condition=ConditionSettings(dim=self.text.shape[-1], dropout=section.text_dropout),
            diffusion=diffusion_settings(section.diffusion),
        )

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with the statistics of both latents."""
        model = LatentModel(self.settings, generator)
        model.statistics.set_from(self.image)
        model.condition.statistics.set_from(self.text.flatten(0, 1))
        return model

    def _drawn(self, latents: Latents) -> DrawnLatents | None:
        """What latents of drawn people are expected to be, where there are some."""
        people = latents.drawn_people
        if people is None:
            return None
        return drawn_latents(people.looks[latents.rows(self.avatars)], self.image, people.drawn, people.units)

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Rows, and which sentence of each, 0 for the caption.

        Drawn people are counted behind all avatars; the third number is whose difference from expectation they get.
        """
        drawn = 0 if self.drawn is None else round(self.drawn_share * batch)
        rows, sentences = draw_rows(generator, len(self.image), batch - drawn), self.text.shape[1]
        spoken = generator.integers(sentences, size=batch - drawn) if sentences > 1 else 0 * rows
        places = np.stack((rows, spoken, 0 * rows), 1)
        if self.drawn is None or self.drawn_text is None:
            return places
        counts = (*self.drawn_text.shape[:2], len(self.drawn.left))
        people = [generator.integers(count, size=drawn) for count in counts]
        return np.concatenate((places, np.stack((len(self._all_image) + people[0], *people[1:]), 1)))

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The rows of the held-out avatars, after all that it learns from, with a sentence of each in turn."""
        del generator
        rows = np.arange(len(self.image), len(self._all_image))
        return np.stack((rows, rows % self.text.shape[1], 0 * rows), 1)

    def levels(self) -> Levels:
        """Of the noise process."""
        return Diffusion(self.settings.diffusion).levels(NUM_LEVELS)

    def load(self, places: Places) -> Batch:
        """Both latents."""
        rows, sentences, others = torch.from_numpy(places).unbind(1)
        first = len(self._all_image)
        seen = rows < first
        image, text = self._all_image[rows[seen]], self._all_text[rows[seen], sentences[seen]]
        if self.drawn is not None and self.drawn_text is not None:
            people = rows[~seen] - first
            image = torch.cat((image, self.drawn.expected[people] + self.drawn.left[others[~seen]]))
            text = torch.cat((text, self.drawn_text[people, sentences[~seen]]))
        return {"image": image, "text": text}

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """The diffusion loss."""
        return training_loss(model, batch["image"], batch["text"], generator, time)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings, and the latents of the captions (avatar, text latent), for avatars from noise."""
        save_model(model, self.settings, folder, captions=self.captions)
        if self.drawn is None:
            return {}
        return {"drawn": f"looks explain {self.drawn.explained:.1%} of the variance of strangers' image latents"}
