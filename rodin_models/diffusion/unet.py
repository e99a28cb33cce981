"""The UNet over rolled-out tri-planes that the base diffusion and the upsampler share (Rodin, sections 3.2 and 3.3).

An ADM-shaped UNet: residual blocks with adaptive group normalisation, self-attention over the tokens of the
roll-out at chosen resolutions, strided convolutions down, nearest neighbour up. What is particular to tri-planes:
the first convolution of every residual block at chosen levels is 3D-aware, and a learned vector per plane is
added after the first convolution, because 3D-aware convolutions treat the planes alike and the network should
know which is which.

Not in the papers: with ``patch`` above 1 it works on squares of texels, a quarter of the positions at 2, so planes of
twice the side cost it hardly more. A position then has more channels than the network is wide, and what is noise in
them has no way through it; with ``bypass`` the noisy planes reach the output directly as well, each channel times a
gain that follows from the timestep and starts at zero.

The image latent reaches every block through the same embedding as the timestep. Left out: attention over text
tokens, since Rodin's latent is one global vector.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rodin_models.diffusion.conv3d_aware import Conv3DAware, roll_in, roll_out
from rodin_models.diffusion.unet_block import Downsample, ResidualBlock, ScalarEmbedding, Upsample, group_norm, zero
from rodin_models.seeding import draw_seed, initialised_from


@dataclass(frozen=True)
class UNetSettings:
    """Shape of a :class:`UNet`. The defaults are those of Rodin's base model on 64 x 64 x 32 planes.

    Raises ``ValueError`` for what cannot be built.
    """

    side: int = 64
    """Rows and columns of a plane."""
    planes: int = 3
    """Planes of an item; 1 where it is a picture, to which no 3D-aware level applies."""
    patch: int = 1
    """Texels a side that are one position of the highest resolution: their channels stand side by side there."""
    bypass: bool = False
    """Whether the noisy planes are added to the output, by a learned gain of each of its channels and the timestep."""
    in_channels: int = 32
    """Channels of the noisy planes."""
    out_channels: int = 32
    """Channels of the prediction."""
    extra_channels: int = 0
    """Channels of further planes concatenated to the noisy ones (the upsampler's low-resolution planes)."""
    width: int = 192
    """Width at the highest resolution."""
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    """Width of each level as a multiple of ``width``; each level halves the side."""
    blocks: int = 3
    """Residual blocks a level."""
    attention_sides: tuple[int, ...] = (32, 16, 8)
    """Sides of a plane at which blocks are followed by self-attention."""
    aware_levels: tuple[int, ...] = (0,)
    """Levels, 0 the highest resolution, whose blocks are 3D-aware."""
    head_channels: int = 64
    """Channels of an attention head; a narrower level has one head."""
    dropout: float = 0.1
    """Share of activations dropped in a residual block while training."""
    condition_dim: int = 512
    """Length of the latent; 0 for none."""
    has_level: bool = False
    """Whether the network is told a condition-augmentation level besides the timestep."""
    recompute: bool = False
    """Compute blocks again in the backward pass instead of keeping their activations."""

    def __post_init__(self) -> None:
        levels = range(len(self.multipliers))
        if self.patch < 1 or self.side % self.patch:
            raise ValueError(f"UNet side {self.side} is no multiple of patch {self.patch}")
        if self.positions % (1 << (len(self.multipliers) - 1)):
            raise ValueError(f"UNet side {self.positions} cannot be halved {len(self.multipliers) - 1} times")
        if self.width % 2:
            raise ValueError(f"UNet width {self.width} must be even")
        if self.bypass and self.in_channels != self.out_channels:
            raise ValueError(f"UNet bypass from {self.in_channels} channels to {self.out_channels}: must be equal")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"UNet dropout {self.dropout} must lie in [0, 1)")
        if not set(self.aware_levels) <= set(levels):
            raise ValueError(f"UNet aware_levels {self.aware_levels} must be among {tuple(levels)}")
        if self.planes < 1 or (self.aware_levels and self.planes != 3):
            raise ValueError(f"UNet of {self.planes} planes: 1 at least, and 3 where levels are 3D-aware")
        sides = tuple(self.positions >> level for level in levels)
        if not set(self.attention_sides) <= set(sides):
            raise ValueError(f"UNet attention_sides {self.attention_sides} must be among {sides}")

    @property
    def positions(self) -> int:
        """Rows and columns of positions at the highest resolution."""
        return self.side // self.patch


class DropoutSeeds:
    """A seed for each block of one forward pass, all following from the first."""

    def __init__(self, first: int) -> None:
        self._next = first

    def next(self) -> int:
        """The next block's seed."""
        self._next = (self._next + 1) % 2**63
        return self._next


