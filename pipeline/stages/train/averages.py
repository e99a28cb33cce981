"""Averages of weights of several lengths, of which one is chosen after the training by its held-out loss.

What :mod:`rodin_models.power_average` follows is kept now and then beside the checkpoints, so that a restart finds it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from pipeline.config.models import TrainingConfig
from pipeline.stages.train.held_out import HeldOut
from pipeline.stages.train.trace import Checkpoints
from rodin_models.power_average import FOLLOWED, PowerAverages, combination, combined

MOMENTS = 8
"""How often the followed averages are kept, in equal distances over the training."""


class Averages:
    """The averages of one training."""

    def __init__(self, model: nn.Module, settings: TrainingConfig, checkpoints: Checkpoints) -> None:
        self.model, self.settings = model, settings
        self.followed = PowerAverages(model)
        self._kept = replace(checkpoints, folder=checkpoints.folder / "averages", kept=MOMENTS + 1)

    def follow(self, step: int) -> None:
        """The model has taken its step number ``step``, counted from 1."""
        self.followed.update(self.model)
        if step % -(-self.settings.steps // MOMENTS) == 0:
            self._keep(step)

    def _keep(self, step: int) -> None:
        self._kept.save(step, {"averages": self.followed.state_dict()["averages"]})

    def end(self, step: int) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """Of each wanted length the averaged weights after the last step, with the model's buffers as they are."""
        self._keep(step)
        moments = [(state["step"], length) for state in self._kept.newest_first() for length in FOLLOWED]
        device = next(self.model.parameters()).device
        for length in self.settings.ema_lengths:
            # Read anew for each, one moment at a time.
            averages = (average for state in self._kept.newest_first() for average in state["averages"])
            weights = combined(zip(combination(moments, step, length), averages, strict=True))
            yield length, dict(self.model.state_dict()) | {name: w.to(device) for name, w in weights.items()}

    def lower(
        self, held_out: HeldOut, weights: Mapping[str, Tensor], measured: dict[str, float], step: int
    ) -> tuple[Mapping[str, Tensor], dict[str, float]]:
        """The average with the lowest held-out loss after the last step, or the given weights where none has less."""
        for length, candidate in self.end(step):
            values = held_out.measure(candidate)
            if values["held_out"] < measured["held_out"]:
                weights, measured = candidate, {"held_out_step": float(step), "ema_length": length, **values}
        return weights, measured

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs besides what is kept."""
        return self.followed.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.followed.load_state_dict(state)
