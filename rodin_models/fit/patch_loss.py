"""What a patch looks like, as a term of the fit: rendered patches against photographs in a frozen network's features.

Single rays are told apart by squared errors only, which a blur serves as well as an edge in the wrong place. Here one
square patch of a training view is rendered through the planes with gradients and compared by
:func:`rodin_models.image.perceptual.perceptual_distance`. The features are given: VGG-16 by weights that the user has,
or :class:`RandomFeatures`, since a fit comes before every network that this pipeline trains.
"""

import math
from itertools import pairwise
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.field.occupancy import Occupancy, march
from rodin_models.field.rays import Rays, pixel_rays
from rodin_models.field.render import PlaneField
from rodin_models.field.volume import render_samples
from rodin_models.fit.views import RayPool
from rodin_models.image.perceptual import FeatureMaps, perceptual_distance

_WIDTHS: Final = (3, 32, 64, 128)


class RandomFeatures(nn.Module):
    """Three convolutions of random, fixed weights, each tapped before its pooling: edges and texture, no meaning.

    Nothing was trained, so nothing has to be downloaded; a distance in such features still prefers an edge where the
    truth has one to its blur, because it compares neighbourhoods. Images of at least 4 pixels.
    """

    def __init__(self, generator: torch.Generator) -> None:
        """Weights are drawn from ``generator`` (CPU); the same seed is the same network."""
        super().__init__()
        self.convolutions = nn.ModuleList(_convolution(a, b, generator) for a, b in pairwise(_WIDTHS))
        self.requires_grad_(False)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Maps at full, half and a quarter of the side."""
        x = (rgb - 0.5) * 4
        maps: list[Tensor] = []
        for number, convolution in enumerate(self.convolutions):
            x = F.avg_pool2d(x, 2) if number else x
            x = F.relu(convolution(x))
            maps.append(x)
        return maps


class Patch(NamedTuple):
    """A square piece of a photograph."""

    rays: Rays
    """Row by row."""
    truth: Float[Tensor, "height width 3"]
    """Over white, in [0, 1]."""


def draw_patch(pool: RayPool, side: int, generator: torch.Generator) -> Patch:
    """A patch around a random ray of the pool, so that it shows some of the avatar; no larger than the photograph."""
    views = pool.views
    device, height, width = pool.pixel.device, views.height, views.width
    tall, wide = min(side, height), min(side, width)
    pixel = int(pool.pixel[torch.randint(len(pool.pixel), (), generator=generator, device=device)])
    view, row, column = pixel // (height * width), pixel // width % height, pixel % width
    top = min(max(row - tall // 2, 0), height - tall)
    left = min(max(column - wide // 2, 0), width - wide)
    rows = torch.arange(top, top + tall, device=device).repeat_interleave(wide)
    columns = torch.arange(left, left + wide, device=device).repeat(tall)
    rays = pixel_rays(views.cam2world, views.intrinsics, torch.full_like(rows, view), columns, rows)
    return Patch(rays, views.over(view, 1.0)[top : top + tall, left : left + wide])


def patch_distance(
    field: PlaneField,
    pool: RayPool,
    occupancy: Occupancy,
    features: FeatureMaps,
    *,
    side: int,
    samples: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Perceptual distance of one random patch, rendered over white, to its photograph; gradients go to the field."""
    patch = draw_patch(pool, side, generator)
    seen = render_samples(field, patch.rays, march(patch.rays, occupancy, samples, generator)).over(1.0)
    image = rearrange(seen, "(row column) rgb -> 1 rgb row column", row=len(patch.truth))
    return perceptual_distance(features, image, rearrange(patch.truth, "row column rgb -> 1 rgb row column"))[0]


def _convolution(inside: int, outside: int, generator: torch.Generator) -> nn.Conv2d:
    layer = nn.utils.skip_init(
        nn.Conv2d, inside, outside, kernel_size=3, padding=1, padding_mode="replicate", bias=False
    )
    nn.init.normal_(layer.weight, 0, math.sqrt(2 / (9 * inside)), generator=generator)
    return layer
