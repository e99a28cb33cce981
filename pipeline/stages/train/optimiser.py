"""How weights are moved: the optimiser, its learning rate over the steps, and the clipping of gradients."""

import re
from typing import Any

import torch
from torch import nn

from pipeline.config.models import TrainingConfig
from rodin_models.diffusion.conv3d_aware import Conv3DAware
from rodin_models.image.discriminator import adversaries
from rodin_models.muon import Muon

GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm."""


ENDS = re.compile(
    r"unet\.(first|last|bypass)|project_(in|out)|enter|leave|discriminator\..*"
    r"|network\.(visual|text)_projection|.*\.patch_embedding|picture|told\..*"
)
"""Layers of our models between data and features, which Muon is not for."""


class Optimiser:
    """AdamW over all weights, or Muon over the kernels inside of a network and AdamW over the rest."""

    def __init__(self, settings: TrainingConfig, model: nn.Module) -> None:
        self.settings = settings
        kernels = inner_kernels(model) if settings.optimiser == "muon" else []
        inner = {id(kernel) for kernel in kernels}
        others = [parameter for parameter in model.parameters() if id(parameter) not in inner]
        rate, decay = settings.learning_rate, settings.weight_decay
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=rate, weight_decay=decay, betas=(0.9, 0.99))
        ]
        if kernels:
            self._parts.append(Muon(kernels, rate, weight_decay=decay))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self, step: int) -> None:
        """Move the weights along their gradients at the learning rate of a step, counted from 0."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate(self.settings, step)
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs: AdamW's state, and Muon's beside it where there is one."""
        state = self._parts[0].state_dict()
        return {**state, "muon": self._parts[1].state_dict()} if len(self._parts) > 1 else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        state = dict(state)
        muon = state.pop("muon", None)
        self._parts[0].load_state_dict(state)
        if muon is not None:
            self._parts[1].load_state_dict(muon)


def inner_kernels(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear layers and convolutions, but for those of :data:`ENDS`."""
    kernels = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | Conv3DAware) and not ENDS.fullmatch(name):
            assert isinstance(module.weight, nn.Parameter)
            kernels.append(module.weight)
    return kernels


def learning_rate(settings: TrainingConfig, step: int) -> float:
    """Of a step, from 0 on: it rises over the first ``warmup_steps``, holds, and falls over the last ``decay_share``.

    Both linearly: the last of D falling steps has a rate of 1 / D.
    """
    rising = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    falling = min(1.0, (settings.steps - step) / max(1, round(settings.decay_share * settings.steps)))
    return settings.learning_rate * min(rising, falling)


def clip_gradients(model: nn.Module) -> bool:
    """Clip the gradient's norm, of a discriminator apart from what it judges; whether both are finite numbers."""
    norms = [nn.utils.clip_grad_norm_(side, GRADIENT_NORM) for side in adversaries(model)]
    return all(bool(torch.isfinite(norm)) for norm in norms)
