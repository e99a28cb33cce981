"""Standardised data for the diffusion models: each channel to mean 0 and standard deviation 1.

Noise schedules assume unit variance. Statistics are buffers of the models that use them, so they travel with the
weights, and models take and return data in its own units.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

MIN_STD = 1e-4
"""Floor of a standard deviation: a channel that never changes must not turn rounding into signal."""


class Statistics(nn.Module):
    """Mean and standard deviation of every channel; 0 and 1 until set or loaded."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def set_from_sums(
        self, count: int, total: Float64[Tensor, "*shape"], total_of_squares: Float64[Tensor, "*shape"]
    ) -> None:
        """Take the statistics of ``count`` values a channel, from their sum and the sum of their squares.

        Float64, because the variance is a difference of large numbers. Raises ``ValueError`` where there are no values.
        """
        if count < 1:
            raise ValueError(f"statistics of {count} values")
        mean = total / count
        variance = (total_of_squares / count - mean.square()).clamp(min=0.0)
        self.set(mean, variance.sqrt())

    def set(self, mean: Float[Tensor, "*shape"], std: Float[Tensor, "*shape"]) -> None:
        """Take these statistics; a deviation below ``MIN_STD`` is raised to it."""
        if mean.shape != self.mean.shape or std.shape != self.mean.shape:
            raise ValueError(f"statistics of shape {tuple(mean.shape)}, not {tuple(self.mean.shape)}")
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=MIN_STD))


class PlaneStatistics(Statistics):
    """Statistics of each channel of each of the three planes, over avatars and texels."""

    def __init__(self, channels: int) -> None:
        super().__init__((3, channels))

    def normalise(
        self, planes: Float[Tensor, "batch 3 channel row column"]
    ) -> Float[Tensor, "batch 3 channel row column"]:
        """Planes in their own units to standardised planes."""
        return (planes - self.mean[..., None, None]) / self.std[..., None, None]

    def denormalise(
        self, planes: Float[Tensor, "batch 3 channel row column"]
    ) -> Float[Tensor, "batch 3 channel row column"]:
        """The inverse of :meth:`normalise`."""
        return planes * self.std[..., None, None] + self.mean[..., None, None]


class LatentStatistics(Statistics):
    """Statistics of each coordinate of a latent, over avatars."""

    def __init__(self, dim: int) -> None:
        super().__init__((dim,))

    def set_from(self, latents: Float[Tensor, "avatar dim"]) -> None:
        """Take the statistics of these latents."""
        values = latents.double()
        self.set_from_sums(values.shape[0], values.sum(0), values.square().sum(0))

    def normalise(self, latents: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Latents in their own units to standardised latents."""
        return (latents - self.mean) / self.std

    def denormalise(self, latents: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The inverse of :meth:`normalise`."""
        return latents * self.std + self.mean
