"""Volume rendering: density and colour along rays become pixels. The field is any callable.

The quadrature of NeRF (equation 3): a sample of density s and length d has opacity 1 - exp(-s d), and what
lies behind it is dimmed by exp(-s d). The weights of a ray sum to its opacity exactly.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.field.rays import Rays, RaySamples

Field: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``field(points [ray, sample, 3], directions [ray, 1, 3])`` to density [ray, sample] and colour [ray, sample, 3]."""


class Pixels(NamedTuple):
    """What rays see."""

    rgb: Float[Tensor, "ray 3"]
    """Premultiplied by alpha."""
    alpha: Float[Tensor, " ray"]
    """Opacity in [0, 1]."""
    distance: Float[Tensor, " ray"]
    """Mean distance along the ray, weighted and premultiplied by alpha."""
    weights: Float[Tensor, "ray sample"]
    """Share of each sample in its pixel."""

    def over(self, background: float) -> Float[Tensor, "ray 3"]:
        """Colour over a grey background."""
        return self.rgb + (1 - self.alpha[:, None]) * background


def composite(density: Float[Tensor, "ray sample"], rgb: Float[Tensor, "ray sample 3"], samples: RaySamples) -> Pixels:
    """Accumulate samples front to back."""
    thickness = density * samples.lengths
    behind = torch.exp(-thickness.cumsum(-1))
    before = torch.cat((torch.ones_like(behind[:, :1]), behind[:, :-1]), -1)
    weights = before - behind
    return Pixels(
        rgb=(weights[..., None] * rgb).sum(-2),
        alpha=1 - behind[:, -1],
        distance=(weights * samples.distances).sum(-1),
        weights=weights,
    )


def positions(rays: Rays, samples: RaySamples) -> Float[Tensor, "ray sample 3"]:
    """World positions of samples."""
    return rays.origins[:, None] + samples.distances[..., None] * rays.directions[:, None]


def render_samples(field: Field, rays: Rays, samples: RaySamples) -> Pixels:
    """Ask the field at the samples and accumulate."""
    density, rgb = field(positions(rays, samples), rays.directions[:, None])
    return composite(density, rgb, samples)
