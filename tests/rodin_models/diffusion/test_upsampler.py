"""The upsampler: bicubic at the start, trained by planes and by images."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from rodin_models.checkpoint import settings_from_dict
from rodin_models.diffusion.conditioning import AugmentationSettings, ConditionSettings
from rodin_models.diffusion.process import DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings
from rodin_models.diffusion.upsampler import UpsamplerModel, UpsamplerSettings, enlarge, sample, training_loss

TINY = UpsamplerSettings(
    low_side=4,
    unet=UNetSettings(
        side=8,
        in_channels=2,
        out_channels=2,
        extra_channels=2,
        width=16,
        multipliers=(1, 2),
        blocks=1,
        attention_sides=(),
        condition_dim=3,
        dropout=0.0,
        has_level=True,
    ),
    condition=ConditionSettings(dim=3),
    diffusion=DiffusionSettings(timesteps=20, schedule="sigmoid", prediction="x0", input_scale=0.2),
    augmentation=AugmentationSettings(blur=0.5, noise=0.1),
    sample_level=0.0,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Planes that differ from their enlarged low-resolution ones by a checkerboard; any latents."""
    generator = seeded(9)
    low = torch.randn(4, 3, 2, 4, 4, generator=generator)
    checkerboard = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    return enlarge(low, 8) + checkerboard, low, torch.randn(4, 3, generator=generator)


def test_enlarging_keeps_texel_centres() -> None:
    """A ramp over [-1, 1] stays that ramp inside the border that bicubic extends.

    PyTorch's bicubic kernel bends a ramp by up to 3/256 of its range here; half a texel off would be 16/256.
    """

    def ramp(side: int) -> Tensor:
        centres = (2 * torch.arange(side) + 1) / side - 1
        return centres.expand(1, 3, 1, side, side)

    torch.testing.assert_close(enlarge(ramp(8), 16)[..., 4:-4], ramp(16)[..., 4:-4], rtol=0, atol=3.01 / 256)


def test_an_untrained_upsampler_is_bicubic() -> None:
    _, low, latents = pairs()
    model = UpsamplerModel(TINY, seeded(0))
    model.statistics.set(torch.full((3, 2), 0.3), torch.full((3, 2), 2.0))
    made = sample(model, low, latents, num_steps=4, guidance=1.0, generator=seeded(1))
    torch.testing.assert_close(made, enlarge(low, 8), rtol=1e-4, atol=1e-5)


