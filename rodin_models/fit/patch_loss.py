"""What a patch looks like, as a term of the fit: rendered patches against photographs in a frozen network's features.

Single rays are told apart by squared errors only, which a blur serves as well as an edge in the wrong place. Here one
square patch of a training view is rendered through the planes with gradients and compared by
:func:`rodin_models.image.perceptual.perceptual_distance`. The features are given, from
:mod:`rodin_models.image.features`: VGG-16 by weights that the user has, or random ones, since a fit comes before every
network that this pipeline trains.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from rodin_models.field.march import march
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.rays import Rays, pixel_rays
from rodin_models.field.render import PlaneField
from rodin_models.field.volume import render_samples
from rodin_models.fit.views import RayPool
from rodin_models.image.perceptual import FeatureMaps, perceptual_distance


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
