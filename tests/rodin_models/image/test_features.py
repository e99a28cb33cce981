from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from rodin_models.image.features import RandomFeatures, Vgg16Features
from rodin_models.image.perceptual import perceptual_distance


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


@pytest.fixture(scope="module")
def features() -> RandomFeatures:
    return RandomFeatures(_generator())


def test_random_features_come_from_their_seed_and_are_not_trained(features: RandomFeatures) -> None:
    rgb = torch.rand(1, 3, 32, 32, generator=_generator(1))
    before = torch.random.get_rng_state()
    again, other = RandomFeatures(_generator())(rgb), RandomFeatures(_generator(1))(rgb)
    assert torch.equal(torch.random.get_rng_state(), before)
    maps = features(rgb)
    assert [tuple(m.shape) for m in maps] == [(1, 32, 32, 32), (1, 64, 16, 16), (1, 128, 8, 8)]
    assert all(torch.equal(a, b) for a, b in zip(maps, again, strict=True))
    assert not torch.equal(maps[0], other[0])
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_an_edge_moved_by_a_pixel_is_nearer_than_one_blurred_away(features: RandomFeatures) -> None:
    """What squared errors order the other way round: stripes, their blur, and the truth moved by half a period."""
    column = torch.arange(32)
    stripes = (column % 4 < 2).float().expand(1, 3, 32, 32)
    moved, grey = stripes.roll(1, -1), torch.full_like(stripes, 0.5)
    assert (moved - stripes).square().mean() > (grey - stripes).square().mean()
    distance = partial(perceptual_distance, features)
    assert distance(moved, stripes) < distance(grey, stripes)
