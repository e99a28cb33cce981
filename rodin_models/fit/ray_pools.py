"""The rays of several avatars as one pool: what :class:`rodin_models.fit.views.RayPool` is for one.

Photographs may differ in number and size between avatars. Only the pixels that can show an avatar are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rodin_models.field.rays import Rays, pixel_rays
from rodin_models.fit.views import RayPool, unit_range


class PoolsBuilder:
    """Takes pools one after another, so that no two avatars' photographs need to be in memory."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, ...]] = []
        self._shapes: list[tuple[int, int]] = []

    def add(self, pool: RayPool) -> None:
        """Keep the pixels and cameras of another avatar."""
        views = pool.views
        pixel = pool.pixel if pool.views.rgba.numel() // 4 >= 2**31 else pool.pixel.to(torch.int32)
        self._parts.append((pixel, views.rgba.reshape(-1, 4)[pool.pixel], views.cam2world, views.intrinsics))
        self._shapes.append((views.height, views.width))

    def build(self) -> "RayPools":
        """All of them as one."""
        device = self._parts[0][0].device

        def column(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, device=device)[:, None]

        pixel, rgba, cam2world, intrinsics = zip(*self._parts, strict=True)
        if len({colours.dtype for colours in rgba}) > 1:
            rgba = tuple(unit_range(colours) for colours in rgba)
        counts, views = [len(p) for p in pixel], [len(c) for c in cam2world]
        self._parts = []
        return RayPools(
            pixel=torch.cat(pixel),
            rgba=torch.cat(rgba),
            cam2world=torch.cat(cam2world),
            intrinsics=torch.cat(intrinsics),
            count=column(counts),
            first=column([sum(counts[:i]) for i in range(len(counts))]),
            first_view=column([sum(views[:i]) for i in range(len(views))]),
            width=column([w for _, w in self._shapes]),
            area=column([h * w for h, w in self._shapes]),
        )


@dataclass(frozen=True)
class RayPools:
    """Pixels of all avatars, one avatar after another."""

    pixel: Int[Tensor, " pixel"]
    """Flat indices (view, row, column) among the avatar's own pixels."""
    rgba: Tensor
    """The same pixels' colours, [pixel, 4]: 8 bits or [0, 1]."""
    cam2world: Float[Tensor, "view 4 4"]
    """OpenCV camera axes to world, of all avatars' views."""
    intrinsics: Float[Tensor, "view 4"]
    """fx, fy, cx, cy in pixels."""
    count: Int[Tensor, "avatar 1"]
    """Pixels of each avatar."""
    first: Int[Tensor, "avatar 1"]
    """Its first one."""
    first_view: Int[Tensor, "avatar 1"]
    """Index of its first view among all views."""
    width: Int[Tensor, "avatar 1"]
    """Columns of its photographs."""
    area: Int[Tensor, "avatar 1"]
    """Pixels of one of its photographs."""

    @classmethod
    def builder(cls) -> PoolsBuilder:
        """Takes one pool after another."""
        return PoolsBuilder()

    def draw(
        self, count: int, generators: Sequence[torch.Generator]
    ) -> tuple[Rays, Float[Tensor, "ray 3"], Float[Tensor, " ray"]]:
        """``count`` rays of each avatar, avatar by avatar, with their premultiplied colour and alpha.

        Each avatar's are those that :meth:`rodin_models.fit.views.RayPool.draw` gives it with its generator.
        """
        device = self.pixel.device
        draws = torch.stack([torch.rand(count, generator=g, device=device, dtype=torch.float64) for g in generators])
        places = (torch.arange(count, device=device) + draws) * (self.count.double() / count)
        chosen = self.first + places.long().minimum(self.count - 1)
        pixel = self.pixel[chosen].long()
        inside = pixel % self.area
        rays = pixel_rays(
            self.cam2world,
            self.intrinsics,
            (self.first_view + pixel // self.area).reshape(-1),
            (inside % self.width).reshape(-1),
            (inside // self.width).reshape(-1),
        )
        rgba = unit_range(self.rgba[chosen.reshape(-1)])
        return rays, rgba[:, :3] * rgba[:, 3:], rgba[:, 3]
