"""Tensors in fewer bytes, for weights that are handed on: float16, or eight bits with a scale for each component.

A compact tensor stands for a float32 one that is nearly the one it was made of:

    float16   |x' - x| <= 2^-11 |x| + 2^-25     for |x| up to 65504                        (1)
    eight     |x' - x| <= s_k / 2, with s_k = max |x_k| / 127 for each component k, the first axis   (2)

What is small stays as it is: biases, norms and statistics of channels cost no bytes to speak of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Float16, Float32, Int8
from torch import Tensor

KEPT_BELOW: Final = 1024
"""Tensors with fewer numbers stay float32."""
LEVELS: Final = 127


@dataclass(frozen=True)
class Half:
    """A tensor by equation (1)."""

    values: Float16[Tensor, "..."]

    def full(self) -> Float32[Tensor, "..."]:
        """The tensor that it stands for."""
        return self.values.float()


@dataclass(frozen=True)
class Eight:
    """A tensor by equation (2)."""

    levels: Int8[Tensor, "component ..."]
    scales: Float32[Tensor, "component"]

    def full(self) -> Float32[Tensor, "component ..."]:
        """The tensor that it stands for."""
        return self.levels.float() * self.scales.view(-1, *(1,) * (self.levels.dim() - 1))


def half(tensor: Float[Tensor, "..."]) -> Half:
    """Equation (1); raises ``ValueError`` for a finite number that float16 cannot hold."""
    values = tensor.detach().cpu().half()
    if not bool((values.isfinite() | ~tensor.cpu().isfinite()).all()):
        raise ValueError(f"float16 ends at 65504, and the tensor at {float(tensor.abs().max()):.3g}")
    return Half(values)


def eight(tensor: Float[Tensor, "component ..."]) -> Eight:
    """Equation (2); a component of zeros stays one."""
    rows = tensor.detach().cpu().float()
    scales = rows.flatten(1).abs().amax(1) / LEVELS
    divisors = torch.where(scales > 0, scales, 1.0).view(-1, *(1,) * (rows.dim() - 1))
    return Eight((rows / divisors).round().clamp(-LEVELS, LEVELS).to(torch.int8), scales)


def compacted(tree: Any, *, eight_bits: tuple[str, ...] = (), path: str = "") -> Any:
    """A tree (:mod:`rodin_models.checkpoint`) with its large float32 tensors as :class:`Half`.

    Those whose key is in ``eight_bits`` become :class:`Eight`. Raises ``ValueError`` that names a tensor which cannot.
    """
    if isinstance(tree, Mapping):
        return {
            key: eight(value)
            if key in eight_bits and isinstance(value, Tensor)
            else compacted(value, eight_bits=eight_bits, path=f"{path}/{key}")
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return type(tree)(compacted(child, eight_bits=eight_bits, path=path) for child in tree)
    if isinstance(tree, Tensor) and tree.dtype == torch.float32 and tree.numel() >= KEPT_BELOW:
        try:
            return half(tree)
        except ValueError as error:
            raise ValueError(f"{path.lstrip('/')}: {error}") from None
    return tree
