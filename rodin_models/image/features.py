"""Frozen networks whose feature maps a perceptual distance is taken on: VGG-16, and convolutions of random weights.

The first needs weights that the user has; the second serves where nothing is trained yet.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_VGG_BLOCKS: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WIDTHS: Final = (3, 32, 64, 128)


class Vgg16Features(nn.Module):
    """VGG-16's convolutions (Simonyan and Zisserman 2015, configuration D), frozen, tapped before each pooling."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *(width for block in _VGG_BLOCKS for width in block))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> "Vgg16Features":
        """Read weights named as torchvision names them (``features.0.weight``) from a safetensors file.

        Pickled files are refused, because loading one runs what is in it. Raises ``ValueError``.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if path.suffix != ".safetensors":
            raise ValueError(f"{path} is no .safetensors file: convert the VGG-16 weights, pickles are not loaded")
        try:
            given = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"cannot read the VGG-16 weights {path}: {error}") from error
        network = cls()
        state = {
            f"convolutions.{i}.{kind}": given.get(f"features.{number}.{kind}")
            for i, number in enumerate(_torchvision_numbers())
            for kind in ("weight", "bias")
        }
        for name, own in network.state_dict().items():
            weight = state[name]
            if weight is None or weight.shape != own.shape:
                shape = None if weight is None else tuple(weight.shape)
                raise ValueError(f"{path} is no VGG-16: for {name} it holds {shape}, not {tuple(own.shape)}")
        network.load_state_dict({name: weight for name, weight in state.items() if weight is not None})
        return network

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Five maps: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3. Images of at least 16 pixels."""
        x = (rgb - self.mean) / self.std
        maps: list[Tensor] = []
        layers = iter(self.convolutions)
        for number, block in enumerate(_VGG_BLOCKS):
            x = F.max_pool2d(x, 2) if number else x
            for _ in block:
                x = F.relu(next(layers)(x))
            maps.append(x)
        return maps


def _torchvision_numbers() -> list[int]:
    """Position of each convolution in torchvision's ``features``: each has a ReLU, each block a pooling."""
    numbers, position = [], 0
    for block in _VGG_BLOCKS:
        for _ in block:
            numbers.append(position)
            position += 2
        position += 1
    return numbers


class RandomFeatures(nn.Module):
    """Three convolutions of random, fixed weights, each tapped before its pooling: edges and texture, no meaning.

    Nothing was trained, so nothing has to be downloaded; a distance in such features still prefers an edge where the
    truth has one to its blur, because it compares neighbourhoods. Images of at least 4 pixels.
    """

    def __init__(self, generator: torch.Generator) -> None:
        """Weights are drawn from ``generator`` (CPU); the same seed is the same network."""
        super().__init__()
        self.convolutions = nn.ModuleList(_convolution(a, b, generator) for a, b in pairwise(_WIDTHS))
        self.requires_grad_(False)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Maps at full, half and a quarter of the side."""
        x = (rgb - 0.5) * 4
        maps: list[Tensor] = []
        for number, convolution in enumerate(self.convolutions):
            x = F.avg_pool2d(x, 2) if number else x
            x = F.relu(convolution(x))
            maps.append(x)
        return maps


def _convolution(inside: int, outside: int, generator: torch.Generator) -> nn.Conv2d:
    layer = nn.utils.skip_init(
        nn.Conv2d, inside, outside, kernel_size=3, padding=1, padding_mode="replicate", bias=False
    )
    nn.init.normal_(layer.weight, 0, math.sqrt(2 / (9 * inside)), generator=generator)
    return layer
