"""The frontal diffusion: a frontal picture of whom an image latent stands for.

A latent says in a few numbers what somebody looks like: hair, skin, garment, outline. It says nothing of pupils and
lips, and planes drawn for it have none. A picture has few numbers beside three planes and needs no fit to learn from,
so the picture is drawn first, and planes are fitted to it as to a portrait (:mod:`rodin_models.diffusion.posterior`).

It is a diffusion in the way of SR3 (Saharia et al. 2021, "Image super-resolution via iterative refinement"): a ridge
regression from the latent gives the small picture that it makes one expect, which is enlarged, shown to the network as
further channels, and the centre of what is diffused (equation 10 of ``process``), each pixel in units of how far the
expected picture is off there: :class:`rodin_models.diffusion.base.BaseModel` over a single plane of three channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.checkpoint import unwrap
from rodin_models.diffusion.base import BaseModel, BaseSettings
from rodin_models.diffusion.base import sample as sample_planes
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.normalisation import LatentStatistics
from rodin_models.diffusion.process import Diffusion, DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings
from rodin_models.ridge import fit_ridge
from rodin_models.seeding import normal

SMALL = 32
"""Pixels a side of the expected pictures."""
COLOURS = 3
BLOCK = 64
"""Pictures that statistics look at at once."""


def picture_unet() -> UNetSettings:
    """A UNet over pictures of 128 pixels, in squares of 2 x 2."""
    return UNetSettings(
        side=128,
        planes=1,
        patch=2,
        bypass=True,
        in_channels=COLOURS,
        out_channels=COLOURS,
        extra_channels=COLOURS,
        width=48,
        multipliers=(1, 2, 3),
        blocks=1,
        attention_sides=(16,),
        aware_levels=(),
    )


def check_picture(unet: UNetSettings) -> None:
    """Raises ``ValueError`` for a UNet over anything but pictures."""
    if (unet.planes, unet.in_channels) != (1, COLOURS):
        raise ValueError(
            f"a picture is one plane of {COLOURS} channels, not {unet.planes} planes of {unet.in_channels}"
        )


@dataclass(frozen=True)
class FrontalSettings:
    """The frontal model. Raises ``ValueError`` where its parts do not fit together."""

    unet: UNetSettings = field(default_factory=picture_unet)
    """Over standardised pictures beside the expected ones."""
    condition: ConditionSettings = field(default_factory=ConditionSettings)
    """The image latent."""
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    """The noise process."""

    def __post_init__(self) -> None:
        unet = self.unet
        check_picture(unet)
        if unet.side % SMALL:
            raise ValueError(f"pictures of {unet.side} pixels are no multiple of the expected ones' {SMALL}")
        self.of_plane()

    def of_plane(self) -> BaseSettings:
        """Those of the diffusion of a single plane that it is."""
        return BaseSettings(self.unet, self.condition, self.diffusion, linear=True)


class ExpectedPicture(nn.Module):
    """The regression from image latents to the blurred pictures that they make one expect; zero until fitted."""

    average: Tensor
    weight: Tensor

    def __init__(self, latent_dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.latents = LatentStatistics(latent_dim)
        self.register_buffer("average", torch.zeros(COLOURS * SMALL**2))
        self.register_buffer("weight", torch.zeros((latent_dim, COLOURS * SMALL**2)))

    def forward(self, latents: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 3 side side"]:
        """The pictures, around [0, 1] over white."""
        return self.enlarged(self.average + self.latents.normalise(latents) @ self.weight)

    def enlarged(self, small: Float[Tensor, "batch values"]) -> Float[Tensor, "batch 3 side side"]:
        """Small pictures, their values in a row, at the model's side."""
        pictures = small.view(-1, COLOURS, SMALL, SMALL)
        return F.interpolate(pictures, (self.side, self.side), mode="bicubic", align_corners=False)

    @torch.no_grad()
    def fit(
        self, pictures: Float[Tensor, "row 3 side side"], latents: Float[Tensor, "row dim"], people: int
    ) -> tuple[Float[Tensor, "row values"], float]:
        """Take the regression from pictures in [0, 1] over white and their latents.

        Of each of ``people`` there are as many rows: row, row + people ... Returns the small picture that all other
        people make one expect of each row, for :meth:`enlarged`, and the share of the small pictures' variance that
        these explain.
        """
        small = F.interpolate(pictures, (SMALL, SMALL), mode="area").flatten(1)
        self.average.copy_(small.mean(0))
        self.latents.set_from(latents)
        found = fit_ridge(self.latents.normalise(latents).double(), (small - self.average).double(), people)
        self.weight.copy_(found.weight)
        return self.average + found.unseen.float(), found.explained


