"""Latent diffusion: one model from noise and from text."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from rodin_models.checkpoint import settings_from_dict
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.latent import LatentModel, LatentSettings, sample, training_loss
from rodin_models.diffusion.process import DiffusionSettings

pytestmark = pytest.mark.seconds

TINY = LatentSettings(
    dim=4,
    width=32,
    layers=2,
    condition=ConditionSettings(dim=2),
    diffusion=DiffusionSettings(timesteps=100),
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents_of_two_texts(count: int) -> tuple[Tensor, Tensor]:
    """Text (1, 0) means latents about 5, text (0, 1) latents about 9; deviation 0.2."""
    generator = seeded(4)
    text = torch.eye(2).repeat(count // 2, 1)
    return 5 + 4 * text[:, 1:] + 0.2 * torch.randn(count, 4, generator=generator), text


@pytest.fixture(scope="module")
def model() -> LatentModel:
    latents, text = latents_of_two_texts(256)
    model, generator = LatentModel(TINY, seeded(0)), seeded(1)
    model.statistics.set_from(latents)
    model.condition.statistics.set_from(text)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        loss = training_loss(model, latents, text, generator)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def test_text_decides(model: LatentModel) -> None:
    text = torch.eye(2).repeat_interleave(100, dim=0)
    made = sample(model, text, num_samples=200, num_steps=50, guidance=1.0, generator=seeded(2))
    assert made[:100].mean().item() == pytest.approx(5.0, abs=0.25)
    assert made[100:].mean().item() == pytest.approx(9.0, abs=0.25)


def test_without_text_both_kinds_come(model: LatentModel) -> None:
    made = sample(model, None, num_samples=400, num_steps=50, guidance=1.0, generator=seeded(2)).mean(1)
    low, high = (made < 6).float().mean().item(), (made > 8).float().mean().item()
    assert low > 0.3 and high > 0.3 and low + high > 0.9


def test_training_without_text_trains_the_null_alone() -> None:
    model = LatentModel(TINY, seeded(0)).train()
    with torch.no_grad():
        for block in model.blocks:
            block.modulation.weight.normal_(generator=seeded(1))
        model.project_out.weight.normal_(generator=seeded(1))
    training_loss(model, torch.randn(8, 4, generator=seeded(2)), None, seeded(3))["loss"].backward()
    assert model.condition.null.grad.any()


def test_an_untrained_model_predicts_zero() -> None:
    out = LatentModel(TINY, seeded(0)).eval()(torch.ones(3, 4), torch.ones(3), None)
    assert torch.equal(out, torch.zeros(3, 4))


def test_settings_survive_json() -> None:
    for one in (TINY, LatentSettings()):
        assert settings_from_dict(LatentSettings, json.loads(json.dumps(asdict(one)))) == one
    with pytest.raises(ValueError, match="width 0"):
        LatentSettings(width=0)
