"""The decoder that all avatars share: a tri-plane feature to density and view-dependent colour.

Rodin, section 3.1: the summed feature is Fourier-embedded and read by a small MLP. Density depends on the
feature alone; the direction enters only the colour branch, so geometry cannot change with the view.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

EXPONENT_BOUND = 15.0


@dataclass(frozen=True)
class DecoderSettings:
    """Size of a decoder."""

    channels: int = 16
    """Feature channels of a plane."""
    hidden: int = 64
    """Width of the feature's hidden layer."""
    colour_hidden: int = 32
    """Width of the colour branch's hidden layer."""
    frequencies: int = 1
    """Octaves of the feature's Fourier embedding, from pi up; 0 gives the features bare."""
    direction_frequencies: int = 1
    """Octaves of the direction's Fourier embedding."""
    density_bias: float = 0.0
    """Logarithm of the density that an untrained decoder gives, per world unit."""


class TruncatedExp(torch.autograd.Function):
    """exp(x) for x up to 15, with a gradient that neither explodes nor vanishes beyond (-15, 15)."""

    @staticmethod
    def forward(ctx: Any, exponent: Tensor) -> Tensor:
        """Exponential, bounded above."""
        bounded = exponent.clamp(-EXPONENT_BOUND, EXPONENT_BOUND).exp()
        ctx.save_for_backward(bounded)
        return bounded

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """``grad * exp(clamp(x))``, also where the forward value is held at its bound."""
        (bounded,) = ctx.saved_tensors
        return grad * bounded


