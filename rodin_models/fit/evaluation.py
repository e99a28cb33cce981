"""How well planes show photographed views: renders beside the truth, and what is measured of them."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.rays import area_rays
from rodin_models.field.render import planes_occupancy, render_image, render_rays
from rodin_models.fit.views import Views
from rodin_models.image.metrics import psnr, psnr_masked, ssim

MOST_DB = 100.0
"""What stands for a render that equals the truth, whose PSNR is infinite."""

CHUNK = 4096
"""Rays that are rendered at a time."""


@dataclass(frozen=True)
class Evaluation:
    """Renders of photographed views beside the truth; PSNR over white, images in [0, 1]."""

    images: Float[Tensor, "view height width 3"]
    """Renders over white."""
    truth: Float[Tensor, "view height width 3"]
    """The photographs over white."""
    alpha: Float[Tensor, "view height width"]
    """Of the renders."""
    psnr_db: tuple[float, ...]
    """Whole image, one a view."""
    psnr_foreground_db: tuple[float, ...]
    """Over pixels whose true alpha is above 0."""
    coverage: tuple[float, ...]
    """Share of such pixels."""

    def ssim(self) -> tuple[float, ...]:
        """Structural similarity, one a view."""
        images, truth = (rearrange(pictures, "v h w c -> v c h w") for pictures in (self.images, self.truth))
        return tuple(ssim(images, truth).tolist())


def evaluate_views(
    planes: Float[Tensor, "3 channel height width"],
    decoder: Decoder,
    views: Views,
    *,
    samples: int,
    supersample: int = 1,
    occupancy: Occupancy | None = None,
) -> Evaluation:
    """Render ``views`` from planes (rounded as they are stored, if they are) and compare.

    ``samples`` are of a ray, ``supersample`` x ``supersample`` rays of a pixel. Without ``occupancy`` the planes alone
    say where matter is: what any reader of stored planes will see.
    """
    if occupancy is None:
        occupancy = planes_occupancy(planes, decoder)
    images, alpha = [], []
    for matrix, pinhole in zip(views.cam2world, views.intrinsics, strict=True):
        rendered = render_image(
            planes,
            decoder,
            matrix,
            pinhole,
            views.height,
            views.width,
            samples=samples,
            occupancy=occupancy,
            supersample=supersample,
        )
        images.append(rendered.rgb.clamp(0, 1))
        alpha.append(rendered.alpha)
    truth = torch.stack([views.over(index, 1.0) for index in range(len(images))])
    seen, masks = torch.stack(images), views.masks()
    image, true = (rearrange(pictures, "v h w c -> v c h w") for pictures in (seen, truth))
    return Evaluation(
        seen,
        truth,
        torch.stack(alpha),
        tuple(psnr(image, true).clamp(max=MOST_DB).tolist()),
        tuple(psnr_masked(image, true, masks[:, None]).clamp(max=MOST_DB).tolist()),
        tuple(masks.float().mean((1, 2)).tolist()),
    )


@torch.no_grad()
def glimpse_db(
    planes: Float[Tensor, "3 channel height width"],
    decoder: Decoder,
    views: Views,
    *,
    samples: int,
    occupancy: Occupancy,
    supersample: int = 1,
    most_pixels: int = 8192,
) -> tuple[float, ...]:
    """PSNR over white of each view, about: of so many of its pixels, always the same, or of all if it has fewer."""
    area = views.height * views.width
    pixel = torch.randperm(area, generator=torch.Generator().manual_seed(0))[:most_pixels].to(planes.device)
    column, row = pixel % views.width, pixel // views.width
    found = []
    for index in range(len(views)):
        view = torch.full_like(pixel, index)
        rays = area_rays(views.cam2world, views.intrinsics, view, column, row, supersample, None)
        seen = [
            render_rays(planes, decoder, rays.select(chosen), occupancy, samples).over(1.0)
            for chosen in torch.arange(len(rays.origins), device=planes.device).split(CHUNK)
        ]
        image = torch.cat(seen).reshape(len(pixel), -1, 3).mean(1).clamp(0, 1)
        truth = views.over(index, 1.0).reshape(-1, 3)[pixel]
        image, truth = (rearrange(colours, "pixel rgb -> rgb 1 pixel") for colours in (image, truth))
        found.append(float(psnr(image, truth).clamp(max=MOST_DB)))
    return tuple(found)
