"""Whether a model learns: its loss before and after some steps."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

DRAWS = 8


def before_and_after(loss: Callable[[], Tensor], parameters: Iterable[nn.Parameter]) -> tuple[float, float]:
    """The mean of eight draws of a loss, then of eight more after 60 steps of Adam."""

    def mean() -> float:
        return float(torch.stack([loss().detach() for _ in range(DRAWS)]).mean())

    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    first = mean()
    for _ in range(60):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
    return first, mean()
