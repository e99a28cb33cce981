"""The refiner: a rendered image to a larger and sharper one, by a 2D convolutional network.

The last step of Rodin (section 3.4, "convolutional refinement"), of the GFPGAN family (Wang et al. 2021): a U-Net
at the rendered resolution, modulated by the avatar's latent, then upsampling stages; what it predicts is added to
the bicubically enlarged input, so that it starts as plain bicubic enlargement. It sees one view at a time, hence
sharpens images at some cost of 3D consistency: report figures with and without it.

Images are (red, green, blue over white, alpha), all in [0, 1]; straight colour has no value where alpha is 0.

Left out: GFPGAN's pretrained face generator.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rodin_models.image.discriminator import PatchDiscriminator, adversarial_terms
from rodin_models.image.perceptual import FeatureMaps, perceptual_distance, random_patches
from rodin_models.seeding import initialised_from

_MAX_BLUR_PX = 1.5
_MAX_NOISE = 0.04
_MAX_SHRINK = 2.0


@dataclass(frozen=True)
class RefinerSettings:
    """Size and training of the refiner. Raises ``ValueError`` for what cannot be built."""

    scale: int = 2
    """Side of the output in sides of the input: a power of two."""
    width: int = 32
    """Channels at the input's resolution; halved with every doubling of the image, down to 16."""
    multipliers: tuple[int, ...] = (1, 2, 4)
    """Channels of each level of the U-Net in widths; each level halves the side."""
    blocks: int = 1
    """Residual blocks a level."""
    latent_dim: int = 64
    """Numbers in the latent."""
    latent_drop: float = 0.2
    """Share of training images that see no latent, so that it works without one."""
    alpha: bool = True
    """Whether images carry alpha as their fourth channel."""
    degradation: float = 0.5
    """Strength, 0 to 1, of the blur, shrinking and noise put on the input while training."""
    perceptual_weight: float = 0.0
    """Weight of the perceptual distance beside L1."""
    adversarial_weight: float = 0.0
    """Weight of the patch discriminator's judgement; at 0 there is no discriminator."""
    patch: int = 64
    """Side in pixels of the patches that the perceptual distance and the discriminator see."""

    def __post_init__(self) -> None:
        if self.scale < 1 or self.scale & (self.scale - 1):
            raise ValueError(f"refiner scale {self.scale} is no power of two")
        if self.width % 16:
            raise ValueError(f"refiner width {self.width} is no multiple of 16")
        if not self.multipliers:
            raise ValueError("refiner multipliers are empty: give at least one level")

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return 4 if self.alpha else 3


class Refiner(nn.Module):
    """See the module. Until it is trained, a refiner enlarges bicubically."""

    def __init__(self, settings: RefinerSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        with initialised_from(generator):
            self._build(settings)
        self.discriminator: PatchDiscriminator | None = None
        if settings.adversarial_weight > 0:
            self.discriminator = PatchDiscriminator(settings.channels, settings.width, generator)
        self.null_latent = nn.Parameter(torch.zeros(settings.latent_dim))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(_bias(self.leave))

    def _build(self, settings: RefinerSettings) -> None:
        embedding = 4 * settings.width
        widths = [settings.width * m for m in settings.multipliers]
        self.embed = nn.Sequential(nn.Linear(settings.latent_dim, embedding), nn.SiLU())
        self.enter = nn.Conv2d(settings.channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Level(w, w, settings.blocks, embedding) for w in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_Level(2 * w, w, settings.blocks, embedding) for w in widths[:-1])
        sizes = [widths[0], *(max(settings.width >> i, 16) for i in range(1, settings.scale.bit_length()))]
        self.enlarge = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.polish = nn.ModuleList(_Level(w, w, 1, embedding) for w in sizes[1:])
        self.leave = nn.Conv2d(sizes[-1], settings.channels, 3, padding=1)

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        latent: Float[Tensor, "b d"] | None = None,
        dropped: Bool[Tensor, "b"] | None = None,
    ) -> Float[Tensor, "b c H W"]:
        """The enlarged image, not clamped. Without a latent, or where it is ``dropped``, a learned one stands in.

        Height and width must be divisible by 2 for each level after the first. Raises ``ValueError`` for other sides.
        """
        factor = 2 ** (len(self.down) - 1)
        if image.shape[-1] % factor or image.shape[-2] % factor:
            raise ValueError(
                f"image of {image.shape[-2]} x {image.shape[-1]} pixels: sides must be multiples of {factor}"
            )
        null = self.null_latent.expand(len(image), -1)
        given = null if latent is None else latent
        if dropped is not None:
            given = torch.where(dropped[:, None], null, given)
        embedded = self.embed(given)
        x, skips = self.enter(image), []
        for level, shrink in zip(self.down, [*self.shrink, None], strict=True):
            x = level(x, embedded)
            if shrink is not None:
                skips.append(x)
                x = shrink(x)
        for level, grow, skip in reversed(list(zip(self.up, self.grow, skips, strict=True))):
            x = level(torch.cat((grow(_double(x)), skip), 1), embedded)
        for enlarge, polish in zip(self.enlarge, self.polish, strict=True):
            x = polish(enlarge(_double(x)), embedded)
        residual: Tensor = self.leave(F.silu(x))
        return enlarged(image, self.settings.scale) + residual


