"""The models of a folder, loaded for sampling, as far as they go together."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from pipeline.contracts.errors import ConfigError, DataError
from pipeline.run.model_folder import ModelFolder
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.latents import load_run_clip
from pipeline.stages.sampling.sampler import Sampler
from pipeline.stages.weights import build_model, model_tree, remedy
from rodin_models.diffusion import base, frontal, head, latent, upsampler
from rodin_models.diffusion.linear import LinearModel
from rodin_models.image.refiner import Refiner, RefinerSettings


def load_sampler(models: ModelFolder, device: torch.device) -> Sampler:
    """Load all models of a folder.

    Raises ``DataError`` naming one that is missing, damaged or of other planes or latents than the others,
    ``ConfigError`` for steps that a model cannot take.
    """
    clip, tokenizer = load_run_clip(models.layout, device)
    decoder, _ = load_decoder(models.layout, device)

    @cache
    def tree(name: str) -> dict[str, Any]:
        return model_tree(models, name)

    def load(name: str, kind: Any, make: Callable[[Any, torch.Generator], Any], weights: str = "model") -> Any:
        told = {"what": f"model {name} of {models.layout.root}", "remedy": remedy(models, name)}
        model = build_model(tree(name), kind, make, weights=weights, **told)
        return model.to(device).eval().requires_grad_(False)

    captions = tree("latent").get("captions")
    if captions is None and models.sampling.generate.caption_guidance:
        raise ConfigError(
            f"generate.caption_guidance is {models.sampling.generate.caption_guidance:g}, but the latent model of "
            f"{models.layout.root} kept no captions: {remedy(models, 'latent')}, or set it to 0"
        )
    draws_fronts = models.sampling.generate.frontal_steps > 0
    draws_heads = draws_fronts and models.sampling.generate.head_steps > 0
    of_base = tree("base")
    linear = of_base.get("linear")
    autoguided = models.sampling.generate.autoguidance != 1
    if autoguided and "early" not in of_base:
        raise ConfigError(
            f"generate.autoguidance is {models.sampling.generate.autoguidance}, but the base model of "
            f"{models.layout.root} has no early weights: train it with base.early_share above 0, or set it to 1"
        )
    sampler = Sampler(
        sampling=models.sampling,
        device=device,
        clip=clip,
        tokenizer=tokenizer,
        latent=load("latent", latent.LatentSettings, latent.LatentModel),
        captions=None if captions is None else captions.float().to(device),
        base=load("base", base.BaseSettings, base.BaseModel),
        early=load("base", base.BaseSettings, base.BaseModel, "early") if autoguided else None,
        linear=None if linear is None else LinearModel.from_tree(linear).to(device),
        upsampler=load("upsampler", upsampler.UpsamplerSettings, upsampler.UpsamplerModel),
        frontal=load("frontal", frontal.FrontalSettings, frontal.FrontalModel) if draws_fronts else None,
        head=load("head", head.HeadSettings, head.HeadModel) if draws_heads else None,
        refiner=load("refiner", RefinerSettings, Refiner),
        decoder=decoder,
    )
    _fits_together(sampler, models)
    for name in ("latent", "base", "upsampler", "frontal", "head"):
        model, steps = getattr(sampler, name), getattr(models.sampling.generate, f"{name}_steps")
        if model is not None and not model.diffusion.takes(steps):
            raise ConfigError(
                f"generate.{name}_steps {steps} must divide the {model.diffusion.settings.timesteps} steps of model "
                f"{name}"
            )
    return sampler


def _fits_together(sampler: Sampler, models: ModelFolder) -> None:
    """Raises ``DataError`` where a model is of other planes or latents than the decoder and the encoder."""
    planes, clip, front = models.sampling.planes, sampler.clip, sampler.frontal
    dim = clip.dim if clip.likeness is None else len(clip.likeness.spread)
    base_unet, unet = sampler.base.settings.unet, sampler.upsampler.settings.unet
    sizes = [
        ("decoder", "channels", sampler.decoder.settings.channels, planes.channels),
        ("base", "channels", base_unet.out_channels, planes.channels),
        ("base", "planes' side", base_unet.side, planes.base_resolution),
        ("upsampler", "channels", unet.out_channels, planes.channels),
        ("upsampler", "planes' side", unet.side, planes.resolution),
        ("upsampler", "base planes' side", sampler.upsampler.settings.low_side, planes.base_resolution),
        ("base", "latent's length", base_unet.condition_dim, dim),
        ("upsampler", "latent's length", unet.condition_dim, dim),
        ("latent", "latent's length", sampler.latent.settings.dim, dim),
        ("latent", "text latent's length", sampler.latent.settings.condition.dim, clip.dim),
        ("refiner", "latent's length", sampler.refiner.settings.latent_dim, dim),
    ]
    if front is not None:
        sizes.append(("frontal", "latent's length", front.settings.condition.dim, dim))
        if sampler.head is not None:
            sizes.append(("head", "pictures' side", sampler.head.settings.picture_side, front.settings.unet.side))
    for name, what, found, wanted in sizes:
        if found != wanted:
            raise DataError(
                f"model {name} of {models.layout.root} has {what} {found}, and {wanted} is what goes with the others: "
                "they are not of one run; " + remedy(models, name)
            )
