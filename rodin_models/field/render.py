"""Images of tri-planes: the field that planes and decoder make, rays through it, whole pictures.

With gradients (to planes and decoder) for single rays or patches; without for pictures.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.field.decoder import Decoder
from rodin_models.field.march import march
from rodin_models.field.occupancy import Occupancy, field_occupancy
from rodin_models.field.rays import Rays, image_rays, parts_of_pixel
from rodin_models.field.triplane import sample_table, to_table
from rodin_models.field.volume import Pixels, render_samples


class PlaneField:
    """Planes seen through a decoder: a field for :mod:`rodin_models.field.volume`. Nothing exists outside the cube."""

    def __init__(
        self,
        table: Float[Tensor, "3 height width channel"],
        decoder: Decoder,
        *,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """With a generator, every sampled feature carries normal noise of deviation ``noise``."""
        self.table = table
        self.decoder = decoder
        self.noise = noise
        self.generator = generator

    @classmethod
    def of_planes(cls, planes: Float[Tensor, "3 channel height width"], decoder: Decoder) -> "PlaneField":
        """From planes in their stored layout and precision."""
        return cls(to_table(planes.to(decoder.density.weight.dtype)), decoder)

    def __call__(
        self, points: Float[Tensor, "*batch 3"], directions: Float[Tensor, "*#batch 3"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 3"]]:
        """Density (per world unit) and colour at world points."""
        density, rgb = self.decoder(self._features(points), directions)
        return density * inside_cube(points), rgb

    def density(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Density alone."""
        return self.decoder.density_of(self._features(points)) * inside_cube(points)

    def _features(self, points: Tensor) -> Tensor:
        features = sample_table(self.table, points.reshape(-1, 3))
        if self.noise and self.generator is not None:
            features = torch.add(features, standard_normal(features, self.generator), alpha=self.noise)
        return features.reshape(*points.shape[:-1], features.shape[-1])


_BANK = 2**20


@lru_cache(maxsize=4)
def _normal_bank(width: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(_BANK // width * 2, width, generator=generator, device=device)


def standard_normal(
    like: Float[Tensor, "point channel"], generator: torch.Generator, choices: torch.Generator | None = None
) -> Float[Tensor, "point channel"]:
    """Normal numbers of the shape of ``like``: a stretch of a fixed bank from a random row on.

    Drawing them anew takes as long as reading the planes does; noise that comes back now and then serves as well.
    The row is drawn from ``choices`` if that is given: one on the host keeps the host from waiting for a GPU.
    """
    bank = _normal_bank(like.shape[1], like.device)
    if len(like) > len(bank):
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    choices = choices or generator
    start = int(torch.randint(len(bank) - len(like) + 1, (), generator=choices, device=choices.device))
    return bank[start : start + len(like)].to(like.dtype)


def inside_cube(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """1 for points of the cube, 0 for others."""
    return (points.abs().amax(-1) <= 1).to(points.dtype)


class Image(NamedTuple):
    """A rendered picture."""

    rgb: Float[Tensor, "height width 3"]
    """Over the background that was asked for."""
    alpha: Float[Tensor, "height width"]
    """In [0, 1]."""
    depth: Float[Tensor, "height width"]
    """Mean z-depth of what is seen, in world units; 0 where nothing is."""


def planes_occupancy(
    planes: Float[Tensor, "3 channel height width"], decoder: Decoder, resolution: int = 64, threshold: float = 0.01
) -> Occupancy:
    """Cells where planes hold matter, for planes that come without a hull (stored or generated ones)."""
    return field_occupancy(PlaneField.of_planes(planes, decoder).density, resolution, threshold, planes.device)


def render_rays(
    planes: Float[Tensor, "3 channel height width"],
    decoder: Decoder,
    rays: Rays,
    occupancy: Occupancy,
    samples: int,
    generator: torch.Generator | None = None,
) -> Pixels:
    """What rays see, with gradients to planes and decoder; samples at random places if a generator is given."""
    return render_samples(PlaneField.of_planes(planes, decoder), rays, march(rays, occupancy, samples, generator))


@torch.no_grad()
def render_image(
    planes: Float[Tensor, "3 channel height width"],
    decoder: Decoder,
    cam2world: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, " 4"],
    height: int,
    width: int,
    *,
    samples: int,
    occupancy: Occupancy | None = None,
    background: float = 1.0,
    supersample: int = 1,
    chunk: int = 4096,
) -> Image:
    """One picture. ``occupancy`` defaults to what the planes themselves hold; give it when rendering many views.

    A pixel is the mean of ``supersample`` x ``supersample`` rays, its depth that of what they see.
    """
    field = PlaneField.of_planes(planes, decoder)
    if occupancy is None:
        occupancy = planes_occupancy(planes, decoder)
    parts = []
    for place in torch.cat(parts_of_pixel(1, supersample, None, intrinsics.device)).t():
        # A ray that lies to the right of the centre is the central one of a camera whose own centre lies to the left.
        moved = torch.cat((intrinsics[:2], intrinsics[2:] - place))
        parts.append(_one_ray_a_pixel(field, cam2world, moved, height, width, samples, occupancy, background, chunk))
    if supersample == 1:
        return parts[0]
    alpha = torch.stack([part.alpha for part in parts])
    depth = (torch.stack([part.depth for part in parts]) * alpha).sum(0) / alpha.sum(0).clamp(min=1e-6)
    return Image(torch.stack([part.rgb for part in parts]).mean(0), alpha.mean(0), depth)


def _one_ray_a_pixel(
    field: PlaneField,
    cam2world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    samples: int,
    occupancy: Occupancy,
    background: float,
    chunk: int,
) -> Image:
    rays = image_rays(cam2world, intrinsics, height, width)
    device = field.table.device
    rgb = torch.full((height * width, 3), background, dtype=field.table.dtype, device=device)
    alpha, depth = torch.zeros_like(rgb[:, 0]), torch.zeros_like(rgb[:, 0])
    for part in torch.arange(height * width, device=device).split(chunk):
        placed = march(rays.select(part), occupancy, samples, None)
        hit = placed.lengths[:, 0] > 0
        part, placed = part[hit], placed._replace(distances=placed.distances[hit], lengths=placed.lengths[hit])
        seen = rays.select(part)
        pixels = render_samples(field, seen, placed)
        rgb[part], alpha[part] = pixels.over(background), pixels.alpha
        depth[part] = pixels.distance / pixels.alpha.clamp(min=1e-6) * seen.cosines
    return Image(rgb.reshape(height, width, 3), alpha.reshape(height, width), depth.reshape(height, width))
