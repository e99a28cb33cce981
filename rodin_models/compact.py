"""Tensors in fewer bytes, for weights that are handed on: float16, or eight or four bits with scales.

A compact tensor stands for a float32 one that is nearly the one it was made of:

    float16   |x' - x| <= 2^-11 |x| + 2^-25     for |x| up to 65504                        (1)
    eight     |x' - x| <= s_k / 2, with s_k = max |x_k| / 127 for each component k, the first axis   (2)
    four      x' = m sign(n) |n / 7|^(5/3), n = round(7 sign(x) |x / m|^(3/5)), m = max |x| of each image,
              which are the last two axes                                                            (3)

The power gives the many small values of an image that is mostly empty, as a component's are, most of the 15 levels: 2 %
of the squares of an eigen-plane are lost, and 4 % without it.

What is small stays as it is: biases, norms and statistics of channels cost no bytes to speak of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Float16, Float32, Int8, UInt8
from torch import Tensor

KEPT_BELOW: Final = 1024
"""Tensors with fewer numbers stay float32."""
KERNEL_FROM: Final = 2**14
"""Weights of layers with at least as many numbers can be held in eight bits."""
LEVELS: Final = 127
FEW_LEVELS: Final = 7
POWER: Final = 3 / 5
"""Of equation (3)."""


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


@dataclass(frozen=True)
class Four:
    """A tensor by equation (3)."""

    pairs: UInt8[Tensor, "*image row half"]
    """Two columns a byte, the left one in the lower bits, each as n + 8."""
    scales: Float32[Tensor, "*image"]

    def full(self) -> Float32[Tensor, "*image row column"]:
        """The tensor that it stands for."""
        both = torch.stack((self.pairs & 15, self.pairs >> 4), dim=-1).flatten(-2)
        values = (both.float() - FEW_LEVELS - 1) / FEW_LEVELS
        return self.scales[..., None, None] * values.sign() * values.abs() ** (1 / POWER)


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


def four(tensor: Float[Tensor, "*image row column"]) -> Four:
    """Equation (3); an image of zeros stays one. Raises ``ValueError`` for an odd number of columns."""
    images = tensor.detach().cpu().float()
    if images.shape[-1] % 2:
        raise ValueError(f"four bits hold columns in pairs, not {images.shape[-1]}")
    scales = images.abs().amax((-2, -1))
    shares = images / torch.where(scales > 0, scales, 1.0)[..., None, None]
    levels = (FEW_LEVELS * shares.sign() * shares.abs() ** POWER).round().to(torch.int8) + FEW_LEVELS + 1
    left, right = levels.to(torch.uint8).unflatten(-1, (-1, 2)).unbind(-1)
    return Four(left | right << 4, scales)


def compacted(tree: Any, *, four_bits: tuple[str, ...] = (), path: str = "") -> Any:
    """A tree (:mod:`rodin_models.checkpoint`) with its large float32 tensors as :class:`Half`.

    Those whose key is in ``four_bits`` become :class:`Four`, large weights of layers :class:`Eight`, with a scale for
    each output channel. Raises ``ValueError`` that names a tensor which cannot.
    """
    if isinstance(tree, Mapping):
        return {
            key: four(value)
            if key in four_bits and isinstance(value, Tensor)
            else compacted(value, four_bits=four_bits, path=f"{path}/{key}")
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return type(tree)(compacted(child, four_bits=four_bits, path=path) for child in tree)
    if isinstance(tree, Tensor) and tree.dtype == torch.float32 and tree.numel() >= KEPT_BELOW:
        if path.endswith(".weight") and tree.dim() > 1 and tree.numel() >= KERNEL_FROM and tree.isfinite().all():
            return eight(tree)
        try:
            return half(tree)
        except ValueError as error:
            raise ValueError(f"{path.lstrip('/')}: {error}") from None
    return tree
