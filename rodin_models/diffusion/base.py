"""The base diffusion: low-resolution tri-planes from noise and an image latent (Rodin, section 3.2).

A UNet over rolled-out planes with 3D-aware convolutions, conditioned on one global latent that is dropped for a
share of the training samples, so that the same model is unconditional and can be guided. Planes go in and come
out in their own units; the model holds the statistics that standardise them.

Not in the paper: with ``linear``, the model stands on a linear prediction of the planes from the same latent
(:mod:`rodin_models.diffusion.linear`). The prediction is shown to the network as further channels and is the centre of
what is diffused (equation 10 of ``process``), texels are standardised by what it leaves over, and where the latent is
dropped it is the mean planes. The last layer begins at zero, so an untrained network already draws the prediction.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rodin_models.checkpoint import unwrap
from rodin_models.diffusion.conditioning import Condition, ConditionalDenoiser, ConditionSettings, autoguided, guided
from rodin_models.diffusion.normalisation import PlaneStatistics, floored
from rodin_models.diffusion.process import Diffusion, DiffusionSettings, evaluating
from rodin_models.diffusion.unet import UNet, UNetSettings

MOST_SHOWN = 20.0
"""Greatest weight of a texel over the mean: a few texels of the outline would be most of the loss."""


@dataclass(frozen=True)
class BaseSettings:
    """The base model. The defaults are the paper's. Raises ``ValueError`` where they do not fit together."""

    unet: UNetSettings = field(default_factory=UNetSettings)
    """Over standardised planes; its ``condition_dim`` is the latent's length."""
    condition: ConditionSettings = field(default_factory=ConditionSettings)
    """The image latent."""
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    """The noise process."""
    linear: bool = False
    """Whether it stands on a linear prediction; the UNet then has as many extra channels as channels."""

    def __post_init__(self) -> None:
        if self.unet.condition_dim != self.condition.dim:
            raise ValueError(
                f"the UNet's condition_dim {self.unet.condition_dim} is not the latent's {self.condition.dim}"
            )
        if self.unet.in_channels != self.unet.out_channels:
            raise ValueError(f"{self.unet.in_channels} channels in and {self.unet.out_channels} out: must be equal")
        if self.unet.has_level:
            raise ValueError("the base model's UNet takes no level")
        if self.unet.extra_channels != (self.unet.in_channels if self.linear else 0):
            raise ValueError(
                f"{self.unet.extra_channels} extra channels: there are as many as channels with a linear prediction, "
                "and none without"
            )


