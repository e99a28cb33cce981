"""The loss on held-out avatars: how a model does on people from whom it has not learned.

It is measured on averaged weights in evaluation mode (no dropout, no dropped condition), on the same items at the same
noise every time, at fixed levels of noise where the model knows them. Its generators are its own and the model stays as
it is, so a training has the same bytes with and without it. A model that memorises is seen: the loss goes on falling,
this one turns. Which weights are kept, and when a training ends early, can be left to it.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.config.models import TrainingConfig
from pipeline.contracts.randomness import generator_for
from pipeline.stages.device import seeded
from pipeline.stages.train.recipe import Objective, Recipe
from pipeline.stages.train.trace import LossCurve
from pipeline.stages.work import WorkItem
from rodin_models.diffusion.process import evaluating

CPU = torch.device("cpu")


class HeldOut:
    """The held-out loss of one model, its curve, and the weights that had the lowest where they are to be kept."""

    def __init__(self, item: WorkItem, recipe: Recipe, model: nn.Module, device: torch.device) -> None:
        self.item, self.recipe, self.model, self.device = item, recipe, model, device
        self.curve = LossCurve()
        self.settings: TrainingConfig = getattr(item.config, item.stage)
        self._best: dict[str, Tensor] = {}
        places = recipe.draw_held_out(generator_for(item.config.seed, 0, f"{item.stage} held out"))
        # No part is smaller than a batch: what a loss compares within one is not compared with nothing.
        self._parts = np.array_split(places, max(1, len(places) // self.settings.batch))

    def follow(self, step: int, seconds: float, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure the weights after ``step`` steps, as another point of the curve."""
        values = self.measure(weights)
        self.curve.add(step, seconds, values)
        if self.settings.keep == "best" and self.since_best == 0:
            self._best = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        return values

    @property
    def since_best(self) -> int:
        """How many measurements ago the loss was lowest."""
        losses = [row[2] if math.isfinite(row[2]) else math.inf for row in self.curve.rows]
        return len(losses) - 1 - losses.index(min(losses))

    @property
    def is_over(self) -> bool:
        """Whether the loss has not gained for so many measurements that the training ends."""
        return 0 < self.settings.patience <= self.since_best

    def chosen(self, last: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], dict[str, float]]:
        """The weights to publish, the ``last`` or the best ones, with their step and loss."""
        best = self.settings.keep == "best"
        row = self.curve.rows[-1 - self.since_best if best else -1]
        measured = dict(zip(self.curve.names[2:], row[2:], strict=True))
        return self._best if best else last, {"held_out_step": row[0], **measured}

    def measure(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """``held_out``, the mean over all items by the training's noise, and ``held_out_<time>`` of each level."""
        objective = Objective(self.model, self.recipe)
        given = {f"model.{name}": weight for name, weight in weights.items()}
        levels = self.recipe.levels()
        times: list[float | None] = [time for time, _ in levels] or [None]
        sums = np.zeros(len(times))
        with evaluating(self.model):
            for number, part in enumerate(self._parts):
                batch = {name: value.to(self.device) for name, value in self.recipe.load(part).items()}
                for place, time in enumerate(times):
                    generator = seeded(self.item.config, number, f"{self.item.stage} held out", CPU)
                    losses = functional_call(objective, given, (batch, generator, time))
                    sums[place] += len(part) * float(losses["loss"])
        by_level = sums / sum(len(part) for part in self._parts)
        if not levels:
            return {"held_out": float(by_level[0])}
        mean = sum(share * value for (_, share), value in zip(levels, by_level, strict=True))
        named = {f"held_out_{time:.2f}": float(v) for (time, _), v in zip(levels, by_level, strict=True)}
        return {"held_out": float(mean), **named}

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs."""
        return {"names": self.curve.names, "rows": self.curve.rows, "best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.curve, self._best = LossCurve(state["names"], state["rows"]), state["best"]
