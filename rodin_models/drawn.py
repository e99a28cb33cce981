"""Latents of people who were drawn and never photographed, as those who were make one expect them.

A few hundred photographed people are too few to learn from what their captions share: a latent diffusion knows them by
heart. What somebody looks like (hair, garment, age ...) is known of everybody who is drawn. A ridge regression from
looks to image latents, and what it leaves unexplained of photographed strangers, make pairs of text and latent for as
many people as one likes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.ridge import regress


class DrawnLatents(NamedTuple):
    """A latent of drawn person p is ``expected[p]`` and any one of ``left`` added up."""

    expected: Tensor
    """(person, latent)."""
    left: Tensor
    """(row, latent), what the latent of each photograph is beside what all others make one expect of it."""
    explained: float
    """Share of the variance of photographed strangers' latents that looks explain."""


@torch.no_grad()
def drawn_latents(
    looks: Float[Tensor, "n look"],
    latents: Float[Tensor, "rows latent"],
    drawn: Float[Tensor, "people look"],
    units: Float[Tensor, "latent"],
) -> DrawnLatents:
    """Fit latents to looks, and expect those of ``drawn`` people by theirs.

    Rows of ``latents`` are those of the n people, then those of their mirror images where there are some, in the same
    order: a person looks the same in the mirror. ``units`` are what 1 of each coordinate is worth.
    """
    found = regress(looks.double(), latents.double(), units.double())
    expected = (drawn.double() - found.mean) @ found.weight + found.centre
    return DrawnLatents(expected.float(), found.left.float(), found.explained)
