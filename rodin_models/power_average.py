"""Averages of weights over a training whose length is chosen after it (Karras et al. 2024, EDM2, section 3).

An average is long or short by its relative length s: the deviation of the moments that it averages, over the
training's duration. With theta(n) the weights after step n and theta^(t) their average at step t,

    share of moment n:  (n / t)^(g + 1) - ((n - 1) / t)^(g + 1),    s^2 = (g + 1) / ((g + 2)^2 (g + 3))         (1)
    theta^(n) = b theta^(n - 1) + (1 - b) theta(n),    b = (1 - 1 / n)^(g + 1)                                  (2)

Two averages are followed (:data:`FOLLOWED`), and what they are now and then is kept. An average of another length is
the combination of the kept ones whose shares come nearest to its own (least squares), with coefficients that sum to 1.
In continuous time the shares' products are, for exponents g and h at times t <= u,

    <p(t, g), p(u, h)> = (g + 1) (h + 1) / (g + h + 1) / u (t / u)^h                                             (3)

From 8 moments, lengths of 0.03 to 0.2 come within a tenth of (1), and much nearer between the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FOLLOWED = (0.05, 0.1)
"""Relative lengths of the two averages."""

Weights = dict[str, Tensor]


def exponent(length: float) -> float:
    """g of equation (1). Raises ``ValueError`` for a length outside (0, 0.28]."""
    if not 0 < length <= 0.28:
        raise ValueError(f"relative length {length} of an average must lie in (0, 0.28]")
    inverse = length**-2
    # (g + 2)^2 (g + 3) - inverse (g + 1) = 0
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def combination(moments: Sequence[tuple[int, float]], step: int, length: float) -> list[float]:
    """The coefficient of each kept average, given as (step, length), in the average of ``length`` at ``step``."""
    steps = np.array([moment for moment, _ in moments], dtype=float)
    exponents = np.array([exponent(of) for _, of in moments])
    wanted = _products(steps, exponents, float(step), exponent(length))
    among = _products(steps[:, None], exponents[:, None], steps[None], exponents[None])
    # The Lagrangian's gradient is 0: products times coefficients and a multiplier, and the sum of the coefficients.
    ones = np.ones(len(moments))
    system = np.block([[among, ones[:, None]], [ones[None], np.zeros((1, 1))]])
    solution = np.linalg.lstsq(system, np.append(wanted, 1.0), rcond=None)[0]
    return [float(value) for value in solution[:-1]]


def _products(t: Any, g: Any, u: Any, h: Any) -> Any:
    """Equation (3), for times in any order."""
    ratio = np.minimum(t, u) / np.maximum(t, u)
    return (g + 1) * (h + 1) / (g + h + 1) / np.maximum(t, u) * ratio ** np.where(t <= u, h, g)


def combined(kept: Iterable[tuple[float, Weights]]) -> Weights:
    """The sum of weights, each times its coefficient, in double precision on the way."""
    total: Weights = {}
    kinds: dict[str, torch.dtype] = {}
    for coefficient, weights in kept:
        for name, weight in weights.items():
            kinds[name] = weight.dtype
            part = coefficient * weight.double()
            total[name] = total[name] + part if name in total else part
    return {name: weight.to(kinds[name]) for name, weight in total.items()}


class PowerAverages:
    """The followed averages of a module's parameters, by equation (2)."""

    def __init__(self, model: nn.Module) -> None:
        self.num_updates = 0
        self.averages: tuple[Weights, ...] = tuple(
            {name: value.detach().clone() for name, value in model.named_parameters()} for _ in FOLLOWED
        )

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow ``model`` by one step."""
        self.num_updates += 1
        learned = dict(model.named_parameters())
        for length, average in zip(FOLLOWED, self.averages, strict=True):
            share = 1 - (1 - 1 / self.num_updates) ** (exponent(length) + 1)
            for name, value in average.items():
                value.lerp_(learned[name], share)

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs."""
        return {"num_updates": self.num_updates, "averages": [dict(average) for average in self.averages]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state``, onto the devices where the averages already lie."""
        self.num_updates = state["num_updates"]
        for average, saved in zip(self.averages, state["averages"], strict=True):
            for name, value in saved.items():
                average[name].copy_(value)
