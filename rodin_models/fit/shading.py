"""What the samples of rays add up to: decoder and accumulation in one, in a chosen precision, compiled where wanted.
Planes are read by :func:`rodin_models.field.triplane.sample_table` or, if asked, by fused kernels.

:class:`rodin_models.field.decoder.Decoder` is the definition. Here it is written in plain operations, so that its
matrix products can be bfloat16 and a compiler can fuse the rest. Everything else stays float32: the embedding, the
density's exponent, whose error the exponential would magnify, the sigmoid and the accumulation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rodin_models.field.decoder import EXPONENT_BOUND, Decoder, fourier_embedding
from rodin_models.field.rays import RaySamples
from rodin_models.field.triplane import sample_table
from rodin_models.field.volume import Pixels, composite


class CannotCompileError(RuntimeError):
    """``torch.compile`` does not work on this machine; the message says why, in one line."""


class NoKernelsError(RuntimeError):
    """The fused kernels do not work on this machine; the message says why, in one line."""


KERNEL_TOLERANCE = 1e-5
"""How far the fused kernels' numbers may be from the reference's, as a share of the largest."""


@dataclass(frozen=True)
class Shading:
    """How planes and their decoder are read."""

    dtype: torch.dtype = torch.float32
    """Of the matrix products: float32 or bfloat16."""
    compiled: bool = False
    """By ``torch.compile``: the first step of each batch size takes as long as compiling does."""
    fused: bool = False
    """Planes by the kernels of :mod:`rodin_models.fit.plane_kernels`, which need Triton; see :func:`probe_kernels`."""


def plane_sampler(fused: bool) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """:func:`rodin_models.field.triplane.sample_table` or kernels that do the same; ``ImportError`` without."""
    if not fused:
        return sample_table
    from rodin_models.fit.plane_kernels import sample_table_fused

    return sample_table_fused


class Shader:
    """A decoder that is not trained, as a fit reads it and the planes before it."""

    def __init__(self, decoder: Decoder, shading: Shading) -> None:
        self.decoder = decoder
        self.dtype = shading.dtype
        self.sample = plane_sampler(shading.fused)
        self._plain = shading.compiled or shading.dtype != torch.float32
        # Sizes change with the number of avatars alone, so each is worth a compilation of its own.
        self._shade = torch.compile(self._shaded, dynamic=False) if shading.compiled else self._shaded

    def rays(
        self,
        features: Float[Tensor, "ray sample channel"],
        directions: Float[Tensor, "ray 3"],
        inside: Float[Tensor, "ray sample"],
        samples: RaySamples,
    ) -> tuple[Pixels, Float[Tensor, "ray sample"]]:
        """Pixels, and the density of their samples; ``inside`` is 0 for samples where nothing exists."""
        return self._shade(features, directions, inside, samples)

    def density(self, features: Float[Tensor, "point channel"]) -> Float[Tensor, " point"]:
        """Density alone, never compiled: the number of points changes from step to step."""
        if not self._plain:
            return self.decoder.density_of(features)
        return _density(self.decoder, _hidden(self.decoder, features, self.dtype))

    def _shaded(
        self, features: Tensor, directions: Tensor, inside: Tensor, samples: RaySamples
    ) -> tuple[Pixels, Tensor]:
        if self._plain:
            density, rgb = decode(self.decoder, features, directions[:, None], self.dtype)
        else:
            density, rgb = self.decoder(features, directions[:, None])
        density = density * inside
        return composite(density, rgb, samples), density


def decode(
    decoder: Decoder,
    features: Float[Tensor, "*batch channel"],
    directions: Float[Tensor, "*#batch 3"],
    dtype: torch.dtype,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 3"]]:
    """The decoder's numbers and gradients, its matrix products in ``dtype``."""
    hidden = _hidden(decoder, features, dtype)
    seen_from = decoder.colour_direction(fourier_embedding(directions, decoder.settings.direction_frequencies))
    middle = torch.relu(_linear(decoder.colour_feature, hidden, dtype) + seen_from.to(dtype))
    return _density(decoder, hidden), torch.sigmoid(_linear(decoder.colour, middle, dtype).float())


def probe_compile(device: torch.device) -> None:
    """Compile something small for ``device``, forward and backward; raises :class:`CannotCompileError`."""
    numbers = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: (x.sin() * x).sum(), dynamic=False)(numbers).backward()
    except RuntimeError as error:  # the root of all that torch's compilers raise
        raise CannotCompileError(_first_line(error)) from error


def probe_kernels(device: torch.device) -> None:
    """Read small planes both ways on ``device``, and back; raises :class:`NoKernelsError`, also where they differ."""
    draw = torch.Generator().manual_seed(0)
    table, upstream = torch.randn(6, 7, 5, 12, generator=draw), torch.randn(70, 12, generator=draw)
    points, avatar = torch.rand(70, 3, generator=draw) * 2.2 - 1.1, torch.arange(70) % 2
    found = []
    for fused in (False, True):
        leaf = table.to(device).requires_grad_()
        try:
            out = plane_sampler(fused)(leaf, points.to(device), avatar.to(device))
            found.append((out.detach(), *torch.autograd.grad(out, leaf, upstream.to(device))))
        except Exception as error:  # Triton's errors have no root of their own
            raise NoKernelsError(_first_line(error)) from error
    for name, wanted, got in zip(("numbers", "gradient"), *found, strict=True):
        wrong = float((got - wanted).abs().max() / wanted.abs().max())
        if not wrong <= KERNEL_TOLERANCE:
            raise NoKernelsError(f"their {name} differ from the reference's by {wrong:.1e} of the largest")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _hidden(decoder: Decoder, features: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.relu(_linear(decoder.trunk, fourier_embedding(features, decoder.settings.frequencies), dtype))


def _density(decoder: Decoder, hidden: Tensor) -> Tensor:
    exponent = decoder.density(hidden.float())[..., 0]
    # The value of the bounded exponent with the gradient of the free one, as in the decoder.
    exponent = exponent - (exponent - exponent.clamp(-EXPONENT_BOUND, EXPONENT_BOUND)).detach()
    return exponent.exp()


def _linear(layer: nn.Linear, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    return F.linear(inputs.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
