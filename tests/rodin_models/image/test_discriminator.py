import pytest
import torch

from rodin_models.image.discriminator import PatchDiscriminator, adversarial_terms


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class _Brightness(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.gain * image.mean(1, keepdim=True)


def test_terms_of_known_scores() -> None:
    made, real = torch.full((2, 3, 4, 4), 0.25), torch.full((2, 3, 4, 4), 0.75)
    maker, hinge = adversarial_terms(_Brightness(), made, real)
    # scores 0.5 and 1.5: the maker's term is -0.5; hinges max(0, 1 - 1.5) = 0 and max(0, 1 + 0.5) = 1.5
    assert maker.item() == pytest.approx(-0.5)
    assert hinge.item() == pytest.approx(0.75)


def test_each_term_reaches_one_side_only() -> None:
    discriminator = PatchDiscriminator(4, 8, _generator())
    made = torch.rand(2, 4, 32, 32, generator=_generator(), requires_grad=True)
    real = torch.rand(2, 4, 32, 32, generator=_generator(1), requires_grad=True)
    maker, hinge = adversarial_terms(discriminator, made, real)
    maker.backward()
    assert made.grad is not None and made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    made.grad = None
    hinge.backward()
    assert made.grad is None and real.grad is None
    assert discriminator.score.bias.grad is not None
    weights = [p for n, p in discriminator.named_parameters() if n.endswith("weight")]
    assert len(weights) == 4 and all(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)


def test_it_learns_to_tell_noise_from_stripes() -> None:
    discriminator = PatchDiscriminator(3, 8, _generator())
    generator = _generator(2)
    stripes = torch.zeros(4, 3, 32, 32)
    stripes[..., ::4] = 1
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    for _ in range(60):
        _, hinge = adversarial_terms(discriminator, torch.rand(4, 3, 32, 32, generator=generator), stripes)
        optimizer.zero_grad()
        hinge.backward()
        optimizer.step()
    with torch.no_grad():
        noise = discriminator(torch.rand(4, 3, 32, 32, generator=generator))
        assert noise.shape == (4, 1, 4, 4)
        assert discriminator(stripes).min() > noise.max()
