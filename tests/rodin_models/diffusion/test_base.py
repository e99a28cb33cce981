"""The base diffusion: it learns, follows its latent, and speaks planes in their own units."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from rodin_models.checkpoint import settings_from_dict
from rodin_models.diffusion.base import BaseModel, BaseSettings, sample, training_loss, weights_of_texels
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.process import DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings

TINY = BaseSettings(
    unet=UNetSettings(
        side=8,
        in_channels=2,
        out_channels=2,
        width=16,
        multipliers=(1, 2),
        blocks=1,
        attention_sides=(4,),
        condition_dim=3,
        dropout=0.0,
    ),
    condition=ConditionSettings(dim=3),
    diffusion=DiffusionSettings(timesteps=100, input_scale=0.3),
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_avatars() -> tuple[Tensor, Tensor]:
    """Two avatars of opposite planes of 10 and 14, far from standardised, and their latents."""
    pattern = torch.randn(3, 2, 8, 8, generator=seeded(8)).sign()
    return torch.stack((12 + 2 * pattern, 12 - 2 * pattern)), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def trained(steps: int) -> tuple[BaseModel, list[float]]:
    planes, latents = two_avatars()
    model, generator = BaseModel(TINY, seeded(0)), seeded(1)
    model.statistics.set(torch.full((3, 2), 12.0), torch.full((3, 2), 2.0))
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        loss = training_loss(model, planes.repeat(2, 1, 1, 1, 1), latents.repeat(2, 1), generator)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.seconds
def test_it_learns_to_follow_the_latent() -> None:
    model, losses = trained(steps=100)
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
    planes, latents = two_avatars()
    made = sample(model, latents, num_samples=2, num_steps=20, guidance=1.0, generator=seeded(2))
    assert model.training
    error = (made - planes).abs().mean((1, 2, 3, 4))
    crossed = (made.flip(0) - planes).abs().mean((1, 2, 3, 4))
    # The avatars are 4 apart; a model that ignored the latent would be 2 from either.
    assert (error < 1.8).all() and (crossed > 2.8).all()


def test_unconditional_samples_are_those_of_no_latent() -> None:
    model = BaseModel(TINY, seeded(0))
    _, latents = two_avatars()
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(5)))
    kwargs = {"num_samples": 2, "num_steps": 4}
    none, zero, one = (
        sample(model, given, guidance=guidance, generator=seeded(3), **kwargs)
        for given, guidance in ((None, 2.0), (latents, 0.0), (latents, 1.0))
    )
    assert torch.equal(none, zero)
    assert not torch.equal(none, one)


def test_the_loss_is_the_same_inside_distributed_data_parallel() -> None:
    planes, latents = two_avatars()
    alone = BaseModel(TINY, seeded(0))
    expected = training_loss(alone, planes, latents, seeded(1))["loss"]
    expected.backward()
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        model = BaseModel(TINY, seeded(0))
        wrapped = DistributedDataParallel(model)
        loss = training_loss(wrapped, planes, latents, seeded(1))["loss"]
        loss.backward()
    finally:
        distributed.destroy_process_group()
    assert torch.equal(loss, expected)
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_settings_survive_json() -> None:
    settings = replace(TINY, diffusion=replace(TINY.diffusion, min_snr=5.0))
    for one in (settings, BaseSettings()):
        assert settings_from_dict(BaseSettings, json.loads(json.dumps(asdict(one)))) == one


def test_settings_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="condition_dim"):
        replace(TINY, condition=ConditionSettings(dim=4))
    with pytest.raises(ValueError, match="2 latents for 3 samples"):
        sample(
            BaseModel(TINY, seeded(0)),
            torch.zeros(2, 3),
            num_samples=3,
            num_steps=1,
            guidance=1.0,
            generator=seeded(0),
        )


LINEAR = replace(TINY, linear=True, unet=replace(TINY.unet, extra_channels=2))


@pytest.mark.seconds
@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_untrained_it_draws_the_linear_prediction_and_the_mean_where_there_is_no_latent(prediction: str) -> None:
    settings = replace(LINEAR, diffusion=replace(TINY.diffusion, prediction=prediction))
    model = BaseModel(settings, seeded(0))
    planes, latents = two_avatars()
    model.set_texel_statistics(torch.full((3, 2, 8, 8), 12.0), torch.full((3, 2, 8, 8), 0.01))
    kwargs = {"num_samples": 2, "num_steps": 20, "generator": seeded(3)}
    made = sample(model, latents, guidance=1.0, predicted=planes, **kwargs)
    # An untrained x0 model leaves nothing over, an untrained v model noise of the residual's size.
    torch.testing.assert_close(made, planes, rtol=0, atol=1e-4 if prediction == "x0" else 0.08)
    made = sample(model, None, guidance=1.0, **kwargs)
    torch.testing.assert_close(made, torch.full_like(made, 12.0), rtol=0, atol=0.08)
    beyond = sample(model, latents, guidance=2.0, predicted=planes, **kwargs)
    torch.testing.assert_close(beyond, 2 * planes - 12.0, rtol=0, atol=0.2)


def test_a_linear_prediction_that_is_missing_is_said() -> None:
    model = BaseModel(LINEAR, seeded(0)).eval()
    planes, latents = two_avatars()
    with pytest.raises(ValueError, match="needs the linear prediction"):
        model(planes, torch.full((2,), 0.5), latents)
    with pytest.raises(ValueError, match="extra channels"):
        replace(TINY, linear=True)


def test_texels_that_hardly_change_keep_a_floor() -> None:
    model = BaseModel(LINEAR, seeded(0))
    deviation = torch.ones(3, 2, 8, 8)
    deviation[0, 0, 0, 0] = 0.0
    model.set_texel_statistics(torch.zeros(3, 2, 8, 8), deviation)
    assert 0.05 < model.statistics.std[0, 0, 0, 0] < 0.15 and model.statistics.std[0, 0, 1, 1] == 1.0


def test_texels_that_show_weigh_more_and_the_mean_weight_is_one() -> None:
    model = BaseModel(LINEAR, seeded(0))
    deviation = torch.ones(3, 2, 8, 8)
    deviation[1] = 3.0
    model.set_texel_statistics(torch.zeros(3, 2, 8, 8), deviation)
    sensitivity = torch.zeros(3, 2, 8, 8)
    sensitivity[:2, :, :4] = 1.0
    weights = weights_of_texels(model, sensitivity, 0.8)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    torch.testing.assert_close(weights[2], torch.full((2, 8, 8), 0.2))
    torch.testing.assert_close(weights[1, 0, 0, 0] - 0.2, 9 * (weights[0, 0, 0, 0] - 0.2))
    assert torch.equal(weights_of_texels(model, sensitivity, 0.0), torch.ones(3, 2, 8, 8))
    planes, latents = two_avatars()
    plain = training_loss(model.eval(), planes, latents, seeded(1), planes, texel_weight=torch.ones(3, 2, 8, 8))
    twice = training_loss(model, planes, latents, seeded(1), planes, texel_weight=torch.full((3, 2, 8, 8), 2.0))
    torch.testing.assert_close(twice["loss"], 2 * plain["loss"])
    assert twice["error"] == plain["error"] == training_loss(model, planes, latents, seeded(1), planes)["error"]


def test_less_of_what_is_left_over_lies_nearer_to_the_prediction() -> None:
    model = BaseModel(LINEAR, seeded(0))
    planes, latents = two_avatars()
    model.set_texel_statistics(torch.full((3, 2, 8, 8), 12.0), torch.ones(3, 2, 8, 8))
    whole, half, none = (
        sample(
            model,
            latents,
            num_samples=2,
            num_steps=5,
            guidance=1.0,
            generator=seeded(3),
            predicted=planes,
            left_over=share,
        )
        for share in (1.0, 0.5, 0.0)
    )
    assert (whole - planes).abs().mean() > 0.1
    torch.testing.assert_close(half - planes, (whole - planes) / 2, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(none, planes)


def test_autoguidance_leads_from_an_early_state_to_the_model_and_beyond() -> None:
    # One step of pure noise is the prediction of x_0, in which guidance is linear.
    settings = replace(TINY, diffusion=DiffusionSettings(timesteps=100, prediction="x0"))
    full, early = (BaseModel(settings, seeded(seed)) for seed in (0, 1))
    for model in (full, early):
        torch.nn.init.normal_(model.unet.last.weight, generator=seeded(2))
    _, latents = two_avatars()

    def drawn(model: BaseModel, **more: object) -> Tensor:
        return sample(model, latents, num_samples=2, num_steps=1, guidance=1.0, generator=seeded(3), **more)  # type: ignore[arg-type]

    one, two = drawn(full), drawn(early)
    assert not torch.allclose(one, two, atol=1e-2)
    torch.testing.assert_close(drawn(full, early=early, autoguidance=3.0), two + 3 * (one - two), rtol=1e-4, atol=1e-4)
    assert torch.equal(drawn(full, early=early, autoguidance=1.0), one)
    torch.testing.assert_close(drawn(full, early=full, autoguidance=3.0), one, rtol=1e-4, atol=1e-4)
