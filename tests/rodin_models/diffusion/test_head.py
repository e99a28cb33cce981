"""The head diffusion: what is shown of a picture, and the square that is drawn around it."""

import json
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from support.learning import before_and_after
from torch import Tensor

from rodin_models.checkpoint import settings_from_dict
from rodin_models.diffusion.head import HeadModel, HeadSettings, faded, head_unet, sample, training_loss
from rodin_models.diffusion.process import DiffusionSettings

SIDE, SQUARE, LEFT, TOP = 48, 16, 20, 10
SETTINGS = HeadSettings(
    picture_side=SIDE,
    left=LEFT,
    top=TOP,
    coarse_side=12,
    noise=0.05,
    unet=replace(head_unet(), side=SQUARE, width=16, multipliers=(1, 2), attention_sides=(), dropout=0.0),
    diffusion=DiffusionSettings(timesteps=20, prediction="v", input_scale=0.5, clip=4.0),
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def people(num: int = 12) -> Tensor:
    """Plain shades under stripes of one pixel, which nothing small shows."""
    shades = 0.3 + 0.4 * torch.rand((num, 3, 1, 1), generator=seeded(1))
    return (shades + 0.1 * (torch.arange(SIDE) % 2 - 0.5)).expand(-1, -1, SIDE, -1).contiguous()


def fitted() -> tuple[HeadModel, Tensor]:
    model, pictures = HeadModel(SETTINGS, seeded(0)), people()
    model.set_statistics(pictures, seeded(3))
    return model, pictures


def test_the_square_lies_where_the_settings_say() -> None:
    model, pictures = fitted()
    pictures[:, :, TOP, LEFT] = 0.9
    square = model.cut(pictures)
    assert square.shape == (12, 3, SQUARE, SQUARE)
    assert square.equal(pictures[:, :, TOP : TOP + SQUARE, LEFT : LEFT + SQUARE])
    with pytest.raises(ValueError, match="24 pixels a side, not 48"):
        model.cut(pictures[..., :24, :24])


def test_what_is_shown_is_the_picture_made_small_and_off_by_the_level() -> None:
    model, pictures = fitted()
    level = torch.tensor([[0.0], [1.0]]).repeat(6, 1)
    shown = model.shown(pictures, level, seeded(5))
    small = F.interpolate(pictures, (12, 12), mode="area")
    plain = F.interpolate(small, (SIDE, SIDE), mode="bicubic", align_corners=False)
    plain = plain[:, :, TOP : TOP + SQUARE, LEFT : LEFT + SQUARE]
    torch.testing.assert_close(shown[::2], plain[::2])
    off = (shown[1::2] - plain[1::2]).square().mean().sqrt()
    assert 0.5 * SETTINGS.noise < off < 1.2 * SETTINGS.noise
    assert (shown[::2, :, :, ::2] - shown[::2, :, :, 1::2]).abs().max() < 0.01, "no stripes in it"


def test_pixels_are_in_units_of_what_is_not_shown() -> None:
    model, pictures = fitted()
    std, mean = model.plane.statistics.std[0], model.plane.statistics.mean[0]
    # Stripes are 0.05 to either side of what is shown, which is off by some noise besides.
    assert 0.05 < float(std.square().mean().sqrt()) < 0.07 and std.min() > 0
    torch.testing.assert_close(mean, model.cut(pictures).mean(0))


def test_training_finds_what_is_not_shown() -> None:
    model, pictures = fitted()
    generator = seeded(2)

    def loss() -> Tensor:
        return training_loss(model, pictures, generator)["loss"]

    first, last = before_and_after(loss, model.parameters())
    assert last < 0.5 * first
    blurred = F.interpolate(
        F.interpolate(pictures, (12, 12), mode="area"), (SIDE, SIDE), mode="bicubic", align_corners=False
    )
    drawn = sample(model, blurred, num_steps=10, level=0.2, generator=seeded(4))
    assert drawn.shape == pictures.shape and drawn.min() >= 0 and drawn.max() <= 1
    inner = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inner[TOP + 2 : TOP + SQUARE - 2, LEFT + 2 : LEFT + SQUARE - 2] = True
    errors = [(of - pictures)[..., inner].square().mean() for of in (drawn, blurred)]
    assert errors[0] < 0.3 * errors[1]


def test_beyond_the_square_nothing_changes() -> None:
    model, pictures = fitted()
    torch.nn.init.normal_(model.plane.unet.last.weight, std=0.02, generator=seeded(6))
    given, steps = pictures.clone(), []
    first, again, other = (
        sample(model, given, num_steps=4, level=0.5, generator=seeded(seed), on_step=lambda: steps.append(0))
        for seed in (5, 5, 6)
    )
    assert given.equal(pictures), "what is given stays as it is"
    assert first.equal(again) and not first.equal(other) and len(steps) == 12
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[TOP : TOP + SQUARE, LEFT : LEFT + SQUARE] = False
    assert first[..., outside].equal(pictures[..., outside])
    assert (model.cut(first) != model.cut(pictures)).any()


def test_the_square_is_faded_in() -> None:
    share = faded(16)
    assert share.shape == (16, 16) and share[8, 8] == 1 and 0 < share[0, 8] < 1
    assert share.equal(share.flip(0)) and share.equal(share.mT)


def test_settings_survive_json() -> None:
    assert settings_from_dict(HeadSettings, json.loads(json.dumps(asdict(SETTINGS)))) == SETTINGS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unet": replace(SETTINGS.unet, planes=3)}, "one plane"),
        ({"unet": replace(SETTINGS.unet, in_channels=4, out_channels=4, extra_channels=4)}, "3 channels"),
        ({"unet": replace(SETTINGS.unet, condition_dim=5)}, "condition_dim"),
        ({"left": 33}, "column 33, row 10 leaves the picture of 48"),
        ({"top": -1}, "row -1"),
        ({"coarse_side": 48}, "coarse_side 48"),
        ({"noise": 0.0}, "noise 0.0"),
    ],
)
def test_settings_that_do_not_fit(changes, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(SETTINGS, **changes)
