import math

import pytest
import torch

from rodin_models.field.decoder import Decoder, DecoderSettings, TruncatedExp, fourier_embedding


def test_the_embedding_by_hand():
    embedded = fourier_embedding(torch.tensor([[0.25, -0.5]]), 2)
    expected = [0.25, -0.5]
    for octave in (1, 2):
        expected += [math.sin(octave * math.pi * v) for v in (0.25, -0.5)]
        expected += [math.cos(octave * math.pi * v) for v in (0.25, -0.5)]
    assert torch.allclose(embedded, torch.tensor([expected]), atol=1e-6)


def test_truncated_exp_within_its_bounds_is_exp():
    x = torch.linspace(-14, 4, 20, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(TruncatedExp.apply(x), x.exp())
    assert torch.autograd.gradcheck(TruncatedExp.apply, (x,))


def test_truncated_exp_neither_explodes_nor_stalls():
    x = torch.tensor([80.0, -80.0], requires_grad=True)
    y = TruncatedExp.apply(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(y, torch.tensor([math.exp(15), math.exp(-15)]))
    assert torch.allclose(grad, torch.tensor([math.exp(15), math.exp(-15)]))


def test_the_direction_enters_the_colour_only():
    decoder = Decoder(DecoderSettings(channels=4), torch.Generator().manual_seed(0))
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    front, side = torch.tensor([[0.0, 0.0, -1.0]]).expand(6, 3), torch.tensor([[1.0, 0.0, 0.0]]).expand(6, 3)
    (density_front, rgb_front), (density_side, rgb_side) = decoder(features, front), decoder(features, side)
    assert torch.equal(density_front, density_side)
    assert torch.allclose(density_front, decoder.density_of(features), rtol=1e-5)
    assert (rgb_front - rgb_side).abs().max() > 1e-3
    assert (density_front > 0).all()
    assert (rgb_front > 0).all()
    assert (rgb_front < 1).all()


def test_one_direction_a_ray_is_the_same_as_one_a_sample():
    decoder = Decoder(DecoderSettings(channels=4), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(5, 7, 4, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(5, 1, 3, generator=generator), dim=-1)
    for ray, sample in zip(decoder(features, directions), decoder(features, directions.expand(5, 7, 3)), strict=True):
        assert torch.allclose(ray, sample, atol=1e-6)


def test_a_decoder_comes_from_its_generator_alone():
    before = torch.random.get_rng_state()
    first, same, other = (Decoder(DecoderSettings(), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
    assert not torch.equal(first.trunk.weight, other.trunk.weight)


def plain(decoder, features, directions):
    """The decoder layer by layer, as autograd sees it."""
    hidden = torch.relu(decoder.trunk(fourier_embedding(features, 1)))
    seen_from = decoder.colour_direction(fourier_embedding(directions, 1))
    rgb = torch.sigmoid(decoder.colour(torch.relu(decoder.colour_feature(hidden) + seen_from)))
    return TruncatedExp.apply(decoder.density(hidden)[..., 0]), rgb


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("directions_shape", [(5, 1, 3), (5, 7, 3), (1, 3)])
def test_one_octave_by_hand_is_the_plain_decoder(directions_shape, trained):
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(DecoderSettings(channels=4), generator).double().requires_grad_(trained)
    features = torch.randn(5, 7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    directions = torch.nn.functional.normalize(
        torch.randn(directions_shape, generator=generator, dtype=torch.float64), dim=-1
    )
    wanted = (features, *decoder.parameters()) if trained else (features,)
    results = []
    for density, rgb in (plain(decoder, features, directions), decoder(features, directions)):
        grads = torch.autograd.grad(density.log().square().sum() + rgb.square().sum(), wanted)
        results.append((density, rgb, *grads))
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(expected, found, atol=1e-12)


def test_one_octave_by_hand_passes_gradcheck():
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(DecoderSettings(channels=2, hidden=5, colour_hidden=4), generator).double()
    features = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(3, 1, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = [parameter.detach().requires_grad_() for parameter in decoder.parameters()]
    names = [name for name, _ in decoder.named_parameters()]

    def call(features, directions, *weights):
        return torch.func.functional_call(decoder, dict(zip(names, weights, strict=True)), (features, directions))

    assert torch.autograd.gradcheck(call, (features, directions, *weights))


def test_a_frozen_decoder_of_other_octaves_and_of_nothing_works():
    decoder = Decoder(DecoderSettings(channels=4, frequencies=2), torch.Generator()).requires_grad_(False)
    density, rgb = decoder(torch.zeros(2, 3, 4), torch.zeros(2, 1, 3))
    assert (density.shape, rgb.shape) == ((2, 3), (2, 3, 3))
    decoder = Decoder(DecoderSettings(channels=4), torch.Generator()).requires_grad_(False)
    assert decoder(torch.zeros(0, 3, 4), torch.zeros(0, 1, 3))[1].shape == (0, 3, 3)
