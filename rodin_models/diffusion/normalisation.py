"""Standardised data for the diffusion models: each channel, or each texel, to mean 0 and standard deviation 1.

Noise schedules assume unit variance. Statistics are buffers of the models that use them, so they travel with the
weights, and models take and return data in its own units.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

MIN_STD = 1e-4
"""Floor of a standard deviation: a channel that never changes must not turn rounding into signal."""

DEVIATION_FLOOR = 0.1
"""Least deviation of a texel over the root mean square of its channel's: what hardly ever changes stays small."""


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
    """Statistics of each channel of a plane over avatars and texels; with a ``side``, of each texel over avatars."""

    def __init__(self, channels: int, side: int | None = None, planes: int = 3) -> None:
        super().__init__((planes, channels) if side is None else (planes, channels, side, side))
        self.by_texel = side is not None

    def normalise(
        self, planes: Float[Tensor, "batch plane channel row column"]
    ) -> Float[Tensor, "batch plane channel row column"]:
        """Planes in their own units to standardised planes."""
        return (planes - self._of_texels(self.mean)) / self._of_texels(self.std)

    def denormalise(
        self, planes: Float[Tensor, "batch plane channel row column"]
    ) -> Float[Tensor, "batch plane channel row column"]:
        """The inverse of :meth:`normalise`."""
        return planes * self._of_texels(self.std) + self._of_texels(self.mean)

    def _of_texels(self, statistic: Tensor) -> Tensor:
        return statistic if self.by_texel else statistic[..., None, None]


def floored(deviation: Float[Tensor, "plane channel side side"]) -> Float[Tensor, "plane channel side side"]:
    """Deviations of texels, none below :data:`DEVIATION_FLOOR` times the root mean square of its plane and channel."""
    overall = deviation.square().mean((-2, -1), keepdim=True).sqrt()
    return torch.maximum(deviation, DEVIATION_FLOOR * overall)


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
