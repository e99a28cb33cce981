"""Rays of pinhole cameras, where they cross the cube, and where samples lie on them.

Cameras are OpenCV (x right, y down, z forward) with ``cam2world`` 4x4; pixel (column j, row i) is centred at
(j + 0.5, i + 0.5). Directions have unit length, so a position on a ray is a distance in world units; z-depth
is that distance times the cosine between the ray and the camera's axis.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Rays(NamedTuple):
    """Rays in the world frame."""

    origins: Float[Tensor, "ray 3"]
    """World units."""
    directions: Float[Tensor, "ray 3"]
    """Unit length."""
    cosines: Float[Tensor, " ray"]
    """z-depth a unit of distance along the ray."""

    def select(self, index: Tensor) -> "Rays":
        """Some of the rays, by index, mask or slice."""
        return Rays(self.origins[index], self.directions[index], self.cosines[index])


class RaySamples(NamedTuple):
    """Positions along rays. Samples of zero length weigh nothing."""

    distances: Float[Tensor, "ray sample"]
    """Increasing distance from the origin."""
    lengths: Float[Tensor, "ray sample"]
    """World length of the ray that each sample stands for."""


def pixel_rays(
    cam2world: Float[Tensor, "view 4 4"],
    intrinsics: Float[Tensor, "view 4"],
    view: Int[Tensor, " ray"],
    column: Int[Tensor, " ray"] | Float[Tensor, " ray"],
    row: Int[Tensor, " ray"] | Float[Tensor, " ray"],
) -> Rays:
    """Rays through pixel centres of several cameras; ``intrinsics`` are fx, fy, cx, cy in pixels.

    Columns and rows that are no whole numbers lie as far from a centre as they are from one.
    """
    fx, fy, cx, cy = intrinsics[view].unbind(-1)
    x, y = (column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy
    cosines = torch.rsqrt(x * x + y * y + 1)
    in_camera = torch.stack((x * cosines, y * cosines, cosines), -1)
    matrix = cam2world[view]
    directions = (matrix[:, :3, :3] * in_camera[:, None, :]).sum(-1)
    return Rays(matrix[:, :3, 3], directions, cosines)


def parts_of_pixel(
    count: int, supersample: int, generator: torch.Generator | None, device: torch.device
) -> tuple[Float[Tensor, "{count} part"], Float[Tensor, "{count} part"]]:
    """Places in ``count`` pixels, right and down from the centre in pixels: one at random in each of
    ``supersample`` x ``supersample`` equal parts, row by row; without generator, their middles.
    """
    part = torch.arange(supersample**2, device=device)
    shape = (2, count, len(part))
    draws = torch.full(shape, 0.5, device=device)
    if generator is not None:
        draws = torch.rand(shape, generator=generator, device=device)
    across, down = (torch.stack((part % supersample, part // supersample))[:, None] + draws) / supersample - 0.5
    return across, down


def area_rays(
    cam2world: Float[Tensor, "view 4 4"],
    intrinsics: Float[Tensor, "view 4"],
    view: Int[Tensor, " pixel"],
    column: Int[Tensor, " pixel"],
    row: Int[Tensor, " pixel"],
    supersample: int,
    generator: torch.Generator | None,
) -> Rays:
    """``supersample`` squared rays of each pixel, one pixel after another, where :func:`parts_of_pixel` says."""
    across, down = parts_of_pixel(len(view), supersample, generator, view.device)
    column, row = (column[:, None] + across).reshape(-1), (row[:, None] + down).reshape(-1)
    return pixel_rays(cam2world, intrinsics, view.repeat_interleave(supersample**2), column, row)


def image_rays(cam2world: Float[Tensor, "4 4"], intrinsics: Float[Tensor, " 4"], height: int, width: int) -> Rays:
    """Rays of a whole image, row by row."""
    pixel = torch.arange(height * width, device=cam2world.device)
    view = torch.zeros_like(pixel)
    return pixel_rays(cam2world[None], intrinsics[None], view, pixel % width, pixel // width)


def intersect_box(
    rays: Rays, low: Float[Tensor, "*each 3"], high: Float[Tensor, "*each 3"]
) -> tuple[Float[Tensor, " ray"], Float[Tensor, " ray"]]:
    """Distances at which rays enter and leave an axis-aligned box; equal where they miss it. Never negative.

    One box for all rays, or one for each.
    """
    # A direction of exactly zero along an axis would give 0 / 0 on the box's faces.
    tiny = torch.finfo(rays.directions.dtype).tiny
    inverse = 1 / torch.where(rays.directions.abs() < tiny, tiny, rays.directions)
    first, second = (low - rays.origins) * inverse, (high - rays.origins) * inverse
    near = torch.minimum(first, second).amax(-1).clamp(min=0)
    far = torch.maximum(first, second).amin(-1)
    return near, torch.maximum(near, far)


def strata(num_rays: int, samples: int, generator: torch.Generator | None, like: Tensor) -> Float[Tensor, "ray sample"]:
    """Increasing positions in (0, 1): one uniform draw in each of ``samples`` equal parts, or their middles."""
    part = torch.arange(samples, dtype=like.dtype, device=like.device)
    if generator is None:
        return ((part + 0.5) / samples).expand(num_rays, samples)
    draw = torch.rand(num_rays, samples, generator=generator, dtype=like.dtype, device=like.device)
    return (part + draw) / samples
