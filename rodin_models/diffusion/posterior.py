"""Planes that a picture makes most probable: analysis by synthesis in eigen-planes.

A linear prediction says what a latent makes one expect; the picture that the latent was read from says more. Of planes

    P(e) = prediction + sum_j sqrt(share) spread_j e_j component_j                                       (1)

those are looked for that give the picture y when they are rendered (R), without leaving what people are like:

    e = argmin  | R(P(e)) - y |^2 / error^2 + | e |^2                                                    (2)

which is the posterior mode where deviations e are standard normal and pixels are off by ``error``: the fitting of Blanz
and Vetter 1999, "A morphable model for the synthesis of 3D faces", with a rendered field in place of a textured mesh.
``share`` is the share of people's variance that the prediction leaves over.

What is particular to somebody, such as pupils, lips or a print, lies in no eigen-plane of other people. A picture shows
it in those texels that its rays meet, so from the planes of (2) on every texel may move as well,

    P(e, r) = P(e) + detail residual r,    with | r |^2 added to (2)                                     (3)

where ``residual`` is by how much the linear prediction is off at that texel. A ``detail`` above 1 is of use: texels
that make one pupil move together, which independent ones are not expected to.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.diffusion.linear import LinearModel

HISTORY = 20
"""Steps that L-BFGS remembers."""


@dataclass(frozen=True)
class Evidence:
    """A picture, and how planes give one."""

    render: Callable[[Tensor], Tensor]
    """Planes (3, channel, side, side), in their own units, to pixels (pixel, value), with gradients."""
    pixels: Float[Tensor, "pixel value"]
    """y, in [0, 1]: colour, and whatever else is known of a pixel."""
    weight: Float[Tensor, "pixel"]
    """1 where y is known, 0 where it is not."""
    error: float
    """Deviation of a pixel's colour: what planes of so many texels cannot give, and what light does."""

    def misfit(self, planes: Float[Tensor, "3 channel side side"]) -> Float[Tensor, ""]:
        """The first term of equation (2), over the pixels that are known."""
        squares = (self.render(planes) - self.pixels).square().sum(1)
        return (self.weight * squares).sum() / self.error**2


def left_share(linear: LinearModel) -> float:
    """Share of the variance of people's planes that the linear model leaves over, within [0, 1]."""
    total = float(linear.eigen.spread.square().sum())
    return min(float(linear.residual.square().sum()) / total, 1.0) if total else 1.0


def most_probable(
    linear: LinearModel,
    predicted: Float[Tensor, "3 channel side side"],
    evidence: Evidence,
    num_steps: int,
    *,
    detail: float = 0.0,
    detail_steps: int = 0,
) -> Float[Tensor, "3 channel side side"]:
    """Planes in their own units: those of equation (2) around ``predicted``, by L-BFGS, ``num_steps`` renders at most.

    Then those of equation (3) from there on, in ``detail_steps`` renders at most.
    """
    basis = linear.eigen.components.flatten(1)
    scale = linear.eigen.spread * left_share(linear) ** 0.5
    deviations = torch.zeros_like(scale, requires_grad=True)
    texels = torch.zeros_like(predicted, requires_grad=True)

    def planes() -> Tensor:
        moved = predicted + ((deviations * scale) @ basis).view_as(predicted)
        return moved + detail * linear.residual * texels

    def search(free: list[Tensor], most: int) -> None:
        lbfgs = torch.optim.LBFGS(
            free, max_iter=most, max_eval=most, history_size=HISTORY, line_search_fn="strong_wolfe"
        )

        def loss() -> float:
            lbfgs.zero_grad()
            value = evidence.misfit(planes()) + deviations.square().sum() + texels.square().sum()
            value.backward(inputs=free)
            return float(value.detach())

        lbfgs.step(loss)

    with torch.enable_grad():
        search([deviations], num_steps)
        if detail and detail_steps:
            search([deviations, texels], detail_steps)
    return planes().detach()
