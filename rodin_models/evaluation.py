"""How well planes show photographed views: renders beside the truth, and what is measured of them."""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from rodin_models.decoder import Decoder
from rodin_models.metrics import ssim
from rodin_models.occupancy import Occupancy
from rodin_models.render import planes_occupancy, render_image
from rodin_models.views import Views


@dataclass(frozen=True)
class Evaluation:
    """Renders of photographed views beside the truth; PSNR over white, images in [0, 1]."""

    images: Float[Tensor, "view height width 3"]
    truth: Float[Tensor, "view height width 3"]
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
    occupancy: Occupancy | None = None,
) -> Evaluation:
    """Render ``views`` from planes (rounded as they are stored, if they are) and compare.

    Without ``occupancy`` the planes alone say where matter is: what any reader of stored planes will see.
    """
    if occupancy is None:
        occupancy = planes_occupancy(planes, decoder)
    images, truth, whole, foreground = [], [], [], []
    for index, (matrix, pinhole) in enumerate(zip(views.cam2world, views.intrinsics, strict=True)):
        image = render_image(
            planes, decoder, matrix, pinhole, views.height, views.width, samples=samples, occupancy=occupancy
        )
        images.append(image.rgb.clamp(0, 1))
        truth.append(views.over(index, 1.0))
        error = (images[-1] - truth[-1]).square().mean(-1)
        whole.append(_psnr(error))
        foreground.append(_psnr(error[views.masks()[index]]))
    coverage = views.masks().float().mean((1, 2))
    return Evaluation(
        torch.stack(images), torch.stack(truth), tuple(whole), tuple(foreground), tuple(coverage.tolist())
    )


def _psnr(squared_error: Tensor) -> float:
    return -10 * math.log10(max(float(squared_error.double().mean()), 1e-10))