class FrontalModel(nn.Module):
    """The expected picture and the diffusion around it."""

    def __init__(self, settings: FrontalSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.expected = ExpectedPicture(settings.condition.dim, settings.unet.side)
        self.plane = BaseModel(settings.of_plane(), generator)

    @property
    def diffusion(self) -> Diffusion:
        """The noise process."""
        return self.plane.diffusion

    @torch.no_grad()
    def set_statistics(self, pictures: Float[Tensor, "row 3 side side"], small: Float[Tensor, "row values"]) -> None:
        """Take mean picture and, pixel by pixel, how far pictures are from what was expected of them (``small``)."""
        squares = torch.zeros(pictures.shape[1:], dtype=torch.float64)
        for first in range(0, len(pictures), BLOCK):
            rest = pictures[first : first + BLOCK] - self.expected.enlarged(small[first : first + BLOCK])
            squares += rest.double().square().sum(0)
        residual = (squares / len(pictures)).sqrt().float()
        self.plane.set_texel_statistics(pictures.mean(0)[None], residual[None])

    def forward(
        self,
        noisy: Float[Tensor, "batch 1 3 side side"],
        time: Float[Tensor, "batch"],
        latents: Float[Tensor, "batch dim"] | None,
        expected: Float[Tensor, "batch 3 side side"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch 1 3 side side"]:
        """As :meth:`rodin_models.diffusion.base.BaseModel.forward` around ``expected`` pictures."""
        predicted = None if expected is None else expected[:, None]
        out: Tensor = self.plane(noisy, time, latents, generator, predicted)
        return out


def training_loss(
    model: nn.Module,
    pictures: Float[Tensor, "batch 3 side side"],
    latents: Float[Tensor, "batch dim"],
    expected: Float[Tensor, "batch 3 side side"],
    generator: torch.Generator,
    time: float | None = None,
    latent_noise: float = 0.0,
) -> dict[str, Tensor]:
    """One draw of the loss (``loss`` and ``error``) on frontal pictures in [0, 1] over white.

    At the noise of ``time`` where one is given. Latents, and with them what they make one expect, are off by noise of
    up to ``latent_noise`` deviations, drawn for each: drawn latents are never quite somebody's (condition
    augmentation, Ho et al. 2021, "Cascaded diffusion models"). ``model`` is a :class:`FrontalModel`, or one inside
    DistributedDataParallel.
    """
    frontal = unwrap(model, FrontalModel)
    plane, regression = frontal.plane, frontal.expected
    if latent_noise:
        level = torch.rand((len(latents), 1), generator=generator, device=generator.device).to(latents)
        off = latent_noise * level * normal(latents, generator)
        latents = latents + off * regression.latents.std
        expected = expected + regression.enlarged(off @ regression.weight)
    return plane.diffusion.loss(
        lambda noisy, at: model(noisy, at, latents, expected, generator),
        plane.statistics.normalise(pictures[:, None]),
        generator,
        time,
    )


def sample(
    model: FrontalModel,
    latents: Float[Tensor, "batch dim"],
    *,
    num_steps: int,
    guidance: float,
    generator: torch.Generator,
    noise: float = 1.0,
    on_step: Callable[[], None] = lambda: None,
) -> Float[Tensor, "batch 3 side side"]:
    """Frontal pictures in [0, 1] over white, one for each latent; steps add ``noise`` times their noise."""
    pictures = sample_planes(
        model.plane,
        latents,
        num_samples=len(latents),
        num_steps=num_steps,
        guidance=guidance,
        generator=generator,
        predicted=model.expected(latents)[:, None],
        noise=noise,
        on_step=on_step,
    )
    return pictures[:, 0].clamp(0, 1)
