"""How well planes show views that no fit has seen: what the benchmarks of fits print.

Planes are rendered alone, without the hull of their fit: what any reader of stored planes will see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rodin_models.field.decoder import Decoder
from rodin_models.field.triplane import downsample, resized
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.fit.hull import dilate_mask
from rodin_models.fit.views import Views

MARGIN = 2
"""Pixels by which a mask is widened before what lies outside counts as floating."""


@dataclass(frozen=True)
class Quality:
    """Means over views, PSNR over white."""

    whole_db: float
    """Over whole images."""
    foreground_db: float
    """Over pixels whose true alpha is above 0."""
    coverage: float
    """Share of such pixels."""
    floaters: float
    """Mean opacity of what is outside the widened masks."""


def measure(planes: torch.Tensor, decoder: Decoder, views: Views, samples: int) -> Quality:
    """Render every view at ``samples`` samples a ray and compare."""
    found = evaluate_views(planes, decoder, views, samples=samples)
    outside = [~dilate_mask(mask, MARGIN) for mask in views.masks()]
    floating = [float(alpha[out].double().mean()) for alpha, out in zip(found.alpha, outside, strict=True)]
    return Quality(mean(found.psnr_db), mean(found.psnr_foreground_db), mean(found.coverage), mean(floating))


def as_stored(planes: torch.Tensor) -> torch.Tensor:
    """Planes rounded as the plane store rounds them."""
    return planes.detach().to(torch.float16).float()


def through_side(planes: torch.Tensor, side: int) -> torch.Tensor:
    """Planes made smaller, stored, and made as large again as they were."""
    return resized(as_stored(downsample(planes, side)), planes.shape[-1])


def first_views(views: Views, count: int) -> Views:
    """At most so many; depth, which measuring does not read, is left out."""
    return Views(views.rgba[:count], views.cam2world[:count], views.intrinsics[:count])


def mean(values: Sequence[float]) -> float:
    """Mean."""
    return sum(values) / len(values)
