"""A run's models loaded for sampling: latents to planes, planes to images, images to refined ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.run import RunConfig
from pipeline.contracts.camera import Camera
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.run.run import Run
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.latents import load_run_clip
from pipeline.stages.train.refiner import render_rgba
from rodin_models.checkpoint import has_state, load_state, settings_from_dict
from rodin_models.diffusion import base, latent, upsampler
from rodin_models.diffusion.linear import LinearModel
from rodin_models.field.render import planes_occupancy
from rodin_models.image.refiner import Refiner, RefinerSettings, refine

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sampler:
    """Everything that generation needs, in evaluation mode on one device."""

    config: RunConfig
    device: torch.device
    clip: Any
    tokenizer: Any
    latent: latent.LatentModel
    base: base.BaseModel
    linear: LinearModel | None
    """What the base model stands on."""
    upsampler: upsampler.UpsamplerModel
    refiner: Refiner
    decoder: Any

    def latents(self, num: int, text: Tensor | None, generator: torch.Generator) -> Tensor:
        """``num`` image latents (num, latent) of unit length, from noise or from one text latent (1, latent)."""
        drawn = latent.sample(
            self.latent,
            None if text is None else text.expand(num, -1),
            num_samples=num,
            num_steps=self.config.generate.latent_steps,
            guidance=1.0 if text is None else self.config.generate.guidance,
            generator=generator,
        )
        return torch.nn.functional.normalize(drawn, dim=-1)

    def planes(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Full planes (num, 3, channel, side, side), float16 as they would be stored."""
        settings = self.config.generate
        low = base.sample(
            self.base,
            latents,
            num_samples=len(latents),
            num_steps=settings.base_steps,
            guidance=settings.guidance,
            generator=generator,
            predicted=None if self.linear is None else self.linear.predict(latents),
        )
        full = upsampler.sample(
            self.upsampler,
            low,
            latents,
            num_steps=settings.upsampler_steps,
            guidance=1.0,
            generator=generator,
        )
        return full.clamp(-1, 1).half()

    def images(
        self,
        planes: Tensor,
        latents: Tensor,
        cameras: tuple[Camera, ...],
        on_image: Callable[[], None] = lambda: None,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """One avatar from several cameras: rendered and refined, each uint8 (view, row, column, 4).

        ``planes`` (3, channel, side, side), ``latents`` (latent). Cameras are resized to ``generate.image_side``.
        """
        planes = planes.float()
        occupancy = planes_occupancy(planes, self.decoder)
        side = self.config.generate.image_side
        rendered, refined = [], []
        for camera in cameras:
            image = render_rgba(
                planes, self.decoder, camera.resized(side, side), occupancy, self.config.generate.samples
            )
            rendered.append(_to_bytes(image))
            refined.append(_to_bytes(refine(self.refiner, image[None], latents[None])[0]))
            on_image()
        return np.stack(rendered), np.stack(refined)


def load_sampler(run: Run, device: torch.device) -> Sampler:
    """Load all models of a run; raises ``DataError`` naming the one that is missing."""
    clip, tokenizer = load_run_clip(run.layout, device)
    decoder, _ = load_decoder(run.layout, device)

    def tree_of(name: str) -> dict[str, Any]:
        return _weights(run.layout.model(name) / "weights", name, run.layout)

    def load(name: str, kind: Any, make: Callable[[Any, torch.Generator], Any]) -> Any:
        tree = tree_of(name)
        model = make(settings_from_dict(kind, tree["settings"]), torch.Generator())
        model.load_state_dict(tree["model"])
        return model.to(device).eval().requires_grad_(False)

    linear = tree_of("base").get("linear")
    return Sampler(
        config=run.config,
        device=device,
        clip=clip,
        tokenizer=tokenizer,
        latent=load("latent", latent.LatentSettings, latent.LatentModel),
        base=load("base", base.BaseSettings, base.BaseModel),
        linear=None if linear is None else LinearModel.from_tree(linear).to(device),
        upsampler=load("upsampler", upsampler.UpsamplerSettings, upsampler.UpsamplerModel),
        refiner=load("refiner", RefinerSettings, Refiner),
        decoder=decoder,
    )


def _weights(folder: Path, name: str, layout: RunLayout) -> dict[str, Any]:
    if not has_state(folder):
        raise DataError(f"{folder} holds no weights; run rodin-pipe train --out {layout.root} {name} first")
    tree: dict[str, Any] = load_state(folder)
    return tree


def _to_bytes(image: Tensor) -> npt.NDArray[np.uint8]:
    """(4, row, column), colour over white and alpha in [0, 1], to (row, column, 4) with colour over white."""
    pixels: npt.NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return pixels
