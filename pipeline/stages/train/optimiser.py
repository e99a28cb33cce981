"""How weights are moved: the optimiser, its learning rate over the steps, and the clipping of gradients."""

import torch
from torch import nn

from pipeline.config.models import TrainingConfig
from rodin_models.image.discriminator import adversaries

GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm."""


def make_optimiser(settings: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over all weights."""
    return torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.99)
    )


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