class BaseModel(nn.Module):
    """UNet, condition and statistics of the base diffusion."""

    def __init__(self, settings: BaseSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.diffusion = Diffusion(settings.diffusion)
        unet = settings.unet
        self.statistics = PlaneStatistics(unet.in_channels, unet.side if settings.linear else None, unet.planes)
        self.condition = Condition(settings.condition)
        self.unet = UNet(unet, generator)

    def set_texel_statistics(
        self, mean: Float[Tensor, "plane channel side side"], residual: Float[Tensor, "plane channel side side"]
    ) -> None:
        """Take mean planes, and the deviation of what a linear prediction leaves over, with a floor."""
        self.statistics.set(mean, floored(residual))

    def forward(
        self,
        noisy: Float[Tensor, "batch plane channel side side"],
        time: Float[Tensor, "batch"],
        latents: Float[Tensor, "batch dim"] | None,
        generator: torch.Generator | None = None,
        predicted: Float[Tensor, "batch plane channel side side"] | None = None,
    ) -> Float[Tensor, "batch plane channel side side"]:
        """The prediction for standardised noisy planes; ``generator`` is needed in training mode.

        ``predicted`` are the planes, in their own units, of the linear prediction from ``latents``; with a model that
        stands on one they must be given where latents are, or ``ValueError`` is raised.
        """
        batch = noisy.shape[0]
        shown = self.condition.shown(latents, batch, generator)
        condition = self.condition.embed(latents, shown)
        if not self.settings.linear:
            prediction: Tensor = self.unet(noisy, time, condition, generator=generator)
            return prediction
        centre = self._centre(predicted, latents, shown, noisy)

        def network(residual: Tensor, at: Tensor) -> Tensor:
            out: Tensor = self.unet(residual, at, condition, extra=centre, generator=generator)
            return out

        return self.diffusion.around(network, noisy, time, centre)

    def _centre(
        self, predicted: Tensor | None, latents: Tensor | None, shown: Bool[Tensor, "batch"], like: Tensor
    ) -> Tensor:
        """The standardised linear prediction; the mean planes, which are 0, where there is no latent."""
        if latents is None:
            return torch.zeros_like(like)
        if predicted is None:
            raise ValueError("this base model needs the linear prediction that belongs to the latents")
        return self.statistics.normalise(predicted) * shown.view(-1, 1, 1, 1, 1)


def weights_of_texels(
    model: BaseModel, sensitivity: Float[Tensor, "plane channel side side"], share: float
) -> Float[Tensor, "plane channel side side"]:
    """Weights of mean 1 of the error of standardised texels: ``share`` by what the error does to pictures.

    ``sensitivity`` is that of pictures to texels in their own units (:mod:`rodin_models.field.sensitivity`).
    """
    std = model.statistics.std if model.statistics.by_texel else model.statistics.std[..., None, None]
    shown = sensitivity * std.square().to(sensitivity)
    shown = (shown / shown.mean().clamp(min=1e-12)).clamp(max=MOST_SHOWN)
    return 1 - share + share * shown / shown.mean().clamp(min=1e-12)


def training_loss(
    model: nn.Module,
    planes: Float[Tensor, "batch plane channel side side"],
    latents: Float[Tensor, "batch dim"] | None,
    generator: torch.Generator,
    predicted: Float[Tensor, "batch plane channel side side"] | None = None,
    time: float | None = None,
    texel_weight: Float[Tensor, "plane channel side side"] | None = None,
) -> dict[str, Tensor]:
    """One draw of the loss (``loss``, and the unweighted ``error``) on planes in their own units.

    At the noise of ``time`` where one is given; ``texel_weight`` weighs the squared error of standardised texels.
    ``model`` is a :class:`BaseModel`, or one inside DistributedDataParallel.
    """
    base = unwrap(model, BaseModel)
    return base.diffusion.loss(
        lambda noisy, at: model(noisy, at, latents, generator, predicted),
        base.statistics.normalise(planes),
        generator,
        time,
        texel_weight,
    )


def sample(
    model: BaseModel,
    latents: Float[Tensor, "batch dim"] | None,
    *,
    num_samples: int,
    num_steps: int,
    guidance: float,
    generator: torch.Generator,
    predicted: Float[Tensor, "batch plane channel side side"] | None = None,
    left_over: float = 1.0,
    early: BaseModel | None = None,
    autoguidance: float = 1.0,
    noise: float = 1.0,
    on_step: Callable[[], None] = lambda: None,
) -> Float[Tensor, "batch plane channel side side"]:
    """``num_samples`` planes in their own units, one for each latent, or unconditional ones.

    ``predicted`` as in :meth:`BaseModel.forward`; of how a sample differs from it the share ``left_over`` is kept.
    Away from what an ``early`` state of the model makes of the same condition leads ``autoguidance``, the weight g in
    early + g (full - early) (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself"). ``noise``
    as in :meth:`rodin_models.diffusion.process.Diffusion.sample`. Raises ``ValueError`` where there are not as many
    latents.
    """
    if latents is not None and latents.shape[0] != num_samples:
        raise ValueError(f"{latents.shape[0]} latents for {num_samples} samples")
    unet = model.settings.unet

    def predict(by: BaseModel) -> ConditionalDenoiser:
        return lambda noisy, time, condition: by(noisy, time, condition, predicted=predicted)

    denoise = guided(predict(model), latents, guidance)
    if early is not None:
        denoise = autoguided(denoise, guided(predict(early.eval()), latents, 1.0), autoguidance)
    centre = None if predicted is None else model.statistics.normalise(predicted)
    with evaluating(model):
        planes = model.diffusion.sample(
            denoise,
            (num_samples, unet.planes, unet.in_channels, unet.side, unet.side),
            num_steps,
            generator,
            model.statistics.mean.device,
            centre,
            on_step,
            noise=noise,
        )
        if centre is not None:
            planes = centre + left_over * (planes - centre)
        return model.statistics.denormalise(planes)