class _Level(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, embedding: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(channels_in if i == 0 else channels_out, channels_out, embedding) for i in range(blocks)
        )

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedded)
        return x


class _Block(nn.Module):
    """Two convolutions around a feature modulation (Perez et al. 2018), beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(8, channels_in)
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_out = nn.GroupNorm(8, channels_out)
        self.modulate = nn.Linear(embedding, 2 * channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        scale, shift = rearrange(self.modulate(embedded), "b (two c) -> two b c 1 1", two=2)
        y = self.norm_out(self.first(F.silu(self.norm_in(x)))) * (1 + scale) + shift
        result: Tensor = self.shortcut(x) + self.second(F.silu(y))
        return result


def training_loss(
    refiner: nn.Module,
    settings: RefinerSettings,
    rendered: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c H W"],
    latent: Float[Tensor, "b d"],
    *,
    features: FeatureMaps | None,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """``loss`` = L1 to the sharp ``target`` plus, on patches, the terms whose weight is above 0; each by its name.

    The input is degraded first. ``refiner`` is a :class:`Refiner`, perhaps wrapped for distributed training; its
    discriminator learns from the same loss. ``features`` must be given where ``perceptual_weight`` is above 0, and
    is not called elsewhere. Raises ``ValueError`` where they are missing.
    """
    dropped = torch.rand(len(latent), generator=generator) < settings.latent_drop
    # Images are made worse in their own precision: antialiasing and its like know no bfloat16.
    with torch.autocast(rendered.device.type, enabled=False):
        worse = degrade(rendered, settings.degradation, generator)
    refined = refiner(worse, latent, dropped.to(latent.device)).float()
    loss = (refined - target).abs().mean()
    parts = {"l1": loss.detach()}
    if settings.perceptual_weight > 0 or settings.adversarial_weight > 0:
        made, real = random_patches((refined, target), settings.patch, generator)
    if settings.perceptual_weight > 0:
        if features is None:
            raise ValueError("perceptual_weight is above 0 but no feature network was given")
        distance = perceptual_distance(features, made[:, :3], real[:, :3]).mean()
        loss, parts["perceptual"] = loss + settings.perceptual_weight * distance, distance.detach()
    if settings.adversarial_weight > 0:
        discriminator: Any = getattr(refiner, "module", refiner).discriminator
        maker, hinge = adversarial_terms(discriminator, made, real)
        loss = loss + settings.adversarial_weight * maker + hinge
        parts |= {"adversarial": maker.detach(), "discriminator": hinge.detach()}
    return {"loss": loss, **parts}


@torch.no_grad()
def refine(
    refiner: Refiner, image: Float[Tensor, "b c h w"], latent: Float[Tensor, "b d"] | None
) -> Float[Tensor, "b c H W"]:
    """The refined image, clamped to [0, 1]."""
    refined: Tensor = refiner(image, latent)
    return refined.clamp(0, 1)


def enlarged(image: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c H W"]:
    """Bicubic enlargement: what the refiner starts from, and what it has to beat."""
    if scale == 1:
        return image
    return F.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)


def degrade(image: Float[Tensor, "b c h w"], strength: float, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Blur, shrink and enlarge, add noise: rendered planes are softer and noisier than the renders in training.

    Each image draws its blur and its noise, the batch its shrinking. Strength 0 changes nothing.
    """
    if strength == 0:
        return image
    batch, _, height, width = image.shape
    draws = torch.rand(2, batch, 1, generator=generator).to(image)
    x = _blur(image, draws[0] * strength * _MAX_BLUR_PX)
    shrink = 1 + float(torch.rand((), generator=generator)) * strength * (_MAX_SHRINK - 1)
    small = F.interpolate(
        x, (round(height / shrink), round(width / shrink)), mode="bilinear", align_corners=False, antialias=True
    )
    x = F.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    noise = torch.randn(batch, 3, height, width, generator=generator).to(image)
    colour = x[:, :3] + noise * (draws[1] * strength * _MAX_NOISE).view(-1, 1, 1, 1)
    return torch.cat((colour, x[:, 3:]), 1).clamp(0, 1)


def _blur(image: Float[Tensor, "b c h w"], sigma_px: Float[Tensor, "b 1"]) -> Float[Tensor, "b c h w"]:
    """Separable Gaussian blur, one width an image, borders repeated."""
    batch, channels = image.shape[:2]
    radius = round(3 * _MAX_BLUR_PX)
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma_px.clamp(min=0.05) ** 2), -1).repeat_interleave(channels, 0)
    flat = F.pad(rearrange(image, "b c h w -> 1 (b c) h w"), (radius,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=batch * channels)
    return rearrange(flat, "1 (b c) h w -> b c h w", b=batch)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