class _OneOctave(torch.autograd.Function):
    """A decoder whose features are embedded in one octave, written out; a fit spends most of its time here.

    The embedding is never put together, but each part has its product, and backward reads the sine and cosine that
    forward left. ``seen_from [ray, colour_hidden]`` is the directions' product, shared by all samples of a ray.
    Gradients of the weights are made for a decoder that is trained and left out for a frozen one.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, seen_from: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        trunk, trunk_bias, dense, dense_bias, middle, middle_bias, last, last_bias = weights
        of_features, of_sine, of_cosine = trunk.t().chunk(3)
        sine = features * math.pi
        cosine = sine.cos()
        sine.sin_()
        hidden = torch.addmm(trunk_bias, features, of_features)
        hidden.addmm_(sine, of_sine).addmm_(cosine, of_cosine).relu_()
        density = torch.addmv(dense_bias, hidden, dense[0]).clamp_(-EXPONENT_BOUND, EXPONENT_BOUND).exp_()
        colour = torch.addmm(middle_bias, hidden, middle.t())
        colour.view(len(seen_from), -1, colour.shape[1]).add_(seen_from[:, None])
        colour.relu_()
        rgb = torch.addmm(last_bias, colour, last.t()).sigmoid_()
        trained = features if any(ctx.needs_input_grad[1:]) else None
        ctx.save_for_backward(trained, sine, cosine, hidden, density, colour, rgb, trunk, dense, middle, last)
        ctx.num_rays = len(seen_from)
        return density, rgb

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_density: Tensor, grad_rgb: Tensor) -> tuple[Tensor | None, ...]:
        features, sine, cosine, hidden, density, colour, rgb, trunk, dense, middle, last = ctx.saved_tensors
        of_features, of_sine, of_cosine = trunk.chunk(3, 1)
        of_rgb = torch.ops.aten.sigmoid_backward(grad_rgb, rgb)
        of_exponent = grad_density * density
        of_colour = torch.ops.aten.threshold_backward(of_rgb @ last, colour, 0)
        of_hidden = torch.addmm(torch.outer(of_exponent, dense[0]), of_colour, middle)
        of_hidden = torch.ops.aten.threshold_backward(of_hidden, hidden, 0)
        grad_features = of_hidden @ of_features
        grad_features.addcmul_(of_hidden @ (of_sine * math.pi), cosine)
        grad_features.addcmul_(of_hidden @ (of_cosine * math.pi), sine, value=-1)
        if features is None:
            return (grad_features,) + (None,) * 9
        transposed = of_hidden.t()
        grad_trunk = torch.cat([transposed @ part for part in (features, sine, cosine)], 1)
        return (
            grad_features,
            of_colour.view(ctx.num_rays, -1, of_colour.shape[1]).sum(1),
            grad_trunk,
            of_hidden.sum(0),
            (of_exponent @ hidden)[None],
            of_exponent.sum(0, keepdim=True),
            of_colour.t() @ hidden,
            of_colour.sum(0),
            of_rgb.t() @ colour,
            of_rgb.sum(0),
        )


def fourier_embedding(values: Float[Tensor, "*batch width"], frequencies: int) -> Float[Tensor, "*batch embedded"]:
    """The values, then sin(2^k pi v) and cos(2^k pi v) for k < ``frequencies``."""
    parts = [values]
    for octave in range(frequencies):
        angle = values * (math.pi * 2**octave)
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, -1)


class Decoder(nn.Module):
    """Features and unit directions (world) to density (per world unit, >= 0) and colour in [0, 1]."""

    def __init__(self, settings: DecoderSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        embedded = settings.channels * (1 + 2 * settings.frequencies)
        directions = 3 * (1 + 2 * settings.direction_frequencies)
        self.trunk = _linear(embedded, settings.hidden, generator, gain=2.0)
        self.density = _linear(settings.hidden, 1, generator, gain=1.0)
        self.colour_feature = _linear(settings.hidden, settings.colour_hidden, generator, gain=2.0)
        self.colour_direction = _linear(directions, settings.colour_hidden, generator, gain=0.1, bias=False)
        self.colour = _linear(settings.colour_hidden, 3, generator, gain=1.0)
        with torch.no_grad():
            self.density.bias.fill_(settings.density_bias)

    def forward(
        self, features: Float[Tensor, "*batch channel"], directions: Float[Tensor, "*#batch 3"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 3"]]:
        """Density and colour; directions may be one a ray, ``[ray, 1, 3]`` beside ``[ray, sample, channel]``."""
        if self.settings.frequencies == 1 and features.numel():
            return self._forward_one_octave(features, directions)
        hidden = self._hidden(features)
        return self._density(hidden), self._colour(hidden, directions)

    def density_of(self, features: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch"]:
        """Density alone."""
        return self._density(self._hidden(features))

    def _forward_one_octave(self, features: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        seen_from = self.colour_direction(fourier_embedding(directions, self.settings.direction_frequencies))
        batch = features.shape[:-1]
        # One row a ray where rays share a direction over their samples, else one a sample.
        shared = directions.dim() == features.dim() and directions.shape[:-1] == (*batch[:-1], 1)
        seen_from = seen_from if shared else seen_from.expand(*batch, -1)
        layers = (self.trunk, self.density, self.colour_feature, self.colour)
        weights = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        flat = features.reshape(-1, features.shape[-1])
        density, rgb = _OneOctave.apply(flat, seen_from.reshape(-1, seen_from.shape[-1]), *weights)
        return density.reshape(batch), rgb.reshape(*batch, 3)

    def _hidden(self, features: Tensor) -> Tensor:
        return torch.relu(self.trunk(fourier_embedding(features, self.settings.frequencies)))

    def _density(self, hidden: Tensor) -> Tensor:
        density: Tensor = TruncatedExp.apply(self.density(hidden)[..., 0])
        return density

    def _colour(self, hidden: Tensor, directions: Tensor) -> Tensor:
        seen_from = self.colour_direction(fourier_embedding(directions, self.settings.direction_frequencies))
        return torch.sigmoid(self.colour(torch.relu(self.colour_feature(hidden) + seen_from)))


def _linear(inputs: int, outputs: int, generator: torch.Generator, *, gain: float, bias: bool = True) -> nn.Linear:
    """A linear layer drawn from ``generator`` with variance gain / inputs, without touching global state."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    with torch.no_grad():
        layer.weight.normal_(0, math.sqrt(gain / inputs), generator=generator)
        if bias:
            layer.bias.zero_()
    return layer
