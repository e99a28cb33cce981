"""The diffusion upsampler: high-resolution tri-planes from low-resolution ones (Rodin, section 3.3).

It predicts x_0 rather than noise, from the noisy high-resolution planes beside the low-resolution planes, bicubically
enlarged and degraded by condition augmentation. What the UNet returns is added to the enlarged planes, which is
still a prediction of x_0 and starts from bicubic interpolation. The loss is L2 on planes, plus image losses on what
a callable makes of the predicted planes: it renders patches and compares them, pixel by pixel and, where that is asked
for, in a frozen network's features; no renderer is known here.

Not in the paper: with ``residual``, what is diffused is what bicubic enlargement and people's mean detail leave over
(equation 10 of ``process``), each texel in units of how large that is. Everybody has eyes at nearly the same place.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.checkpoint import unwrap
from rodin_models.diffusion.conditioning import AugmentationSettings, Condition, ConditionSettings, augment, guided
from rodin_models.diffusion.normalisation import PlaneStatistics, floored
from rodin_models.diffusion.process import Diffusion, DiffusionSettings, evaluating
from rodin_models.diffusion.unet import UNet, UNetSettings

ImageLoss = Callable[[Tensor], dict[str, Tensor]]
"""Predicted planes (batch, 3, channel, side, side) in their own units to numbers, of ``image`` and ``perceptual``."""


def paper_unet() -> UNetSettings:
    """The UNet of RodinHD's upsampler, at Rodin's 256 x 256 x 32."""
    return UNetSettings(
        side=256,
        extra_channels=32,
        width=128,
        multipliers=(1, 2, 4),
        attention_sides=(),
        aware_levels=(0, 1),
        has_level=True,
    )


def paper_diffusion() -> DiffusionSettings:
    """RodinHD's upsampler: 100 steps, sigmoid schedule, predicting x_0."""
    return DiffusionSettings(timesteps=100, schedule="sigmoid", prediction="x0")


@dataclass(frozen=True)
class UpsamplerSettings:
    """The upsampler. The defaults are the papers'. Raises ``ValueError`` where they do not fit together."""

    low_side: int = 64
    """Rows and columns of the low-resolution planes."""
    unet: UNetSettings = field(default_factory=paper_unet)
    """Over standardised planes beside the enlarged ones."""
    condition: ConditionSettings = field(default_factory=ConditionSettings)
    """The image latent."""
    diffusion: DiffusionSettings = field(default_factory=paper_diffusion)
    """The noise process; it predicts x_0."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    """Of the low-resolution planes."""
    sample_level: float = 0.1
    """Augmentation level when sampling; in training it is drawn from [0, 1]."""
    image_weight: float = 1.0
    """Weight of the pixels' error in the image loss."""
    perceptual_weight: float = 0.0
    """Weight of the perceptual distance in it."""
    residual: bool = False
    """Whether the diffusion is one of what enlargement leaves over."""

    def __post_init__(self) -> None:
        channels = self.unet.in_channels
        if self.unet.extra_channels != channels or self.unet.out_channels != channels or not self.unet.has_level:
            raise ValueError("the upsampler's UNet needs has_level, and as many extra and out channels as in channels")
        if self.unet.condition_dim != self.condition.dim:
            raise ValueError(
                f"the UNet's condition_dim {self.unet.condition_dim} is not the latent's {self.condition.dim}"
            )
        if self.diffusion.prediction != "x0":
            raise ValueError(f"the upsampler predicts x0, not {self.diffusion.prediction}")
        if not 0 < self.low_side <= self.unet.side:
            raise ValueError(f"low_side {self.low_side} must lie in 1 .. {self.unet.side}")
        if not 0.0 <= self.sample_level <= 1.0:
            raise ValueError(f"sample_level {self.sample_level} must lie in [0, 1]")


def enlarge(planes: Float[Tensor, "batch 3 channel low low"], side: int) -> Float[Tensor, "batch 3 channel side side"]:
    """Bicubic interpolation of each plane, texel centres as everywhere (align_corners=False)."""
    maps = F.interpolate(planes.flatten(0, 1), size=(side, side), mode="bicubic", align_corners=False)
    return rearrange(maps, "(batch plane) channel row column -> batch plane channel row column", plane=3)


