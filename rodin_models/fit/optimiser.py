"""Adam of planes and its learning rate over a fit, and what a checkpoint keeps of an Adam."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rodin_models.fit.settings import FitSettings


def plane_adam(table: Tensor, settings: FitSettings) -> torch.optim.Optimizer:
    """The optimiser of planes; it works on each number alone, so planes may be stacked."""
    return torch.optim.Adam([table], lr=settings.learning_rate, betas=(0.9, 0.99), eps=1e-15, fused=True)


def move_planes(
    table: Tensor, adam: torch.optim.Optimizer, grad: Tensor, settings: FitSettings, lr_share: float
) -> None:
    """One step of :func:`plane_adam` along a gradient; planes stay within their limit."""
    table.grad = grad
    adam.param_groups[0]["lr"] = settings.learning_rate * lr_share
    adam.step()
    table.grad = None
    with torch.no_grad():
        table.clamp_(-settings.limit, settings.limit)


def adam_state(adam: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Moments and step counts by parameter number; empty before the first step."""
    parameters = adam.param_groups[0]["params"]
    return {
        str(number): {name: tensor.clone() for name, tensor in adam.state[parameter].items()}
        for number, parameter in enumerate(parameters)
        if parameter in adam.state
    }


def load_adam_state(adam: torch.optim.Optimizer, state: Mapping[str, Mapping[str, Tensor]]) -> None:
    """The inverse of :func:`adam_state`."""
    adam.state.clear()
    for number, parameter in enumerate(adam.param_groups[0]["params"]):
        if str(number) in state:
            saved = state[str(number)].items()
            adam.state[parameter] = {name: tensor.to(parameter.device).clone() for name, tensor in saved}


def learning_rate_share(step: int, steps: int, end: float) -> float:
    """Cosine from 1 to ``end``."""
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
