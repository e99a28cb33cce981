"""Latent diffusion: image latents from noise or from a text embedding.

Rodin generates from noise and from text by first generating the latent that its base model is conditioned on. A
latent is one vector, so the denoiser is a residual MLP whose layers are modulated by timestep and text (as DiT
modulates its blocks: Peebles and Xie 2023). The text is dropped for a share of the training samples and replaced by
a learned null, so one model serves both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.checkpoint import unwrap
from rodin_models.diffusion.conditioning import Condition, ConditionSettings, guided
from rodin_models.diffusion.normalisation import LatentStatistics
from rodin_models.diffusion.process import Diffusion, DiffusionSettings, evaluating
from rodin_models.diffusion.unet_block import ScalarEmbedding, zero
from rodin_models.seeding import initialised_from


@dataclass(frozen=True)
class LatentSettings:
    """The latent diffusion model. Raises ``ValueError`` for sizes that cannot be."""

    dim: int = 512
    """Length of the image latent."""
    width: int = 1024
    """Width of the residual stream."""
    layers: int = 8
    """Residual blocks."""
    condition: ConditionSettings = field(default_factory=ConditionSettings)
    """The text embedding."""
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    """The noise process."""

    def __post_init__(self) -> None:
        if min(self.dim, self.width, self.layers) < 1 or self.width % 2:
            raise ValueError(f"latent dim {self.dim}, width {self.width} (even), layers {self.layers} must be positive")


class LatentBlock(nn.Module):
    """x + gate * MLP(scale * norm(x) + shift), with scale, shift and gate from the embedding; identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = zero(nn.Linear(width, 3 * width))
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self, x: Float[Tensor, "batch width"], embedding: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch width"]:
        """``embedding`` has been through its nonlinearity."""
        scale, shift, gate = self.modulation(embedding).chunk(3, dim=1)
        out: Tensor = x + gate * self.layers(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift)
        return out


class LatentModel(nn.Module):
    """Denoiser, condition and statistics of the latent diffusion."""

    def __init__(self, settings: LatentSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.diffusion = Diffusion(settings.diffusion)
        self.statistics = LatentStatistics(settings.dim)
        self.condition = Condition(settings.condition)
        with initialised_from(generator):
            self.time = ScalarEmbedding(settings.width, settings.width)
            self.text = nn.Linear(settings.condition.dim, settings.width)
            self.project_in = nn.Linear(settings.dim, settings.width)
            self.blocks = nn.ModuleList([LatentBlock(settings.width) for _ in range(settings.layers)])
            self.project_out = zero(nn.Linear(settings.width, settings.dim))

    def forward(
        self,
        noisy: Float[Tensor, "batch latent"],
        time: Float[Tensor, "batch"],
        text: Float[Tensor, "batch text"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """The prediction for standardised noisy latents; ``generator`` is needed in training mode."""
        condition = self.condition(text, noisy.shape[0], generator)
        embedding = F.silu(self.time(time) + self.text(condition))
        x: Tensor = self.project_in(noisy)
        for block in self.blocks:
            x = block(x, embedding)
        prediction: Tensor = self.project_out(F.layer_norm(x, x.shape[-1:]))
        return prediction


def training_loss(
    model: nn.Module,
    latents: Float[Tensor, "batch latent"],
    text: Float[Tensor, "batch text"] | None,
    generator: torch.Generator,
    time: float | None = None,
) -> dict[str, Tensor]:
    """One draw of the loss (``loss``, and the unweighted ``error``) on latents in their own units.

    At the noise of ``time`` where one is given.
    ``model`` is a :class:`LatentModel`, or one inside DistributedDataParallel.
    """
    latent_model = unwrap(model, LatentModel)
    return latent_model.diffusion.loss(
        lambda noisy, at: model(noisy, at, text, generator),
        latent_model.statistics.normalise(latents),
        generator,
        time,
    )


def sample(
    model: LatentModel,
    text: Float[Tensor, "batch text"] | None,
    *,
    num_samples: int,
    num_steps: int,
    guidance: float,
    generator: torch.Generator,
    on_step: Callable[[], None] = lambda: None,
) -> Float[Tensor, "batch latent"]:
    """``num_samples`` latents in their own units, one for each text embedding, or unconditional ones.

    Raises ``ValueError`` where there are not as many text embeddings.
    """
    if text is not None and text.shape[0] != num_samples:
        raise ValueError(f"{text.shape[0]} text embeddings for {num_samples} samples")
    with evaluating(model):
        latents = model.diffusion.sample(
            guided(model, text, guidance),
            (num_samples, model.settings.dim),
            num_steps,
            generator,
            model.statistics.mean.device,
            on_step=on_step,
        )
        return model.statistics.denormalise(latents)
