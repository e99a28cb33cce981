"""Muon: steps of equal size in every direction of a kernel (Jordan et al. 2024; Liu et al. 2025, "Muon is scalable").

A kernel (out, in, ...) is a matrix of out rows. With M its momentum and U S V^T that matrix's decomposition, the step
is U V^T, which five Newton-Schulz iterations approach (singular values between 0.7 and 1.2):

    X <- a X + b (X X^T) X + c (X X^T)^2 X,    X from M / |M|,    a, b, c = 3.4445, -4.775, 2.0315             (1)

scaled by 0.2 sqrt(max(out, in)), after which it is as large as one of AdamW's, so that learning rate and weight decay
mean the same (Liu et al. 2025, eq. 4). ``torch.optim.Muon`` takes matrices only and computes in bfloat16, which CPUs
are slow at.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.775, 2.0315)
ITERATIONS = 5


def orthogonalised(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """About U V^T of a matrix, by equation (1); 0 for 0."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    """For kernels of two and more dimensions. Raises ``ValueError`` for others."""

    def __init__(
        self, kernels: Iterable[nn.Parameter], lr: float, *, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(kernels, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.ndim < 2:
                    raise ValueError(f"Muon is for kernels, and a parameter of shape {tuple(kernel.shape)} is none")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along the kernels' gradients, with Nesterov's momentum."""
        assert closure is None, "gradients are there"
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(kernel)
                state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                ahead = kernel.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                size = 0.2 * max(ahead.shape) ** 0.5
                kernel.mul_(1 - group["lr"] * group["weight_decay"])
                kernel.sub_(group["lr"] * size * orthogonalised(ahead).view_as(kernel))
