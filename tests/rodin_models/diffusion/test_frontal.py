"""The frontal diffusion: what is expected of a latent, and pictures drawn around it."""

import json
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from support.learning import before_and_after
from torch import Tensor

from rodin_models.checkpoint import settings_from_dict
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.frontal import (
    SMALL,
    ExpectedPicture,
    FrontalModel,
    FrontalSettings,
    picture_unet,
    sample,
    training_loss,
)
from rodin_models.diffusion.process import DiffusionSettings

SIDE, DIM, PEOPLE = 64, 3, 12
SETTINGS = FrontalSettings(
    unet=replace(
        picture_unet(), side=SIDE, width=16, multipliers=(1, 2), attention_sides=(), dropout=0.0, condition_dim=DIM
    ),
    condition=ConditionSettings(dim=DIM, dropout=0.0),
    diffusion=DiffusionSettings(timesteps=20, prediction="v", input_scale=0.5, clip=4.0),
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def people(num: int = PEOPLE) -> tuple[Tensor, Tensor]:
    """Smooth pictures that are linear in latents, with stripes of one pixel that no small picture shows."""
    latents = torch.randn(num, DIM, generator=seeded(1))
    shades = torch.linspace(0.3, 0.7, SIDE).expand(3, SIDE, SIDE)
    smooth = 0.5 + 0.05 * torch.einsum("nd,dchw->nchw", latents, torch.stack((shades, shades.mT, shades.flip(-1))))
    return smooth + 0.1 * (torch.arange(SIDE) % 2 - 0.5), latents


def fitted() -> tuple[FrontalModel, Tensor, Tensor, Tensor]:
    """A model, its pictures and latents, and what is expected of them."""
    model, (pictures, latents) = FrontalModel(SETTINGS, seeded(0)), people()
    small, _ = model.expected.fit(pictures, latents, PEOPLE)
    model.set_statistics(pictures, small)
    model.plane.condition.statistics.set_from(latents)
    return model, pictures, latents, model.expected.enlarged(small)


def test_a_latent_says_the_small_picture() -> None:
    pictures, latents = people(40)
    expected = ExpectedPicture(DIM, SIDE)
    unseen, explained = expected.fit(pictures[:30], latents[:30], 30)
    small = F.interpolate(pictures, (SMALL, SMALL), mode="area")
    assert explained > 0.99
    torch.testing.assert_close(unseen, small[:30].flatten(1), rtol=0, atol=0.02)
    strangers = F.interpolate(expected(latents[30:]), (SMALL, SMALL), mode="area")
    torch.testing.assert_close(strangers, small[30:], rtol=0, atol=0.02)


def test_what_is_expected_of_somebody_is_what_all_others_say() -> None:
    """Leaving out each person with the mirror image, against a fit without them."""
    pictures, latents = people(8)
    pictures = pictures + 0.1 * torch.randn(pictures.shape, generator=seeded(3))
    both, twice = torch.cat((pictures, pictures.flip(-1))), torch.cat((latents, latents + 0.3))
    expected = ExpectedPicture(DIM, SIDE)
    unseen, _ = expected.fit(both, twice, 8)
    own = F.interpolate(both, (SMALL, SMALL), mode="area").flatten(1)
    seen = expected.average + expected.latents.normalise(twice) @ expected.weight
    assert (unseen - own).square().mean() > (seen - own).square().mean(), "it is harder unseen"


def test_pixels_are_in_units_of_what_is_not_expected() -> None:
    model, pictures, _, expected = fitted()
    off = (pictures - expected).square().mean(0).sqrt()
    std = model.plane.statistics.std[0]
    shown = off > 0.2 * off.square().mean().sqrt()
    torch.testing.assert_close(std[shown], off[shown], rtol=1e-4, atol=1e-5)
    assert std.min() > 0
    torch.testing.assert_close(model.plane.statistics.mean[0], pictures.mean(0))


def test_training_finds_what_no_latent_says() -> None:
    """Stripes of one pixel: the expected pictures have none, what is drawn has them."""
    model, pictures, latents, expected = fitted()
    generator = seeded(2)

    def loss() -> Tensor:
        return training_loss(model, pictures, latents, expected, generator)["loss"]

    first, last = before_and_after(loss, model.parameters())
    assert last < 0.5 * first
    drawn = sample(model, latents, num_steps=10, guidance=1.0, generator=seeded(4))
    assert drawn.shape == pictures.shape and drawn.min() >= 0 and drawn.max() <= 1
    blurred = model.expected(latents)
    assert (drawn - pictures).square().mean() < 0.3 * (blurred - pictures).square().mean()


def test_the_same_noise_draws_the_same_picture() -> None:
    model, _, latents, _ = fitted()
    torch.nn.init.normal_(model.plane.unet.last.weight, std=0.02, generator=seeded(6))
    steps = []
    first, again, other = (
        sample(model, latents[:2], num_steps=4, guidance=1.0, generator=seeded(seed), on_step=lambda: steps.append(0))
        for seed in (5, 5, 6)
    )
    assert first.equal(again) and not first.equal(other) and len(steps) == 12


def test_latents_that_are_off_make_one_expect_what_belongs_to_them() -> None:
    """With noise, what the network is shown is the regression of the latents that it is shown; without, as given."""
    model, pictures, latents, _ = fitted()
    seen = []
    model.register_forward_pre_hook(lambda module, given: seen.append(given[2:4]))
    for noise in (0.0, 0.7):
        training_loss(model, pictures, latents, model.expected(latents), seeded(8), latent_noise=noise)
    (plain, plain_expected), (off, off_expected) = seen
    assert plain.equal(latents) and plain_expected.equal(model.expected(latents))
    torch.testing.assert_close(off_expected, model.expected(off), rtol=1e-4, atol=1e-5)
    moved = ((off - latents) / model.expected.latents.std).square().mean().sqrt()
    assert 0.2 < moved < 0.7


def test_settings_survive_json() -> None:
    assert settings_from_dict(FrontalSettings, json.loads(json.dumps(asdict(SETTINGS)))) == SETTINGS


@pytest.mark.parametrize(
    ("unet", "reason"),
    [
        (replace(SETTINGS.unet, planes=3), "one plane"),
        (replace(SETTINGS.unet, in_channels=4, out_channels=4, extra_channels=4), "3 channels"),
        (replace(SETTINGS.unet, side=48), "no multiple"),
        (replace(SETTINGS.unet, extra_channels=0), "extra channels"),
        (replace(SETTINGS.unet, condition_dim=5), "condition_dim"),
    ],
)
def test_settings_that_do_not_fit(unet, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(SETTINGS, unet=unet)


def test_a_picture_has_no_level_that_is_3d_aware() -> None:
    with pytest.raises(ValueError, match="3D-aware"):
        replace(SETTINGS.unet, aware_levels=(0,))