@pytest.mark.seconds
def test_it_learns_what_bicubic_lacks() -> None:
    planes, low, latents = pairs()
    model, generator = UpsamplerModel(TINY, seeded(0)), seeded(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = training_loss(model, planes, low, latents, generator)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made = sample(model, low, latents, num_steps=5, guidance=1.0, generator=seeded(2))
    assert (made - planes).square().mean() < 0.1 * (enlarge(low, 8) - planes).square().mean()


def test_the_image_loss_sees_planes_in_their_own_units_and_its_parts_are_weighted() -> None:
    planes, low, latents = pairs()
    model = UpsamplerModel(replace(TINY, image_weight=0.5, perceptual_weight=0.25), seeded(0)).train()
    model.statistics.set(torch.full((3, 2), 100.0), torch.ones(3, 2))
    seen: list[Tensor] = []

    def image_loss(predicted: Tensor) -> dict[str, Tensor]:
        seen.append(predicted)
        return {"image": predicted.mean(), "perceptual": predicted.square().mean()}

    plain = training_loss(model, planes + 100, low + 100, latents, seeded(3))
    both = training_loss(model, planes + 100, low + 100, latents, seeded(3), image_loss)
    assert set(plain) == {"loss", "error"} and set(both) == {"loss", "error", "image", "perceptual"}
    assert seen[0].mean().item() == pytest.approx(100.0, abs=1.0)
    torch.testing.assert_close(both["loss"], plain["loss"] + 0.5 * both["image"] + 0.25 * both["perceptual"])
    both["loss"].backward()
    assert model.unet.last.weight.grad.any()


def test_low_planes_of_another_side_are_refused() -> None:
    planes, _, latents = pairs()
    with pytest.raises(ValueError, match="side 8, not 4"):
        training_loss(UpsamplerModel(TINY, seeded(0)), planes, planes, latents, seeded(0))


def test_settings_survive_json_and_must_fit() -> None:
    for one in (TINY, UpsamplerSettings()):
        assert settings_from_dict(UpsamplerSettings, json.loads(json.dumps(asdict(one)))) == one
    with pytest.raises(ValueError, match="predicts x0"):
        replace(TINY, diffusion=DiffusionSettings())
    with pytest.raises(ValueError, match="has_level"):
        replace(TINY, unet=replace(TINY.unet, has_level=False))


@pytest.mark.seconds
def test_with_a_residual_what_is_diffused_is_what_enlarging_and_the_mean_detail_leave_over() -> None:
    planes, low, latents = pairs()
    own = torch.randn(4, 3, 2, 8, 8, generator=seeded(4))
    own = own - own.mean(0)
    planes = planes + own
    detail = planes - enlarge(low, 8)
    model = UpsamplerModel(replace(TINY, residual=True), seeded(0))
    model.statistics.set(torch.full((3, 2), 0.3), torch.full((3, 2), 1.5))
    model.set_detail(detail.mean(0), detail.std(0, correction=0))
    enlarged = model.prepare(low, torch.zeros(4), seeded(1))
    rest = model.diffused.normalise(planes) - model.centre(enlarged)
    torch.testing.assert_close(rest.mean(0), torch.zeros_like(rest[0]), rtol=0, atol=1e-4)
    assert (rest.std(0, correction=0) < 1.001).all() and rest.std(0, correction=0).median() > 0.99
    made = sample(model, low, latents, num_steps=10, guidance=1.0, generator=seeded(2))
    torch.testing.assert_close(made, enlarge(low, 8) + detail.mean(0), rtol=1e-4, atol=1e-4)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator, before = seeded(3), (made - planes).square().mean()
    for _ in range(80):
        optimiser.zero_grad()
        training_loss(model, planes, low, latents, generator)["loss"].backward()
        optimiser.step()
    made = sample(model, low, latents, num_steps=10, guidance=1.0, generator=seeded(2))
    assert (made - planes).square().mean() < 0.8 * before


def test_detail_belongs_to_a_residual() -> None:
    with pytest.raises(ValueError, match="diffuses whole planes"):
        UpsamplerModel(TINY, seeded(0)).set_detail(torch.zeros(3, 2, 8, 8), torch.ones(3, 2, 8, 8))


def test_an_image_loss_is_taken_in_float32_whatever_the_network_is_computed_in() -> None:
    planes, low, latents = pairs()
    weight = torch.eye(8)
    seen: list[torch.dtype] = []

    def image_loss(predicted: Tensor) -> dict[str, Tensor]:
        product = predicted @ weight
        seen.extend((predicted.dtype, product.dtype))
        return {"image": product.square().mean()}

    with torch.autocast("cpu", torch.bfloat16):
        training_loss(UpsamplerModel(TINY, seeded(0)), planes, low, latents, seeded(1), image_loss)["loss"].backward()
    assert seen == [torch.float32, torch.float32]


def test_full_planes_that_are_expected_are_enlarged_ones_and_the_mean_detail() -> None:
    planes, low, _ = pairs()
    torch.testing.assert_close(UpsamplerModel(TINY, seeded(0)).expected(low), enlarge(low, 8))
    model = UpsamplerModel(replace(TINY, residual=True), seeded(0))
    model.statistics.set(torch.full((3, 2), 0.7), torch.full((3, 2), 1.3))
    detail = (planes - enlarge(low, 8)).mean(0)
    model.set_detail(detail, torch.ones_like(detail))
    torch.testing.assert_close(model.expected(low), planes, rtol=1e-4, atol=1e-5)
