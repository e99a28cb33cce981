"""A perceptual distance: how far apart two images are in a frozen network's features, here on small patches.

Zhang et al. 2018 (LPIPS), equation 1 with all channel weights 1: features are brought to unit length at every
position, squared differences averaged over positions and summed over layers. The network is any callable from
images to feature maps: the vision tower of :class:`rodin_models.image.clip.Clip` (its ``vision_maps``) or VGG-16.

Left out: LPIPS' learned channel weights.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

FeatureMaps = Callable[[Tensor], Sequence[Tensor]]
"""Images (b, 3, h, w) in [0, 1] to maps (b, c, i, j), one a layer."""

_VGG_BLOCKS: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPSILON: Final = 1e-10


def perceptual_distance(
    features: FeatureMaps, image: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b"]:
    """Distance of each image of [0, 1] to its truth; 0 for equal ones. Gradients flow to ``image`` alone."""
    with torch.no_grad():
        expected = features(truth.detach())
    distances = [
        reduce((_unit(a) - _unit(b)).square(), "b c i j -> b i j", "sum").mean((-2, -1))
        for a, b in zip(features(image), expected, strict=True)
    ]
    return torch.stack(distances).sum(0)


def random_patches(
    images: Sequence[Float[Tensor, "b _ h w"]], size: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """One square patch of ``size`` pixels from each image, at the same place in all of ``images``.

    Images that are no larger than the patch come back whole.
    """
    height, width = images[0].shape[-2:]
    tall, wide = min(size, height), min(size, width)
    rows = torch.randint(height - tall + 1, (len(images[0]),), generator=generator).tolist()
    columns = torch.randint(width - wide + 1, (len(images[0]),), generator=generator).tolist()
    places = list(zip(rows, columns, strict=True))
    return tuple(
        torch.stack([image[:, r : r + tall, c : c + wide] for image, (r, c) in zip(batch, places, strict=True)])
        for batch in images
    )


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


def _unit(x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b c i j"]:
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + _EPSILON)
