import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rodin_models.image.perceptual import perceptual_distance, random_patches


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _two_layers(rgb: Tensor) -> list[Tensor]:
    return [rgb, F.avg_pool2d(rgb, 4)]


def test_distance_of_orthogonal_features() -> None:
    red, green = torch.zeros(2, 1, 3, 8, 8)
    red[:, 0], green[:, 1] = 1, 1
    # unit vectors at a right angle: squared distance 2 everywhere, in both layers
    assert perceptual_distance(_two_layers, red, green).tolist() == pytest.approx([4.0])
    assert perceptual_distance(_two_layers, red, 0.3 * red).tolist() == pytest.approx([0.0], abs=1e-6)


def test_gradient_reaches_the_image_only() -> None:
    image = torch.rand(2, 3, 8, 8, generator=_generator(), requires_grad=True)
    truth = torch.rand(2, 3, 8, 8, generator=_generator(1), requires_grad=True)
    perceptual_distance(_two_layers, image, truth).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert truth.grad is None


def test_patches_lie_at_the_same_place() -> None:
    index = torch.arange(16 * 12, dtype=torch.float32).reshape(1, 1, 16, 12).expand(5, 1, 16, 12)
    first, second = random_patches((index, -index), 6, _generator())
    assert first.shape == (5, 1, 6, 6)
    assert torch.equal(first, -second)
    assert torch.equal(first[:, 0, 1, 1] - first[:, 0, 0, 0], torch.full((5,), 13.0))  # a row of 12 and one
    assert len(set(first[:, 0, 0, 0].tolist())) > 1
    (whole,) = random_patches((index,), 16, _generator())
    assert torch.equal(whole, index)
