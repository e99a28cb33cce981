"""Planes that a picture makes most probable: analysis by synthesis in eigen-planes.

A linear prediction says what a latent makes one expect; the picture that the latent was read from says more. Of planes

    P(e) = prediction + sum_j sqrt(share) spread_j e_j component_j                                       (1)

those are looked for that give the picture y when they are rendered (R), without leaving what people are like:

    e = argmin  | R(P(e)) - y |^2 / error^2 + | e |^2                                                    (2)

which is the posterior mode where deviations e are standard normal and pixels are off by ``error``: the fitting of Blanz
and Vetter 1999, "A morphable model for the synthesis of 3D faces", with a rendered field in place of a textured mesh.
``share`` is the share of people's variance that the prediction leaves over.
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
    """Planes (3, channel, side, side), in their own units, to pixels (pixel, 3), with gradients."""
    pixels: Float[Tensor, "pixel 3"]
    """y, in [0, 1]."""
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
    linear: LinearModel, predicted: Float[Tensor, "3 channel side side"], evidence: Evidence, num_steps: int
) -> Float[Tensor, "3 channel side side"]:
    """The planes of equation (2) around ``predicted``, in their own units, by L-BFGS, ``num_steps`` renders at most."""
    basis = linear.eigen.components.flatten(1)
    scale = linear.eigen.spread * left_share(linear) ** 0.5
    deviations = torch.zeros_like(scale, requires_grad=True)
    search = torch.optim.LBFGS(
        [deviations], max_iter=num_steps, max_eval=num_steps, history_size=HISTORY, line_search_fn="strong_wolfe"
    )

    def planes() -> Tensor:
        return predicted + ((deviations * scale) @ basis).view_as(predicted)

    def loss() -> float:
        search.zero_grad()
        value = evidence.misfit(planes()) + deviations.square().sum()
        value.backward()
        return float(value.detach())

    with torch.enable_grad():
        search.step(loss)
    return planes().detach()
