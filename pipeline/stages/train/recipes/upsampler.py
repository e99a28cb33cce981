"""The diffusion upsampler: base planes to full planes, with an image loss on rendered patches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.run.run import Run
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.latents import load_run_clip
from pipeline.stages.train.plane_data import (
    PlaneData,
    diffusion_settings,
    save_diffusion,
    set_plane_statistics,
    unet_settings,
)
from pipeline.stages.train.recipe import NUM_LEVELS, Batch, Levels, Places, draw_rows
from pipeline.stages.views import intrinsics, read_one, rgb_tensor
from rodin_models.diffusion.conditioning import AugmentationSettings, ConditionSettings
from rodin_models.diffusion.process import Diffusion
from rodin_models.diffusion.upsampler import UpsamplerModel, UpsamplerSettings, training_loss
from rodin_models.field.rays import pixel_rays
from rodin_models.field.render import planes_occupancy, render_rays
from rodin_models.image.perceptual import perceptual_distance

CPU = torch.device("cpu")
DRAWS = 2**31
"""A patch's place is drawn as two integers below this."""
HULL_CELLS = 32
"""Cells a side of the grid that says where the true planes hold matter."""


class UpsamplerRecipe:
    """A batch is full and base planes of different avatars, and of each a patch of one training view."""

    trains = True

    def __init__(self, run: Run, device: torch.device) -> None:
        self.run = run
        self.data = PlaneData(run, "upsampler")
        self.avatars, self.held_out = self.data.avatars, self.data.held_out
        self.decoder, _ = load_decoder(run.layout, device)
        section, latent_dim = run.config.upsampler, self.data.latents.shape[1]
        self.settings = UpsamplerSettings(
            low_side=run.config.planes.base_resolution,
            unet=unet_settings(
                section.unet,
                side=run.config.planes.resolution,
                channels=run.config.planes.channels,
                latent_dim=latent_dim,
                extra=True,
                has_level=True,
            ),
            condition=ConditionSettings(dim=latent_dim, dropout=section.latent_dropout),
            diffusion=diffusion_settings(section.diffusion),
            augmentation=AugmentationSettings(blur=section.augment_blur, noise=section.augment_noise),
            image_weight=section.image_weight,
            perceptual_weight=section.perceptual_weight,
            residual=section.residual,
        )
        self.has_patches = section.image_weight > 0 or section.perceptual_weight > 0
        clip = load_run_clip(run.layout, device)[0] if section.perceptual_weight else None
        # No submodule of the model: the feature network is frozen and not saved with it.
        self.features: Any = clip.requires_grad_(False).vision_maps if clip is not None else None

    def build(self, generator: torch.Generator) -> nn.Module:
        """The model with the statistics of the full planes and the latents."""
        model = UpsamplerModel(self.settings, generator)
        set_plane_statistics(model.statistics, self.data.statistics("planes"))
        if self.settings.residual:
            model.set_detail(*self.data.detail())
        model.condition.statistics.set_from(self.data.latents)
        return model

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Row, training view, and two draws for the place of the patch."""
        return self._places(draw_rows(generator, self.data.rows, batch), generator)

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The rows of the held-out avatars, with a view and a patch of each."""
        return self._places(self.data.held_out_rows, generator)

    def levels(self) -> Levels:
        """Of the noise process."""
        return Diffusion(self.settings.diffusion).levels(NUM_LEVELS)

    def load(self, places: Places) -> Batch:
        """Planes, latents, and the patches with their cameras."""
        rows = places[:, 0]
        batch = {
            "planes": self.data.read(rows, "planes"),
            "low": self.data.read(rows, "base_planes"),
            "latents": self.data.latents_of(rows),
        }
        if not self.has_patches:
            return batch
        patches = [self._patch(*(int(number) for number in place)) for place in places]
        return batch | {name: torch.stack([patch[name] for patch in patches]) for name in patches[0]}

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """The diffusion loss on planes and, where they have weight, the errors of the patches."""
        image_loss = self._image_loss(batch) if self.has_patches else None
        return training_loss(model, batch["planes"], batch["low"], batch["latents"], generator, image_loss, time)

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights and settings."""
        save_diffusion(model, self.settings, folder)
        return {}

    def _places(self, rows: Places, generator: np.random.Generator) -> Places:
        views = generator.integers(self.run.config.render.train_views, size=len(rows))
        return np.concatenate((np.stack((rows, views), 1), generator.integers(DRAWS, size=(len(rows), 2))), 1)

    def _patch(self, row: int, view: int, *draws: int) -> Batch:
        """A patch of a training view, around a pixel that shows the avatar; of its mirror image for a mirrored row."""
        sample = read_one(self.run, self.data.avatar(row), view)
        camera = sample.record.camera
        picture, pose, (fx, fy, cx, cy) = rgb_tensor(sample, CPU), camera.matrix(), intrinsics(camera)
        mask = sample.rgba[..., 3] > 0
        if self.data.is_mirrored(row):
            reflect = np.diag((-1.0, 1.0, 1.0, 1.0))
            picture, mask, pose, cx = picture.flip(-1), mask[:, ::-1], reflect @ pose @ reflect, camera.width - cx
        side = min(self.run.config.upsampler.patch, camera.width, camera.height)
        seen = np.argwhere(mask)
        middle = seen[draws[0] * len(seen) // DRAWS] if len(seen) else np.array((camera.height, camera.width)) // 2
        top, left = (int(np.clip(m - side // 2, 0, size - side)) for m, size in zip(middle, mask.shape, strict=True))
        return {
            "patch": picture[:, top : top + side, left : left + side],
            "cam2world": torch.from_numpy(pose).float(),
            "intrinsics": torch.tensor((fx, fy, cx, cy)),
            "corner": torch.tensor((left, top)),
        }

    def _image_loss(self, batch: Batch) -> Callable[[Tensor], dict[str, Tensor]]:
        """The squared error of patches rendered of predicted planes, and their perceptual distance if it has weight."""
        samples = self.run.config.fit.samples

        def image_loss(predicted: Tensor) -> dict[str, Tensor]:
            errors, patches = [], []
            for i, planes in enumerate(predicted):
                occupancy = planes_occupancy(batch["planes"][i], self.decoder, HULL_CELLS)
                _, height, width = batch["patch"][i].shape
                row, column = torch.meshgrid(
                    torch.arange(height, device=planes.device), torch.arange(width, device=planes.device), indexing="ij"
                )
                left, top = batch["corner"][i]
                rays = pixel_rays(
                    batch["cam2world"][i][None],
                    batch["intrinsics"][i][None],
                    torch.zeros(height * width, dtype=torch.long, device=planes.device),
                    column.reshape(-1) + left,
                    row.reshape(-1) + top,
                )
                pixels = render_rays(planes, self.decoder, rays, occupancy, samples).over(1.0)
                truth = batch["patch"][i].permute(1, 2, 0).reshape(-1, 3)
                errors.append((pixels - truth).square().mean())
                patches.append(pixels.view(height, width, 3).permute(2, 0, 1))
            parts = {"image": torch.stack(errors).mean()}
            if self.features is not None:
                made = torch.stack(patches)
                parts["perceptual"] = perceptual_distance(self.features, made, batch["patch"]).mean()
            return parts

        return image_loss
