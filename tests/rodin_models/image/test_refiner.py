import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rodin_models.image.refiner import Refiner, RefinerSettings, degrade, enlarged, refine, training_loss

SMALL = RefinerSettings(width=16, multipliers=(1, 2), latent_dim=8)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _smooth_images(count: int, side: int, seed: int = 0) -> Tensor:
    noise = torch.rand(count, 4, 8, 8, generator=_generator(seed))
    return F.interpolate(noise, (side, side), mode="bilinear")


def test_settings_survive_json() -> None:
    text = json.dumps(dataclasses.asdict(SMALL))
    loaded = json.loads(text)
    assert RefinerSettings(**{**loaded, "multipliers": tuple(loaded["multipliers"])}) == SMALL


@pytest.mark.parametrize(
    ("change", "message"),
    [({"scale": 3}, "power of two"), ({"width": 20}, "multiple of 16"), ({"multipliers": ()}, "at least one level")],
)
def test_settings_refuse_what_cannot_be_built(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("alpha", [True, False])
def test_untrained_refiner_enlarges_bicubically(scale: int, alpha: bool) -> None:
    refiner = Refiner(dataclasses.replace(SMALL, scale=scale, alpha=alpha), _generator())
    image = torch.rand(2, refiner.settings.channels, 16, 12, generator=_generator())
    refined = refine(refiner, image, torch.randn(2, 8, generator=_generator()))
    assert refined.shape == (2, refiner.settings.channels, scale * 16, scale * 12)
    assert torch.equal(refined, enlarged(image, scale).clamp(0, 1))


def test_same_generator_same_weights_and_global_state_untouched() -> None:
    state = torch.get_rng_state()
    first, second, other = (Refiner(SMALL, _generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.enter.weight, other.enter.weight)


def test_latent_modulates_and_the_dropped_one_is_the_null_latent() -> None:
    refiner = Refiner(SMALL, _generator())
    torch.nn.init.normal_(refiner.leave.weight, generator=_generator())
    torch.nn.init.normal_(refiner.null_latent, generator=_generator())
    image = torch.rand(1, 4, 16, 16, generator=_generator()).expand(3, 4, 16, 16)
    latent = torch.randn(3, 8, generator=_generator())
    with torch.no_grad():
        plain, without = refiner(image, latent), refiner(image)
        mixed = refiner(image, latent, torch.tensor([False, True, False]))
    assert not torch.allclose(plain[0], plain[1])
    assert torch.allclose(mixed[1], without[1], atol=1e-5)
    assert torch.allclose(mixed[[0, 2]], plain[[0, 2]], atol=1e-5)


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="15 x 16 pixels: sides must be multiples of 2"):
        Refiner(SMALL, _generator())(torch.zeros(1, 4, 15, 16))


def test_training_beats_bicubic_on_blurred_images() -> None:
    settings = dataclasses.replace(SMALL, degradation=0.0)
    refiner = Refiner(settings, _generator())
    target = (_smooth_images(4, 32) > 0.5).float()
    rendered = F.interpolate(target, scale_factor=0.5, mode="bilinear", antialias=True)
    latent = torch.randn(4, 8, generator=_generator())
    optimizer = torch.optim.Adam(refiner.parameters(), 2e-3)
    generator = _generator(2)
    losses = []
    for _ in range(40):
        loss = training_loss(refiner, settings, rendered, target, latent, features=None, generator=generator)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx((enlarged(rendered, 2) - target).abs().mean().item(), rel=1e-5)
    refined = refine(refiner, rendered, latent)
    assert (refined - target).abs().mean() < 0.7 * (enlarged(rendered, 2).clamp(0, 1) - target).abs().mean()


def test_every_parameter_gets_a_gradient_and_the_loss_is_repeatable() -> None:
    settings = dataclasses.replace(SMALL, perceptual_weight=0.5, adversarial_weight=0.25, patch=16, latent_drop=0.5)
    refiner = Refiner(settings, _generator())
    torch.nn.init.normal_(refiner.leave.weight, std=0.1, generator=_generator())
    rendered, target = _smooth_images(4, 16), _smooth_images(4, 32)
    latent = torch.randn(4, 8, generator=_generator())

    def losses(seed: int) -> dict[str, Tensor]:
        return training_loss(
            refiner, settings, rendered, target, latent, features=lambda x: [x], generator=_generator(seed)
        )

    parts = losses(0)
    weights = {"l1": 1, "perceptual": 0.5, "adversarial": 0.25, "discriminator": 1}
    assert parts["loss"].item() == pytest.approx(sum(w * parts[n].item() for n, w in weights.items()), rel=1e-5)
    assert torch.equal(losses(0)["loss"], parts["loss"])
    assert not torch.equal(losses(1)["loss"], parts["loss"])
    parts["loss"].backward()
    idle = [n for n, p in refiner.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # within both hinges, what the discriminator's last bias gains on real patches it loses on made ones
    assert idle == ["discriminator.score.bias"]


def test_perceptual_weight_needs_features() -> None:
    settings = dataclasses.replace(SMALL, perceptual_weight=1.0)
    with pytest.raises(ValueError, match="no feature network"):
        training_loss(
            Refiner(settings, _generator()),
            settings,
            torch.rand(1, 4, 16, 16),
            torch.rand(1, 4, 32, 32),
            torch.zeros(1, 8),
            features=None,
            generator=_generator(),
        )


def test_degradation_blurs_keeps_constants_and_spares_alpha_its_noise() -> None:
    image = _smooth_images(3, 32)
    assert torch.equal(degrade(image, 0.0, _generator()), image)
    degraded = degrade(image, 1.0, _generator())
    assert degraded.shape == image.shape
    assert degraded.min() >= 0 and degraded.max() <= 1
    assert not torch.allclose(degraded, image)
    sharp = (torch.rand(1, 4, 32, 32, generator=_generator()) > 0.5).float()
    assert degrade(sharp, 1.0, _generator())[:, 3].var() < 0.5 * sharp[:, 3].var()
    constant = degrade(torch.full((2, 4, 32, 32), 0.5), 1.0, _generator())
    assert torch.allclose(constant[:, 3], torch.tensor(0.5), atol=1e-5)
    assert constant[:, :3].std() > 1e-3
