"""Samples of rays in the grid: inside occupied cells only, and most of them where the ray will see something.

Where that is says the coarse density that an :class:`rodin_models.field.occupancy.Occupancy` has beside its grid.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rodin_models.field.occupancy import Occupancy
from rodin_models.field.rays import Rays, RaySamples, intersect_box, strata

EVEN_MASS = 1.0
"""Mass spread evenly over a ray's occupied cells, beside at most 1 for what is expected to be seen.

No sample then stands for more than twice the length that it would in even sampling. Less mass makes such samples
rarer and longer, and a long sample that meets matter unexpectedly spoils its ray.
"""


def march(rays: Rays, occupancy: Occupancy, samples: int, generator: torch.Generator | None) -> RaySamples:
    """``samples`` positions a ray, inside occupied cells, most of them where the ray will see something.

    Each ray is cut into pieces about a cell long between the ends of the occupied box. A piece has as mass the weight
    in the pixel that the coarse density gives it and its neighbours, and an even share beside; empty ones have none.
    The masses, put end to end, are divided into equal strata with one sample each: at random or, without generator,
    in the middle. A sample's length is its share of all mass over the mass a unit of length has where it lies, so a
    sum over samples is an unbiased integral over the occupied length; with equal masses all lengths are equal.
    A ray that meets no occupied piece gets samples of zero length.
    """
    near, far = intersect_box(rays, occupancy.low, occupancy.high)
    pieces = count_pieces(occupancy)
    piece = ((far - near) / pieces)[:, None]
    middles = near[:, None] + (torch.arange(pieces, device=near.device) + 0.5) * piece
    known = occupancy.density.reshape(-1)[cells_along(rays, middles, occupancy.grid.shape[0])].to(near.dtype)
    return placed_in_pieces(known, near, piece, strata(near.shape[0], samples, generator, near), pieces - 1)


def count_pieces(occupancy: Occupancy) -> int:
    """How many pieces, each at most a cell long, a ray through the occupied box is cut into."""
    diagonal = float((occupancy.high - occupancy.low).norm())
    return max(1, math.ceil(diagonal / occupancy.cell))


def placed_in_pieces(
    known: Float[Tensor, "ray piece"],
    near: Float[Tensor, " ray"],
    piece: Float[Tensor, "ray 1"],
    shares: Float[Tensor, "ray sample"],
    last: int | Int[Tensor, "ray 1"],
) -> RaySamples:
    """The second half of :func:`march`: samples at given ``shares`` of all mass of their ray.

    ``known`` is the coarse density of each piece, negative where it is not occupied, and is used up. ``piece`` is a
    piece's length, ``last`` the index of a ray's last one: rays of several avatars have different numbers, and what
    lies behind is not occupied.
    """
    filled = ((known >= 0) & (piece > 0)).to(near.dtype)
    total = filled.sum(-1, keepdim=True)
    mass = _seen_mass(known.clamp_(min=0).mul_(piece)).add_(EVEN_MASS / total.clamp(min=1)).mul_(filled)
    cumulated = mass.cumsum(-1)

    wanted = shares * cumulated[:, -1:]
    found = torch.searchsorted(cumulated, wanted, right=True).clamp(max=last)
    of_piece = mass.gather(1, found).clamp(min=torch.finfo(near.dtype).tiny)
    inside = (wanted - cumulated.gather(1, found) + of_piece) / of_piece
    distances = near[:, None] + (found + inside.clamp(0, 1)) * piece
    lengths = piece * filled.gather(1, found) * cumulated[:, -1:] / (of_piece * shares.shape[1])
    return RaySamples(distances, lengths)


def cells_along(rays: Rays, distances: Float[Tensor, "ray piece"], resolution: int) -> Int[Tensor, "ray piece"]:
    """:func:`rodin_models.field.occupancy.cell_index` of positions on rays, axis by axis.

    Nothing of three numbers a position is ever made.
    """
    origins, directions = (rays.origins + 1) * (resolution / 2), rays.directions * (resolution / 2)
    index = torch.zeros((), dtype=torch.int32, device=distances.device)
    for origin, direction in zip(origins.t(), directions.t(), strict=True):
        place = torch.addcmul(origin[:, None], distances, direction[:, None]).clamp_(0, resolution - 0.5)
        index = index * resolution + place.to(torch.int32)
    return index


def _seen_mass(thickness: Float[Tensor, "ray piece"]) -> Float[Tensor, "ray piece"]:
    """Weights of pieces in their pixel, shared with their neighbours: the coarse density is not exact."""
    behind = thickness.cumsum(-1).neg_().exp_()
    weight = behind.neg()
    weight[:, 0] += 1
    weight[:, 1:] += behind[:, :-1]
    shared = weight.clone()
    shared[:, 1:] += weight[:, :-1]
    shared[:, :-1] += weight[:, 1:]
    return shared.div_(3)
