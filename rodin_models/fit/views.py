"""Photographs of one avatar as tensors, and the pool of rays that a fit draws from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from rodin_models.field.rays import Rays, area_rays, pixel_rays
from rodin_models.fit.hull import grid_pixels


@dataclass(frozen=True)
class Views:
    """Photographs of one avatar. All tensors on one device.

    Raises ``ValueError`` where images, poses and intrinsics differ in number.
    """

    rgba: UInt8[Tensor, "view height width 4"] | Float[Tensor, "view height width 4"]
    """Straight alpha; 8 bits or [0, 1]."""
    cam2world: Float[Tensor, "view 4 4"]
    """OpenCV camera axes to world."""
    intrinsics: Float[Tensor, "view 4"]
    """fx, fy, cx, cy in pixels."""
    depth: Float[Tensor, "view height width"] | None = None
    """z-depth of the first surface in world units, 0 where there is none; a fit does without it."""

    def __post_init__(self) -> None:
        counts = {len(self.rgba), len(self.cam2world), len(self.intrinsics)}
        if len(counts) != 1:
            raise ValueError(
                f"{len(self.rgba)} images, {len(self.cam2world)} cam2world and {len(self.intrinsics)} intrinsics"
                " given; a view has one of each"
            )

    def __len__(self) -> int:
        return len(self.rgba)

    @property
    def height(self) -> int:
        """Rows of every image."""
        return self.rgba.shape[1]

    @property
    def width(self) -> int:
        """Columns of every image."""
        return self.rgba.shape[2]

    def masks(self) -> Bool[Tensor, "view height width"]:
        """Pixels that show anything of the avatar."""
        return self.rgba[..., 3] > 0

    def recoloured(self, order: Sequence[int]) -> "Views":
        """The same photographs with their colour channels in another order, which holds each of 0, 1 and 2.

        Raises ``ValueError`` for any other ``order``.
        """
        if sorted(order) != [0, 1, 2]:
            raise ValueError(f"{tuple(order)} is no order of the channels 0, 1, 2")
        return replace(self, rgba=self.rgba[..., [*order, 3]])

    def over(self, view: int, background: float) -> Float[Tensor, "height width 3"]:
        """One photograph over a grey background, in [0, 1]."""
        rgba = unit_range(self.rgba[view])
        return rgba[..., :3] * rgba[..., 3:] + background * (1 - rgba[..., 3:])


@dataclass(frozen=True)
class RayPool:
    """The pixels of all views that can show the avatar: where the hull is seen, and no others."""

    views: Views
    """The photographs."""
    pixel: Int[Tensor, " pixel"]
    """Flat indices (view, row, column), increasing."""

    @classmethod
    def around(cls, views: Views, hull: Bool[Tensor, "x y z"]) -> "RayPool":
        """All pixels whose rays may meet ``hull``; where no view shows it, one pixel, which will see nothing."""
        seen = grid_pixels(hull, views.cam2world, views.intrinsics, views.height, views.width)
        pixel = seen.reshape(-1).nonzero()[:, 0]
        return cls(views, pixel if len(pixel) else pixel.new_zeros(1))

    def draw(
        self, count: int, generator: torch.Generator, *, supersample: int = 1
    ) -> tuple[Rays, Float[Tensor, "{count} 3"], Float[Tensor, " {count}"]]:
        """Rays of ``count`` pixels with their true premultiplied colour and alpha, spread evenly over views and areas.

        The pool is cut into ``count`` equal runs with one uniform draw in each, so every step sees every view.
        A pixel has ``supersample`` squared rays, one after another, each at a random place of its own part of the
        pixel; where that is one ray it goes through the centre.
        """
        device = self.pixel.device
        draws = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        places = (torch.arange(count, device=device) + draws) * (len(self.pixel) / count)
        pixel = self.pixel[places.long().clamp(max=len(self.pixel) - 1)]
        area = self.views.height * self.views.width
        inside = pixel % area
        view, column, row = pixel // area, inside % self.views.width, inside // self.views.width
        cameras = self.views.cam2world, self.views.intrinsics
        if supersample > 1:
            rays = area_rays(*cameras, view, column, row, supersample, generator)
        else:
            rays = pixel_rays(*cameras, view, column, row)
        rgba = unit_range(self.views.rgba.reshape(-1, 4)[pixel])
        return rays, rgba[:, :3] * rgba[:, 3:], rgba[:, 3]


def unit_range(
    rgba: UInt8[Tensor, "*batch 4"] | Float[Tensor, "*batch 4"],
) -> Float[Tensor, "*batch 4"]:
    """Pixels in [0, 1], whether they are stored in 8 bits or not."""
    return rgba.float() / 255 if rgba.dtype == torch.uint8 else rgba
