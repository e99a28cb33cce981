"""Conditions: dropping them for classifier-free guidance, editing latents by text, augmenting low-resolution planes.

Guidance is Ho and Salimans 2022 (in Rodin the latent is dropped 20 % of the time). A text edit moves an
image latent along the difference of two text embeddings (as in Rodin). Condition augmentation is Ho et al.
2021, "Cascaded diffusion models": low-resolution planes are blurred and noised by a level that the
network is told, so that the upsampler forgives what the base model gets wrong.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rodin_models.diffusion.normalisation import LatentStatistics
from rodin_models.diffusion.process import Denoiser
from rodin_models.seeding import normal

ConditionalDenoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""As :data:`Denoiser` with a condition (batch, dim) or None, which means unconditional."""


@dataclass(frozen=True)
class ConditionSettings:
    """A vector that a model is conditioned on. Raises ``ValueError`` for values out of their range."""

    dim: int = 512
    """Length of the vector."""
    dropout: float = 0.2
    """Share of training samples that see the null instead."""

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"condition dim {self.dim} must be positive")
        if not 0.0 <= self.dropout <= 1.0:
            raise ValueError(f"condition dropout {self.dropout} must lie in [0, 1]")


class Condition(nn.Module):
    """Standardises a condition and, in training mode, drops it for some samples: they see a learned null."""

    def __init__(self, settings: ConditionSettings) -> None:
        super().__init__()
        self.settings = settings
        self.statistics = LatentStatistics(settings.dim)
        self.null = nn.Parameter(torch.zeros(settings.dim))

    def forward(
        self, condition: Float[Tensor, "batch dim"] | None, batch: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch dim"]:
        """What the network sees: the null for all if ``condition`` is None, and for dropped samples in training."""
        return self.embed(condition, self.shown(condition, batch, generator))

    def shown(
        self, condition: Float[Tensor, "batch dim"] | None, batch: int, generator: torch.Generator | None = None
    ) -> Bool[Tensor, "batch"]:
        """Which samples see their condition: none if it is None, all outside training mode."""
        if condition is None:
            return torch.zeros(batch, dtype=torch.bool, device=self.null.device)
        if not self.training:
            return torch.ones(batch, dtype=torch.bool, device=condition.device)
        if generator is None:
            raise ValueError("dropping conditions in training needs a generator")
        uniform = torch.rand(batch, generator=generator, device=generator.device)
        return (uniform >= self.settings.dropout).to(condition.device)

    def embed(
        self, condition: Float[Tensor, "batch dim"] | None, shown: Bool[Tensor, "batch"]
    ) -> Float[Tensor, "batch dim"]:
        """The standardised condition where it is shown, the null elsewhere."""
        null = self.null.expand(len(shown), -1)
        if condition is None:
            return null
        # `where` keeps the null in the graph of every batch, dropped or not, as distributed training needs.
        return torch.where(shown[:, None], self.statistics.normalise(condition), null)


def guide(
    conditional: Float[Tensor, "*shape"], unconditional: Float[Tensor, "*shape"], guidance: float
) -> Float[Tensor, "*shape"]:
    """Classifier-free guidance: 0 unconditional, 1 conditional, beyond that away from the unconditional.

    For eps, v and x_0 alike: each is affine in the others at a given x_t, and the weights sum to 1.
    """
    return unconditional + guidance * (conditional - unconditional)


def guided(predict: ConditionalDenoiser, condition: Float[Tensor, "batch dim"] | None, guidance: float) -> Denoiser:
    """A denoiser that follows ``condition`` by ``guidance``; one call of the network where one is enough."""

    def denoise(noisy: Tensor, time: Tensor) -> Tensor:
        if condition is None or guidance == 0:
            return predict(noisy, time, None)
        conditional = predict(noisy, time, condition)
        return conditional if guidance == 1 else guide(conditional, predict(noisy, time, None), guidance)

    return denoise


def autoguided(full: Denoiser, early: Denoiser, weight: float) -> Denoiser:
    """A denoiser that goes from an ``early`` state's prediction by ``weight`` towards the ``full`` one and beyond.

    Both are of the same condition, so no variety is lost to it; see :func:`guide` for why any prediction will do.
    """

    def denoise(noisy: Tensor, time: Tensor) -> Tensor:
        return full(noisy, time) if weight == 1 else guide(full(noisy, time), early(noisy, time), weight)

    return denoise


def edit_latent(
    latent: Float[Tensor, "batch dim"],
    text_source: Float[Tensor, "#batch dim"],
    text_edit: Float[Tensor, "#batch dim"],
    strength: float,
) -> Float[Tensor, "batch dim"]:
    """Move image latents along the direction from one text embedding to another; their length is kept.

    CLIP embeddings mean their direction, so all three are scaled to length 1, ``strength`` times the difference
    of the texts is added, and the sum gets the latent's length again. Strength 0 is the identity.
    """
    length: Tensor = latent.norm(dim=-1, keepdim=True)
    direction: Tensor = F.normalize(text_edit, dim=-1) - F.normalize(text_source, dim=-1)
    edited: Tensor = F.normalize(F.normalize(latent, dim=-1) + strength * direction, dim=-1)
    return length * edited


@dataclass(frozen=True)
class AugmentationSettings:
    """The strongest augmentation, at level 1; weaker ones are proportional. Raises ``ValueError`` for negative ones."""

    blur: float = 1.0
    """Standard deviation of the Gaussian blur in texels of the low-resolution planes."""
    noise: float = 0.3
    """Standard deviation of the added noise, in standardised units."""

    def __post_init__(self) -> None:
        if self.blur < 0 or self.noise < 0:
            raise ValueError(f"augmentation blur {self.blur} and noise {self.noise} must not be negative")


def augment(
    planes: Float[Tensor, "batch 3 channel side side"],
    level: Float[Tensor, "batch"],
    settings: AugmentationSettings,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 channel side side"]:
    """Standardised planes blurred and noised by each sample's ``level`` in [0, 1]; level 0 is the identity."""
    blurred = blur(planes, level * settings.blur, radius=math.ceil(3 * settings.blur))
    return blurred + (settings.noise * level).view(-1, 1, 1, 1, 1) * normal(planes, generator)


def blur(
    planes: Float[Tensor, "batch 3 channel side side"], sigma: Float[Tensor, "batch"], radius: int
) -> Float[Tensor, "batch 3 channel side side"]:
    """Gaussian blur of each sample by its own ``sigma`` in texels, cut off at ``radius``; edges are continued."""
    if radius == 0:
        return planes
    offsets = torch.arange(-radius, radius + 1, device=planes.device, dtype=planes.dtype)
    # Below a thousandth of a texel only the centre is left, which makes sigma 0 the identity.
    kernels = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernels = kernels / kernels.sum(1, keepdim=True)
    batch = planes.shape[0]
    maps = rearrange(planes, "batch plane channel row column -> (plane channel) batch row column")
    maps = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
    maps = F.conv2d(maps, kernels[:, None, None, :], groups=batch)
    maps = F.conv2d(maps, kernels[:, None, :, None], groups=batch)
    return rearrange(maps, "(plane channel) batch row column -> batch plane channel row column", plane=3)
