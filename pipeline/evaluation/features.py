"""Features that nothing of ours was trained by: a fixed random network's, for distances and as a second judge of sets.

No well-kept package ships weights of a network for pictures inside the package, and nothing is downloaded at run time.
The network is of the kind that ``fit.perceptual_weight`` can use, with other weights; no released fit or model uses it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.evaluation.subject import BATCH, Subject
from rodin_models.image.features import RandomFeatures
from rodin_models.image.perceptual import perceptual_distance

SEED = 20251125
NUM_FEATURES = 64
Extractor = Callable[[Tensor], Tensor]
"""Pictures (image, 3, side, side) to features (image, number)."""


class Judge:
    """Distances of pictures, and features of pictures, by the random network."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self.network = RandomFeatures(generator).eval()
        widths = sum(m.shape[1] for m in self.network(torch.zeros(1, 3, 8, 8)))
        self.projection = torch.linalg.qr(torch.randn((2 * widths, 2 * widths), generator=generator)).Q[
            :, :NUM_FEATURES
        ]

    def distance(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """Perceptual distance of each picture (view, 3, side, side) to its truth."""
        with torch.no_grad():
            return perceptual_distance(self.network, pictures, truth)

    def features(self, pictures: Tensor) -> Tensor:
        """Mean and deviation of every channel over each picture, projected to 64 numbers by a fixed random rotation."""
        with torch.no_grad():
            maps = self.network(pictures)
        pooled = torch.cat([part for m in maps for part in (m.mean((-2, -1)), m.std((-2, -1)))], 1)
        return pooled @ self.projection


def extractors(subject: Subject, judge: Judge) -> dict[str, Extractor]:
    """By name: what FID and KID are taken on."""

    def clip(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            features: Tensor = subject.sampler.clip.image_embeddings(pictures.to(subject.sampler.device)).cpu()
        return features

    return {"our CLIP": clip, "random network": judge.features}


def features_of(extractor: Extractor, pictures: Tensor) -> Tensor:
    """Features of many pictures of many avatars (avatar, view, 3, side, side): (avatar, view, number)."""
    flat = pictures.flatten(0, 1)
    parts = [extractor(flat[first : first + BATCH]) for first in range(0, len(flat), BATCH)]
    return torch.cat(parts).view(*pictures.shape[:2], -1)