class UNet(nn.Module):
    """Predicts planes from noisy planes, a timestep, and, where the settings say so, a latent, planes and a level."""

    def __init__(self, settings: UNetSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        with initialised_from(generator):
            self._build(settings)

    def _build(self, s: UNetSettings) -> None:
        widths = [s.width * multiplier for multiplier in s.multipliers]
        embedding_dim = 4 * s.width
        self.time = ScalarEmbedding(s.width, embedding_dim)
        self.level = ScalarEmbedding(s.width, embedding_dim) if s.has_level else None
        self.condition = nn.Linear(s.condition_dim, embedding_dim) if s.condition_dim else None

        def block(level: int, in_channels: int) -> ResidualBlock:
            return ResidualBlock(
                in_channels,
                widths[level],
                embedding_dim,
                dropout=s.dropout,
                aware=level in s.aware_levels,
                head_channels=s.head_channels if s.positions >> level in s.attention_sides else None,
            )

        inputs, width = (s.in_channels + s.extra_channels) * s.patch**2, widths[0]
        self.first = Conv3DAware(inputs, width) if 0 in s.aware_levels else nn.Conv2d(inputs, width, 3, padding=1)
        self.plane_embedding = nn.Parameter(torch.zeros(s.planes, width))

        self.down = nn.ModuleList()
        skips = [width]
        for level in range(len(widths)):
            if level:
                self.down.append(Downsample(width))
                skips.append(width)
            for _ in range(s.blocks):
                self.down.append(block(level, width))
                width = widths[level]
                skips.append(width)

        lowest = len(widths) - 1
        self.middle = nn.ModuleList([block(lowest, width), block(lowest, width)])

        self.up = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for _ in range(s.blocks + 1):
                self.up.append(block(level, width + skips.pop()))
                width = widths[level]
            if level:
                self.up.append(Upsample(width))

        self.last_norm = group_norm(width)
        self.last = zero(nn.Conv2d(width, s.out_channels * s.patch**2, 3, padding=1))
        self.bypass = zero(nn.Linear(embedding_dim, s.out_channels * s.patch**2)) if s.bypass else None

    def forward(
        self,
        planes: Float[Tensor, "batch plane channel side side"],
        timestep: Float[Tensor, "batch"],
        condition: Float[Tensor, "batch dim"] | None = None,
        extra: Float[Tensor, "batch plane extra side side"] | None = None,
        level: Float[Tensor, "batch"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch plane out side side"]:
        """One prediction.

        ``timestep`` and ``level`` lie in [0, 1]. In training mode, dropout needs ``generator``, which is advanced
        by one draw whatever the network's size.
        """
        s, embedding = self.settings, F.silu(self._embed(timestep, condition, level))
        seed = self._dropout_seed(generator)
        image = self.first(roll_out(folded(planes if extra is None else torch.cat((planes, extra), dim=2), s.patch)))
        image = image + self.plane_embedding.repeat_interleave(s.positions, dim=0).T[:, None]

        skips = [image]
        for layer in self.down:
            image = self._through(layer, image, embedding, seed)
            skips.append(image)
        for layer in self.middle:
            image = self._through(layer, image, embedding, seed)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                image = torch.cat((image, skips.pop()), dim=1)
            image = self._through(layer, image, embedding, seed)
        out: Tensor = roll_in(self.last(F.silu(self.last_norm(image))), s.planes)
        if self.bypass is not None:
            out = out + self.bypass(embedding)[:, None, :, None, None] * folded(planes, s.patch)
        return unfolded(out, s.patch)

    def _embed(
        self,
        timestep: Float[Tensor, "batch"],
        condition: Float[Tensor, "batch dim"] | None,
        level: Float[Tensor, "batch"] | None,
    ) -> Float[Tensor, "batch embedding"]:
        for name, layer, given in (("condition", self.condition, condition), ("level", self.level, level)):
            if (given is None) != (layer is None):
                raise ValueError(f"this UNet {'takes no' if layer is None else 'needs a'} {name}")
        embedding: Tensor = self.time(timestep)
        if self.level is not None:
            embedding = embedding + self.level(level)
        if self.condition is not None:
            embedding = embedding + self.condition(condition)
        return embedding

    def _dropout_seed(self, generator: torch.Generator | None) -> DropoutSeeds | None:
        if not self.training or self.settings.dropout == 0:
            return None
        if generator is None:
            raise ValueError("training a UNet with dropout needs a generator")
        return DropoutSeeds(draw_seed(generator))

    def _through(self, layer: nn.Module, image: Tensor, embedding: Tensor, seeds: DropoutSeeds | None) -> Tensor:
        out: Tensor
        if not isinstance(layer, ResidualBlock):
            out = layer(image)
        elif self.settings.recompute and torch.is_grad_enabled():
            # Dropout is given by its seed, so the second computation meets the same mask without saved RNG state.
            out = checkpoint(
                layer, image, embedding, seeds and seeds.next(), use_reentrant=False, preserve_rng_state=False
            )
        else:
            out = layer(image, embedding, seeds and seeds.next())
        return out


def folded(
    planes: Float[Tensor, "batch plane channel side side"], patch: int
) -> Float[Tensor, "batch plane inner positions positions"]:
    """Space to depth: the channels of each square of ``patch`` x ``patch`` texels side by side (Shi et al. 2016)."""
    pattern = "batch plane channel (row i) (column j) -> batch plane (channel i j) row column"
    return rearrange(planes, pattern, i=patch, j=patch)


def unfolded(
    planes: Float[Tensor, "batch plane inner positions positions"], patch: int
) -> Float[Tensor, "batch plane channel side side"]:
    """What :func:`folded` was given."""
    pattern = "batch plane (channel i j) row column -> batch plane channel (row i) (column j)"
    return rearrange(planes, pattern, i=patch, j=patch)
