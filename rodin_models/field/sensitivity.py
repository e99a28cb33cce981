"""How much each texel of planes shows in pictures.

For rays r with colours C of planes P, the sum over a picture of squared derivatives is, with random signs e,

    s = sum over r and colours (dC / dP)^2 = E [ (d/dP  sum over r and colours  e C)^2 ]                            (1)

which is one backward pass a draw of signs (Hutchinson's estimator of a diagonal). It is 0 where no picture shows a
texel, as most are: an error there is never seen.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.rays import Rays
from rodin_models.field.render import render_rays
from rodin_models.field.triplane import resized


def texel_sensitivity(
    planes: Float[Tensor, "3 channel low low"],
    decoder: Decoder,
    rays: Rays,
    occupancy: Occupancy,
    *,
    side: int,
    samples: int,
    draws: int,
    generator: torch.Generator,
) -> Float[Tensor, "3 channel low low"]:
    """Equation (1) by ``draws`` draws of signs, for planes that are seen enlarged to ``side``, over white."""
    with torch.enable_grad():
        leaf = planes.detach().clone().requires_grad_()
        colours = render_rays(resized(leaf, side), decoder, rays, occupancy, samples).over(1.0)
        total = torch.zeros_like(planes)
        for _ in range(draws):
            signs = 2 * torch.randint(2, colours.shape, generator=generator).to(colours) - 1
            (gradient,) = torch.autograd.grad((signs * colours).sum(), leaf, retain_graph=True)
            total += gradient.square()
    return total / draws