class UpsamplerModel(nn.Module):
    """UNet, condition and statistics of the upsampler."""

    def __init__(self, settings: UpsamplerSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.diffusion = Diffusion(settings.diffusion)
        channels, side = settings.unet.in_channels, settings.unet.side
        self.statistics = PlaneStatistics(channels)
        self.detail = PlaneStatistics(channels, side) if settings.residual else None
        self.condition = Condition(settings.condition)
        self.unet = UNet(settings.unet, generator)

    def set_detail(
        self, mean: Float[Tensor, "3 channel side side"], deviation: Float[Tensor, "3 channel side side"]
    ) -> None:
        """Take mean and deviation of what enlargement leaves over, in the planes' units; after ``statistics``."""
        if self.detail is None:
            raise ValueError("this upsampler diffuses whole planes, not what enlargement leaves over")
        self.detail.set(self.statistics.mean[..., None, None] + mean, floored(deviation))

    @property
    def diffused(self) -> PlaneStatistics:
        """What standardises the planes that are diffused."""
        return self.statistics if self.detail is None else self.detail

    def centre(
        self, enlarged: Float[Tensor, "batch 3 channel side side"]
    ) -> Float[Tensor, "batch 3 channel side side"]:
        """What enlarged planes, standardised by channel, make one expect: with a residual, they and the mean detail."""
        if self.detail is None:
            return enlarged
        return (self.statistics.denormalise(enlarged) - self.statistics.mean[..., None, None]) / self.detail.std

    def expected(self, low: Float[Tensor, "batch 3 channel low low"]) -> Float[Tensor, "batch 3 channel side side"]:
        """Full planes in their own units that base planes make one expect: enlarged, and the mean detail if known."""
        enlarged = enlarge(low, self.settings.unet.side)
        return enlarged if self.detail is None else enlarged + self.detail.mean - self.statistics.mean[..., None, None]

    def forward(
        self,
        noisy: Float[Tensor, "batch 3 channel side side"],
        time: Float[Tensor, "batch"],
        enlarged: Float[Tensor, "batch 3 channel side side"],
        level: Float[Tensor, "batch"],
        latents: Float[Tensor, "batch dim"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch 3 channel side side"]:
        """The predicted x_0, all planes standardised; ``generator`` is needed in training mode."""
        condition = self.condition(latents, noisy.shape[0], generator)

        def network(of: Tensor, at: Tensor) -> Tensor:
            change: Tensor = self.unet(of, at, condition, extra=enlarged, level=level, generator=generator)
            return change

        if self.detail is None:
            return enlarged + network(noisy, time)
        return self.diffusion.around(network, noisy, time, self.centre(enlarged))

    def prepare(
        self,
        low: Float[Tensor, "batch 3 channel low low"],
        level: Float[Tensor, "batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch 3 channel side side"]:
        """Low-resolution planes in their own units, standardised, augmented by ``level`` and enlarged.

        Raises ``ValueError`` for planes of another side.
        """
        if low.shape[-1] != self.settings.low_side:
            raise ValueError(f"low-resolution planes of side {low.shape[-1]}, not {self.settings.low_side}")
        augmented = augment(self.statistics.normalise(low), level, self.settings.augmentation, generator)
        return enlarge(augmented, self.settings.unet.side)


def training_loss(
    model: nn.Module,
    planes: Float[Tensor, "batch 3 channel side side"],
    low: Float[Tensor, "batch 3 channel low low"],
    latents: Float[Tensor, "batch dim"] | None,
    generator: torch.Generator,
    image_loss: ImageLoss | None = None,
    time: float | None = None,
) -> dict[str, Tensor]:
    """One draw of the loss on planes in their own units, at the noise of ``time`` where one is given.

    ``loss`` is what to minimise, ``error`` the mean squared error of the planes (standardised); the numbers of an image
    loss that is given are added by their weights, and told by their names. ``model`` is an :class:`UpsamplerModel`, or
    one inside DistributedDataParallel.
    """
    upsampler = unwrap(model, UpsamplerModel)
    level = torch.rand(planes.shape[0], generator=generator, device=generator.device).to(planes)
    enlarged = upsampler.prepare(low, level, generator)
    predictions: list[Tensor] = []

    def denoise(noisy: Tensor, at: Tensor) -> Tensor:
        predictions.append(model(noisy, at, enlarged, level, latents, generator))
        return predictions[0]

    losses = upsampler.diffusion.loss(denoise, upsampler.diffused.normalise(planes), generator, time)
    if image_loss is not None:
        # Planes are rendered in float32, whatever the network is computed in.
        with torch.autocast(planes.device.type, enabled=False):
            parts = image_loss(upsampler.diffused.denormalise(predictions[0].float()))
        weights = {"image": upsampler.settings.image_weight, "perceptual": upsampler.settings.perceptual_weight}
        for name, value in parts.items():
            losses["loss"] = losses["loss"] + weights[name] * value
            losses[name] = value.detach()
    return losses


def sample(
    model: UpsamplerModel,
    low: Float[Tensor, "batch 3 channel low low"],
    latents: Float[Tensor, "batch dim"] | None,
    *,
    num_steps: int,
    guidance: float,
    generator: torch.Generator,
    on_step: Callable[[], None] = lambda: None,
) -> Float[Tensor, "batch 3 channel side side"]:
    """High-resolution planes for low-resolution ones, both in their own units."""
    batch, side = low.shape[0], model.settings.unet.side
    level = torch.full((batch,), model.settings.sample_level, device=low.device)
    with evaluating(model):
        enlarged = model.prepare(low, level, generator)

        def predict(noisy: Tensor, time: Tensor, condition: Tensor | None) -> Tensor:
            prediction: Tensor = model(noisy, time, enlarged, level, condition)
            return prediction

        planes = model.diffusion.sample(
            guided(predict, latents, guidance),
            (batch, *low.shape[1:3], side, side),
            num_steps,
            generator,
            low.device,
            model.centre(enlarged) if model.settings.residual else None,
            on_step,
        )
        return model.diffused.denormalise(planes)
