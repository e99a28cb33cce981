from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from rodin_models.image.perceptual import Vgg16Features, perceptual_distance, random_patches


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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random VGG-16 weights under the names and shapes that torchvision's checkpoint has."""
    generator = _generator()
    layout = {
        0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256),
        17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
    }  # fmt: skip
    tensors = {}
    for number, (inside, outside) in layout.items():
        tensors[f"features.{number}.weight"] = torch.randn(outside, inside, 3, 3, generator=generator) * 0.05
        tensors[f"features.{number}.bias"] = torch.randn(outside, generator=generator) * 0.05
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(tensors, path)
    return path


def test_vgg_reads_torchvision_names_and_works_on_patches(weights: Path) -> None:
    from safetensors.torch import load_file

    network = Vgg16Features.from_file(weights)
    rgb = torch.rand(2, 3, 64, 64, generator=_generator())
    maps = network(rgb)
    assert [tuple(m.shape) for m in maps] == [
        (2, 64, 64, 64),
        (2, 128, 32, 32),
        (2, 256, 16, 16),
        (2, 512, 8, 8),
        (2, 512, 4, 4),
    ]
    given = load_file(weights)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    x = (rgb - mean[:, None, None]) / std[:, None, None]
    for number in (0, 2):
        x = F.relu(F.conv2d(x, given[f"features.{number}.weight"], given[f"features.{number}.bias"], padding=1))
    assert torch.allclose(maps[0], x, atol=1e-5)
    last = given["features.28.bias"]
    assert torch.equal(network.convolutions[12].bias, last)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_vgg_refuses_pickles_missing_files_and_other_networks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickles are not loaded"):
        Vgg16Features.from_file(tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match="cannot read"):
        Vgg16Features.from_file(tmp_path / "missing.safetensors")
    save_file({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"is no VGG-16.*\(64, 3, 5, 5\), not \(64, 3, 3, 3\)"):
        Vgg16Features.from_file(tmp_path / "other.safetensors")
