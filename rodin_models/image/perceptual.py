"""A perceptual distance: how far apart two images are in a frozen network's features, here on small patches.

Zhang et al. 2018 (LPIPS), equation 1 with all channel weights 1: features are brought to unit length at every
position, squared differences averaged over positions and summed over layers. The network is any callable from
images to feature maps: the vision tower of :class:`rodin_models.image.clip.Clip` (its ``vision_maps``) or VGG-16.

Left out: LPIPS' learned channel weights.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

FeatureMaps = Callable[[Tensor], Sequence[Tensor]]
"""Images (b, 3, h, w) in [0, 1] to maps (b, c, i, j), one a layer."""

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


def _unit(x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b c i j"]:
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + _EPSILON)
