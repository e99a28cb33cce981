"""The head diffusion: the head of a frontal picture, drawn again pixel by pixel.

Most of a frontal picture is white or garment, and a network over all of it has little left for a face of 25 pixels. So
it is a cascade (Ho et al. 2021, "Cascaded diffusion models"): once the whole picture is drawn, the square around its
head is drawn again by a network of its own. It is shown the square made small, enlarged again and a little noised,
by a level that it is told (condition augmentation), which forgives what the first drawing gets wrong and leaves what is
finer to the second. As in :mod:`rodin_models.diffusion.frontal` that is the centre of what is diffused, each pixel in
units of how far it is off there. There is no other condition: whom a latent stands for is in the small square.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.checkpoint import unwrap
from rodin_models.diffusion.base import BaseModel, BaseSettings
from rodin_models.diffusion.base import sample as sample_planes
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.frontal import BLOCK, check_picture, picture_unet
from rodin_models.diffusion.process import Diffusion, DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings
from rodin_models.seeding import normal

SEAM = 8
"""The new square is faded in over this part of its side along each edge."""


def head_unet() -> UNetSettings:
    """A UNet over single pixels of a square of 64."""
    return replace(picture_unet(), side=64, patch=1, condition_dim=1)


@dataclass(frozen=True)
class HeadSettings:
    """The head model. Raises ``ValueError`` where its parts do not fit together."""

    picture_side: int = 128
    """Pixels a side of frontal pictures."""
    left: int = 32
    """Columns left of the square."""
    top: int = 19
    """Rows above it."""
    coarse_side: int = 32
    """Pixels a side to which the whole picture is made small for what is shown of it."""
    noise: float = 0.05
    """Deviation of the noise of the small picture at level 1; in training levels are drawn from [0, 1]."""
    unet: UNetSettings = field(default_factory=head_unet)
    """Over the standardised square beside what is shown; its ``condition_dim`` is 1, the level."""
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    """The noise process."""

    def __post_init__(self) -> None:
        unet = self.unet
        check_picture(unet)
        if not all(0 <= first <= self.picture_side - unet.side for first in (self.left, self.top)):
            raise ValueError(
                f"a square of {unet.side} pixels at column {self.left}, row {self.top} leaves the picture of "
                f"{self.picture_side}"
            )
        if not 0 < self.coarse_side < self.picture_side:
            raise ValueError(f"coarse_side {self.coarse_side} must lie in 1 .. {self.picture_side - 1}")
        if not self.noise > 0:
            raise ValueError(f"noise {self.noise} must be positive")
        self.of_plane()

    def of_plane(self) -> BaseSettings:
        """Those of the diffusion of a single plane that it is."""
        return BaseSettings(self.unet, ConditionSettings(dim=1, dropout=0.0), self.diffusion, linear=True)


class HeadModel(nn.Module):
    """The diffusion of the square."""

    def __init__(self, settings: HeadSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.plane = BaseModel(settings.of_plane(), generator)

    @property
    def diffusion(self) -> Diffusion:
        """The noise process."""
        return self.plane.diffusion

    def cut(self, pictures: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch 3 square square"]:
        """The square of frontal pictures. Raises ``ValueError`` for pictures of another side."""
        settings = self.settings
        if pictures.shape[-1] != settings.picture_side:
            raise ValueError(f"frontal pictures of {pictures.shape[-1]} pixels a side, not {settings.picture_side}")
        return pictures[..., settings.top :, settings.left :][..., : settings.unet.side, : settings.unet.side]

    def shown(
        self,
        pictures: Float[Tensor, "batch 3 side side"],
        level: Float[Tensor, "batch 1"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch 3 square square"]:
        """What the network is shown of pictures: their square made small, noised by ``level`` and enlarged."""
        small = F.interpolate(pictures, (self.settings.coarse_side,) * 2, mode="area")
        small = small + self.settings.noise * level[..., None, None] * normal(small, generator)
        return self.cut(F.interpolate(small, pictures.shape[-2:], mode="bicubic", align_corners=False))

    @torch.no_grad()
    def set_statistics(self, pictures: Float[Tensor, "row 3 side side"], generator: torch.Generator) -> None:
        """Take the mean square and, pixel by pixel, how far pictures are from what is shown of them."""
        squares = torch.zeros(self.cut(pictures[:1]).shape[1:], dtype=torch.float64)
        total = torch.zeros_like(squares)
        for block in pictures.split(BLOCK):
            whole = self.cut(block)
            rest = whole - self.shown(block, torch.rand((len(block), 1), generator=generator), generator)
            squares += rest.double().square().sum(0)
            total += whole.double().sum(0)
        self.plane.set_texel_statistics(
            (total / len(pictures)).float()[None], (squares / len(pictures)).sqrt().float()[None]
        )
        self.plane.condition.statistics.set(torch.full((1,), 0.5), torch.full((1,), 12**-0.5))

    def forward(
        self,
        noisy: Float[Tensor, "batch 1 3 square square"],
        time: Float[Tensor, "batch"],
        level: Float[Tensor, "batch 1"] | None,
        shown: Float[Tensor, "batch 3 square square"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch 1 3 square square"]:
        """As :meth:`rodin_models.diffusion.base.BaseModel.forward` around what is shown."""
        out: Tensor = self.plane(noisy, time, level, generator, shown[:, None])
        return out


def training_loss(
    model: nn.Module,
    pictures: Float[Tensor, "batch 3 side side"],
    generator: torch.Generator,
    time: float | None = None,
) -> dict[str, Tensor]:
    """One draw of the loss (``loss`` and ``error``) on frontal pictures in [0, 1] over white.

    At the noise of ``time`` where one is given. ``model`` is a :class:`HeadModel`, or one inside
    DistributedDataParallel.
    """
    head = unwrap(model, HeadModel)
    level = torch.rand((len(pictures), 1), generator=generator, device=generator.device).to(pictures)
    shown = head.shown(pictures, level, generator)
    return head.diffusion.loss(
        lambda noisy, at: model(noisy, at, level, shown, generator),
        head.plane.statistics.normalise(head.cut(pictures)[:, None]),
        generator,
        time,
    )


def sample(
    model: HeadModel,
    pictures: Float[Tensor, "batch 3 side side"],
    *,
    num_steps: int,
    level: float,
    generator: torch.Generator,
    noise: float = 1.0,
    on_step: Callable[[], None] = lambda: None,
) -> Float[Tensor, "batch 3 side side"]:
    """Frontal pictures in [0, 1] over white with their heads drawn again, from what is shown at ``level``.

    Steps add ``noise`` times their noise. Beyond the square nothing is changed.
    """
    settings = model.settings
    levels = torch.full((len(pictures), 1), level, device=pictures.device)
    drawn = sample_planes(
        model.plane,
        levels,
        num_samples=len(pictures),
        num_steps=num_steps,
        guidance=1.0,
        generator=generator,
        predicted=model.shown(pictures, levels, generator)[:, None],
        noise=noise,
        on_step=on_step,
    )[:, 0].clamp(0, 1)
    whole = pictures.clone()
    square, share = model.cut(whole), faded(settings.unet.side).to(pictures)
    square.copy_(share * drawn + (1 - share) * square)
    return whole


def faded(side: int) -> Float[Tensor, "side side"]:
    """How much of a new square counts at each pixel: 1 inside, falling linearly towards its edges."""
    along = torch.arange(side) + 1
    ramp = (torch.minimum(along, along.flip(0)) / max(1, side // SEAM)).clamp(max=1)
    return torch.minimum(ramp[:, None], ramp)
