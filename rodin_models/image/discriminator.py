"""A patch discriminator: which small regions of an image look refined rather than rendered (Isola et al. 2017).

Trained with the hinge loss of Lim and Ye 2017 in the same backward pass and by the same optimiser as the network
that it judges: each of the two terms reaches one side only. Left out: spectral normalisation and R1; the weight
of the adversarial term is meant to be small.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from rodin_models.seeding import initialised_from


class PatchDiscriminator(nn.Module):
    """Strided convolutions to one score for each region of about 30 pixels; high means real."""

    def __init__(self, channels: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        with initialised_from(generator):
            widths = (channels, width, 2 * width, 4 * width)
            self.strided = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
            self.score = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 i j"]:
        """Scores of regions, 1/8 of the image's sides."""
        x = image
        for convolution in self.strided:
            x = F.leaky_relu(convolution(x), 0.2)
        scores: Tensor = self.score(x)
        return scores


def adversaries(model: nn.Module) -> tuple[list[nn.Parameter], ...]:
    """The parameters of a model, and apart from them those of the discriminator that judges it, if there is one.

    The two sides have losses of different size: what is done to a gradient as a whole is done to each.
    """
    judges = [module for module in model.modules() if isinstance(module, PatchDiscriminator)]
    judging = [parameter for judge in judges for parameter in judge.parameters()]
    known = {id(parameter) for parameter in judging}
    judged = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return tuple(side for side in (judged, judging) if side)


def adversarial_terms(
    discriminator: nn.Module, made: Float[Tensor, "b c h w"], real: Float[Tensor, "b c h w"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The maker's term, -mean D(made), and the discriminator's hinge term, mean of both sides' hinges.

    Gradients of the first reach ``made`` and not the discriminator, of the second the discriminator and not ``made``.
    """
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    maker: Tensor = -functional_call(discriminator, frozen, (made,)).mean()
    hinge = (F.relu(1 - discriminator(real.detach())).mean() + F.relu(1 + discriminator(made.detach())).mean()) / 2
    return maker, hinge
