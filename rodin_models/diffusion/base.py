"""The base diffusion: low-resolution tri-planes from noise and an image latent (Rodin, section 3.2).

A UNet over rolled-out planes with 3D-aware convolutions, conditioned on one global latent that is dropped for a
share of the training samples, so that the same model is unconditional and can be guided. Planes go in and come
out in their own units; the model holds the statistics that standardise them.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.checkpoint import unwrap
from rodin_models.diffusion.conditioning import Condition, ConditionSettings, guided
from rodin_models.diffusion.normalisation import PlaneStatistics
from rodin_models.diffusion.process import Diffusion, DiffusionSettings, evaluating
from rodin_models.diffusion.unet import UNet, UNetSettings


@dataclass(frozen=True)
class BaseSettings:
    """The base model. The defaults are the paper's. Raises ``ValueError`` where they do not fit together."""

    unet: UNetSettings = field(default_factory=UNetSettings)
    """Over standardised planes; its ``condition_dim`` is the latent's length."""
    condition: ConditionSettings = field(default_factory=ConditionSettings)
    """The image latent."""
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    """The noise process."""

    def __post_init__(self) -> None:
        if self.unet.condition_dim != self.condition.dim:
            raise ValueError(
                f"the UNet's condition_dim {self.unet.condition_dim} is not the latent's {self.condition.dim}"
            )
        if self.unet.in_channels != self.unet.out_channels:
            raise ValueError(f"{self.unet.in_channels} channels in and {self.unet.out_channels} out: must be equal")
        if self.unet.extra_channels or self.unet.has_level:
            raise ValueError("the base model's UNet takes neither extra planes nor a level")


class BaseModel(nn.Module):
    """UNet, condition and statistics of the base diffusion."""

    def __init__(self, settings: BaseSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.diffusion = Diffusion(settings.diffusion)
        self.statistics = PlaneStatistics(settings.unet.in_channels)
        self.condition = Condition(settings.condition)
        self.unet = UNet(settings.unet, generator)

    def forward(
        self,
        noisy: Float[Tensor, "batch 3 channel side side"],
        time: Float[Tensor, "batch"],
        latents: Float[Tensor, "batch dim"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch 3 channel side side"]:
        """The prediction for standardised noisy planes; ``generator`` is needed in training mode."""
        condition = self.condition(latents, noisy.shape[0], generator)
        prediction: Tensor = self.unet(noisy, time, condition, generator=generator)
        return prediction


def training_loss(
    model: nn.Module,
    planes: Float[Tensor, "batch 3 channel side side"],
    latents: Float[Tensor, "batch dim"] | None,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """One draw of the loss (``loss``, and the unweighted ``error``) on planes in their own units.

    ``model`` is a :class:`BaseModel`, or one inside DistributedDataParallel.
    """
    base = unwrap(model, BaseModel)
    return base.diffusion.loss(
        lambda noisy, time: model(noisy, time, latents, generator), base.statistics.normalise(planes), generator
    )


def sample(
    model: BaseModel,
    latents: Float[Tensor, "batch dim"] | None,
    *,
    num_samples: int,
    num_steps: int,
    guidance: float,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 channel side side"]:
    """``num_samples`` planes in their own units, one for each latent, or unconditional ones.

    Raises ``ValueError`` where there are not as many latents.
    """
    if latents is not None and latents.shape[0] != num_samples:
        raise ValueError(f"{latents.shape[0]} latents for {num_samples} samples")
    unet = model.settings.unet
    with evaluating(model):
        planes = model.diffusion.sample(
            guided(model, latents, guidance),
            (num_samples, 3, unet.in_channels, unet.side, unet.side),
            num_steps,
            generator,
            model.statistics.mean.device,
        )
        return model.statistics.denormalise(planes)
