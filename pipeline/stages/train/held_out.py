"""The loss on held-out avatars: how a model does on people from whom it has not learned.

It is measured on averaged weights in evaluation mode (no dropout, no dropped condition), on the same items at the same
noise every time, at fixed levels of noise where the model knows them. Its generators are its own and the model stays as
it is, so a training has the same bytes with and without it. A model that memorises is seen: the loss goes on falling,
this one turns.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.config.models import TrainingConfig
from pipeline.contracts.randomness import generator_for
from pipeline.stages.device import seeded
from pipeline.stages.train.curve import LossCurve
from pipeline.stages.train.recipe import Objective, Recipe
from pipeline.stages.work import WorkItem
from rodin_models.diffusion.process import evaluating

CPU = torch.device("cpu")


class HeldOut:
    """The held-out loss of one model, and its curve."""

    def __init__(self, item: WorkItem, recipe: Recipe, model: nn.Module, device: torch.device) -> None:
        self.item, self.recipe, self.model, self.device = item, recipe, model, device
        self.curve = LossCurve()
        settings: TrainingConfig = getattr(item.config, item.stage)
        places = recipe.draw_held_out(generator_for(item.config.seed, 0, f"{item.stage} held out"))
        # No part is smaller than a batch: what a loss compares within one is not compared with nothing.
        self.parts = np.array_split(places, max(1, len(places) // settings.batch))

    def measure(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """``held_out``, the mean over all items by the training's noise, and ``held_out_<time>`` of each level."""
        objective = Objective(self.model, self.recipe)
        given = {f"model.{name}": weight for name, weight in weights.items()}
        levels = self.recipe.levels()
        times: list[float | None] = [time for time, _ in levels] or [None]
        sums = np.zeros(len(times))
        with evaluating(self.model):
            for number, part in enumerate(self.parts):
                batch = {name: value.to(self.device) for name, value in self.recipe.load(part).items()}
                for place, time in enumerate(times):
                    generator = seeded(self.item.config, number, f"{self.item.stage} held out", CPU)
                    losses = functional_call(objective, given, (batch, generator, time))
                    sums[place] += len(part) * float(losses["loss"])
        by_level = sums / sum(len(part) for part in self.parts)
        if not levels:
            return {"held_out": float(by_level[0])}
        mean = sum(share * value for (_, share), value in zip(levels, by_level, strict=True))
        named = {f"held_out_{time:.2f}": float(v) for (time, _), v in zip(levels, by_level, strict=True)}
        return {"held_out": float(mean), **named}
