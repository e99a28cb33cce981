"""What a diffusion network is made of: embeddings of scalars, residual blocks with adaptive normalisation, attention.

The residual block is ADM's (Dhariwal and Nichol 2021): normalisation scaled and shifted by an embedding
of timestep and condition, the last convolution of each branch zero at the start, so that every block begins as
the identity. Dropout takes a seed, because PyTorch's draws from global state.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.diffusion.conv3d_aware import Conv3DAware


def sinusoidal_embedding(position: Float[Tensor, "batch"], dim: int) -> Float[Tensor, "batch dim"]:
    """Cosines and sines of ``position`` at ``dim / 2`` frequencies from 1 down to 1e-4 (Vaswani et al. 2017, 3.5)."""
    half = dim // 2
    exponents = torch.arange(half, device=position.device, dtype=torch.float32) / half
    angles = position.float()[:, None] * torch.exp(-math.log(1e4) * exponents)
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class ScalarEmbedding(nn.Module):
    """A number in [0, 1] for each sample, as a vector: sinusoids and two layers."""

    def __init__(self, num_frequencies: int, out_dim: int) -> None:
        super().__init__()
        self.dim = num_frequencies
        self.layers = nn.Sequential(nn.Linear(num_frequencies, out_dim), nn.SiLU(), nn.Linear(out_dim, out_dim))

    def forward(self, value: Float[Tensor, "batch"]) -> Float[Tensor, "batch embedding"]:
        """The vectors of ``value``; a step of 1/1000 turns the fastest sinusoid by one radian."""
        embedding: Tensor = self.layers(sinusoidal_embedding(1000 * value, self.dim).to(value.dtype))
        return embedding


def dropout(values: Float[Tensor, "*shape"], probability: float, seed: int | None) -> Float[Tensor, "*shape"]:
    """Inverted dropout by a mask that ``seed`` alone decides; no dropout without a seed."""
    if seed is None or probability == 0:
        return values
    generator = torch.Generator(device=values.device).manual_seed(seed)
    kept = torch.empty_like(values).bernoulli_(1 - probability, generator=generator)
    return values * kept.div_(1 - probability)


def group_norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    """Group normalisation by up to 32 groups of at least 4 channels."""
    groups = math.gcd(32, max(1, channels // 4))
    return nn.GroupNorm(groups if channels % groups == 0 else 1, channels, affine=affine)


def zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The same layer, its weight and bias set to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class SelfAttention(nn.Module):
    """Attention of every texel of the roll-out to every other, all planes together; residual, zero at the start.

    Raises ``ValueError`` where heads do not divide the channels.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.num_heads = max(1, channels // head_channels)
        if channels % self.num_heads:
            raise ValueError(f"{channels} channels cannot be divided among heads of {head_channels}")
        self.norm = group_norm(channels)
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = zero(nn.Linear(channels, channels))

    def forward(self, image: Float[Tensor, "batch channel row columns"]) -> Float[Tensor, "batch channel row columns"]:
        """The image with what its texels gathered added."""
        tokens = rearrange(self.norm(image), "b c row columns -> b (row columns) c")
        query, key, value = rearrange(
            self.project_in(tokens), "b token (kind head c) -> kind b head token c", kind=3, head=self.num_heads
        )
        gathered = rearrange(F.scaled_dot_product_attention(query, key, value), "b head token c -> b token (head c)")
        added: Tensor = self.project_out(gathered)
        return image + rearrange(added, "b (row columns) c -> b c row columns", row=image.shape[2])


class ResidualBlock(nn.Module):
    """Two convolutions on the roll-out, the first 3D-aware if asked, with self-attention after them if asked."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_dim: int,
        *,
        dropout: float,
        aware: bool,
        head_channels: int | None,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_in = group_norm(in_channels)
        self.conv_in = (
            Conv3DAware(in_channels, out_channels) if aware else nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.norm_out = group_norm(out_channels, affine=False)
        self.modulation = nn.Linear(embedding_dim, 2 * out_channels)
        self.conv_out = zero(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.attention = SelfAttention(out_channels, head_channels) if head_channels is not None else nn.Identity()

    def forward(
        self,
        image: Float[Tensor, "batch in row columns"],
        embedding: Float[Tensor, "batch embedding"],
        dropout_seed: int | None,
    ) -> Float[Tensor, "batch out row columns"]:
        """``embedding`` has been through its nonlinearity; nothing is dropped without a seed."""
        hidden = self.conv_in(F.silu(self.norm_in(image)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = F.silu(torch.addcmul(shift, self.norm_out(hidden), 1 + scale))
        hidden = self.conv_out(dropout(hidden, self.dropout, dropout_seed))
        attended: Tensor = self.attention(self.skip(image) + hidden)
        return attended


class Downsample(nn.Conv2d):
    """Half the resolution by a strided convolution; planes have an even side, so none straddles a seam."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Module):
    """Twice the resolution: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, image: Float[Tensor, "batch channel row columns"]
    ) -> Float[Tensor, "batch channel row2 columns2"]:
        """The image at twice the resolution."""
        enlarged: Tensor = self.conv(F.interpolate(image, scale_factor=2.0, mode="nearest"))
        return enlarged
