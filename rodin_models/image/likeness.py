"""Likeness: the image latent as principal components of small frontal pictures.

A contrastive latent says what captions say, and of a thousand people it soon knows by heart what it should see. The
first principal components of people's small frontal pictures, each in units of its deviation, say how somebody looks,
and say it of strangers as well: from them a ridge regression predicts twice as much of a stranger's planes. Real
photographs lie outside what the components were made of, so a coordinate is kept within ``MOST`` deviations.

A sentence moves a likeness along what a ridge regression makes of the difference of two text latents. It is fitted to
people and what is said of them, or to as many drawn people as one likes and the likenesses that their looks make one
expect (:mod:`rodin_models.drawn`).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.image.resize import resized_square
from rodin_models.ridge import fit_ridge

SIDE = 32
"""Pixels of a side of the small pictures."""
MOST = 4.0
"""Largest coordinate, in deviations."""


class Likeness(nn.Module):
    """Mean, components and deviations of small pictures, and the way from text latents; zero until fitted or loaded."""

    average: Tensor
    components: Tensor
    spread: Tensor
    from_text: Tensor

    def __init__(self, count: int, text_dim: int) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(3 * SIDE * SIDE))
        self.register_buffer("components", torch.zeros((count, 3 * SIDE * SIDE)))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("from_text", torch.zeros((text_dim, count)))

    def encode(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Latents of frontal pictures in [0, 1] over white; a picture that is no square is padded with white."""
        centred = small(rgb).flatten(1) - self.average
        return (centred @ self.components.T / self.spread).clamp(-MOST, MOST)

    def picture(self, latents: Float[Tensor, "b k"]) -> Float[Tensor, "b 3 side side"]:
        """The small pictures that latents stand for."""
        return (self.average + latents * self.spread @ self.components).view(-1, 3, SIDE, SIDE)

    def edited(
        self,
        latents: Float[Tensor, "b k"],
        text_source: Float[Tensor, "#b d"],
        text_edit: Float[Tensor, "#b d"],
        strength: float,
    ) -> Float[Tensor, "b k"]:
        """Latents moved by what the difference of two texts' unit latents makes one expect, ``strength`` times."""
        return latents + strength * (text_edit - text_source) @ self.from_text

    @torch.no_grad()
    def fit(self, pictures: Float[Tensor, "n 3 side side"]) -> None:
        """Take the components of people's small frontal pictures, mirror images among them.

        Raises ``ValueError`` for fewer pictures than would give so many components.
        """
        count = len(self.spread)
        if len(pictures) <= count:
            raise ValueError(f"{len(pictures)} pictures have fewer than {count} principal components")
        flat = pictures.flatten(1).double()
        _, singular, right = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
        signs = right[:count].gather(1, right[:count].abs().argmax(1, keepdim=True)).sign()
        self.average.copy_(flat.mean(0))
        self.components.copy_(signs * right[:count])
        self.spread.copy_((singular[:count] / len(flat) ** 0.5).clamp(min=1e-6))

    @torch.no_grad()
    def fit_text(self, latents: Float[Tensor, "n k"], texts: Float[Tensor, "rows d"]) -> float:
        """Take the way from people's text latents to likenesses.

        There is one text of each person, or several: row, row + n, row + 2 n ... Returns the share of the variance of
        the small pictures of strangers, as their ``latents`` have them, that it explains.
        """
        z = texts.double() - texts.double().mean(0)
        looks = (latents.double() * self.spread.double()).repeat(len(texts) // len(latents), 1)
        deviation = z.std(0, correction=0).clamp(min=1e-6)
        found = fit_ridge(z / deviation, looks - looks.mean(0), len(latents))
        self.from_text.copy_(found.weight / deviation[:, None] / self.spread)
        return found.explained


def small(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 side side"]:
    """Pictures as :class:`Likeness` sees them: square, padded with white, by areas."""
    return resized_square(rgb, SIDE)
