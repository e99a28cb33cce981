"""Eigen-planes: the principal components of planes that were fitted under one frozen decoder.

Such planes are aligned texel by texel, and people are nearly linear in them. With X the planes of N avatars, less their
mean and flattened to D values, the components are the right singular vectors of X:

    G = X X^T = U S^2 U^T   (N x N, Gram matrix),    components C = S^-1 U^T X,    coefficients X C^T = U S       (1)

G is summed in float64 over blocks of avatars that are read when they are needed (twice a pair of blocks), so memory
holds two blocks and the components, whatever N is. A component's sign is chosen so that its largest value is positive.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

ReadPlanes = Callable[[int, int], Tensor]
"""Planes (avatar, 3, channel, side, side) of the rows from the first to before the last."""

BLOCK = 128
"""Rows read at once."""
RELATIVE_RANK = 1e-6
"""Components whose singular value is below this share of the largest one are rounding, not people."""


class EigenPlanes(nn.Module):
    """A mean, orthonormal components, and how far avatars lie along each; all zero until set or loaded."""

    mean: Tensor
    components: Tensor
    spread: Tensor

    def __init__(self, shape: tuple[int, int, int, int], count: int) -> None:
        """``shape`` is a tri-plane's (3, channel, side, side), ``count`` the number of components."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("components", torch.zeros((count, *shape)))
        self.register_buffer("spread", torch.zeros(count))

    def coefficients(self, planes: Float[Tensor, "batch 3 channel side side"]) -> Float[Tensor, "batch component"]:
        """Planes in their own units projected on the components."""
        return (planes - self.mean).flatten(1) @ self.components.flatten(1).T

    def planes(self, coefficients: Float[Tensor, "batch component"]) -> Float[Tensor, "batch 3 channel side side"]:
        """The planes that coefficients stand for, in their own units."""
        flat = coefficients.to(self.components) @ self.components.flatten(1)
        return self.mean + flat.view(-1, *self.mean.shape)

    def gaussian(self, num: int, generator: torch.Generator) -> Float[Tensor, "num 3 channel side side"]:
        """Planes of ``num`` people drawn from a Gaussian in the coefficients: the baseline of unconditional models."""
        drawn = torch.randn((num, len(self.spread)), generator=generator, device=generator.device)
        return self.planes(drawn.to(self.spread) * self.spread)


def principal_components(
    read: ReadPlanes, num: int, count: int
) -> tuple[EigenPlanes, Float64[Tensor, "avatar component"]]:
    """The first ``count`` eigen-planes of ``num`` avatars, or as many as there are, and the avatars' coefficients.

    Raises ``ValueError`` for less than two avatars.
    """
    if num < 2:
        raise ValueError(f"principal components of {num} avatars: 2 are the least")
    mean = _mean(read, num)
    gram = torch.zeros((num, num), dtype=torch.float64)
    for first, rows in _blocks(read, num):
        left = rows.double().flatten(1) - mean
        for second, others in _blocks(read, num, from_row=first):
            right = left if second == first else others.double().flatten(1) - mean
            product = left @ right.T
            gram[first : first + len(left), second : second + len(right)] = product
            gram[second : second + len(right), first : first + len(left)] = product.T
    squares, vectors = torch.linalg.eigh(gram)
    squares, vectors = squares.flip(0).clamp(min=0.0), vectors.flip(1)
    singular = squares.sqrt()
    kept = min(count, int((singular > RELATIVE_RANK * singular[0]).sum())) if singular[0] > 0 else 0
    singular, vectors = singular[:kept], vectors[:, :kept]
    shape = read(0, 1).shape[1:]
    components = torch.zeros((kept, mean.numel()), dtype=torch.float64)
    for first, rows in _blocks(read, num):
        components += vectors[first : first + len(rows)].T @ (rows.double().flatten(1) - mean)
    components /= singular[:, None]
    if kept:
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        signs = torch.where(largest < 0, -1.0, 1.0).double()
        components, vectors = components * signs, vectors * signs[:, 0]
    coefficients = vectors * singular
    found = EigenPlanes(tuple(shape), kept)  # type: ignore[arg-type]
    found.mean.copy_(mean.view(shape))
    found.components.copy_(components.view(kept, *shape))
    found.spread.copy_(singular / (num - 1) ** 0.5)
    return found, coefficients


def _mean(read: ReadPlanes, num: int) -> Float64[Tensor, "value"]:
    total = sum(rows.double().flatten(1).sum(0) for _, rows in _blocks(read, num))
    assert isinstance(total, Tensor)
    return total / num


def _blocks(read: ReadPlanes, num: int, from_row: int = 0) -> Iterator[tuple[int, Tensor]]:
    for first in range(from_row, num, BLOCK):
        yield first, read(first, min(first + BLOCK, num))
