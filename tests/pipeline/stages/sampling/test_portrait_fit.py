"""A portrait beside base planes that are rendered from the front."""

import numpy as np
import pytest
import torch

from pipeline.config.sampling import Sampling
from pipeline.config.stages import GenerateConfig
from pipeline.contracts.camera import turntable_rig
from pipeline.contracts.planes import PlaneSpec
from pipeline.stages.picture import picture
from pipeline.stages.sampling.portrait_fit import SAMPLES, SIDE, SOLID, Face, portrait_evidence
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.process import DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings
from rodin_models.diffusion.upsampler import UpsamplerModel, UpsamplerSettings
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.render import planes_occupancy

SAMPLING = Sampling(
    planes=PlaneSpec(resolution=8, base_resolution=4, channels=2, extent_m=0.25),
    distance=4.6,
    fov_deg=30.0,
    generate=GenerateConfig(),
)


@pytest.fixture(scope="module")
def parts():
    """A decoder, an upsampler, and base planes with matter."""
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(DecoderSettings(channels=2, hidden=8, colour_hidden=4, density_bias=1.0), generator)
    unet = UNetSettings(
        side=8,
        in_channels=2,
        out_channels=2,
        extra_channels=2,
        width=16,
        multipliers=(1,),
        blocks=1,
        attention_sides=(),
        condition_dim=3,
        has_level=True,
    )
    diffusion = DiffusionSettings(prediction="x0")
    settings = UpsamplerSettings(low_side=4, unet=unet, condition=ConditionSettings(dim=3), diffusion=diffusion)
    upsampler = UpsamplerModel(settings, generator)
    return decoder.requires_grad_(False), upsampler, torch.randn((3, 2, 4, 4), generator=generator)


def photograph(decoder, upsampler, low, side):
    """What the frontal camera sees, (3, side, side)."""
    (camera,) = turntable_rig(1, elevation_deg=0.0, distance=4.6, fov_deg=30.0, size=side)
    planes = upsampler.expected(low[None])[0]
    image = picture(planes, decoder, camera, planes_occupancy(planes, decoder), samples=SAMPLES)
    return image.rgb.permute(2, 0, 1)


def test_planes_give_their_own_portrait(parts):
    decoder, upsampler, low = parts
    rgb = photograph(decoder, upsampler, low, SIDE)
    seen = portrait_evidence(Face(rgb), SAMPLING, upsampler, decoder)
    assert seen.misfit(low) < 1e-4 < seen.misfit(low.flip(-1)), "and a mirror image does not"


def test_what_no_camera_saw_has_no_weight_and_photographs_have_less(parts):
    decoder, upsampler, low = parts
    rgb = photograph(decoder, upsampler, low, SIDE)
    known = torch.ones((2 * SIDE, 2 * SIDE), dtype=torch.bool)
    known[SIDE:] = False
    spoilt = rgb.clone()
    spoilt[:, SIDE // 2 :] = 0
    errors = {
        is_photograph: [
            float(portrait_evidence(face, SAMPLING, upsampler, decoder).misfit(low))
            for face in (Face(spoilt, None, is_photograph), Face(spoilt, known, is_photograph))
        ]
        for is_photograph in (False, True)
    }
    assert errors[False][0] > 1 and errors[False][1] < 1e-4
    assert errors[True][0] == pytest.approx(errors[False][0] / 36, rel=1e-4)


def test_gradients_reach_base_planes(parts):
    decoder, upsampler, low = parts
    seen = portrait_evidence(Face(torch.ones((3, 40, 50))), SAMPLING, upsampler, decoder)
    moving = low.clone().requires_grad_()
    seen.misfit(moving).backward()
    assert np.count_nonzero(moving.grad.numpy()) > 10


def test_what_is_white_and_likely_there_is_there(parts):
    """Of what is white nobody knows whether it shows anything; where planes are likely solid it does."""
    decoder, upsampler, low = parts
    (camera,) = turntable_rig(1, elevation_deg=0.0, distance=4.6, fov_deg=30.0, size=SIDE)
    planes = upsampler.expected(low[None])[0]
    alpha = picture(planes, decoder, camera, planes_occupancy(planes, decoder), samples=SAMPLES).alpha.flatten()
    solid = alpha > SOLID
    assert 0.05 < solid.double().mean() < 0.95
    white, dark = Face(torch.ones(3, SIDE, SIDE)), Face(torch.full((3, SIDE, SIDE), 0.5))
    blind, seeing, sure = (
        portrait_evidence(face, SAMPLING, upsampler, decoder, likely)
        for face, likely in ((white, None), (white, low), (dark, low))
    )
    assert not blind.pixels[:, 3].any() and not sure.pixels[:, 3].any()
    assert (seeing.pixels[:, 3] > 0).equal(solid)
    torch.testing.assert_close(seeing.render(low)[:, 3], torch.where(solid, alpha, 0.0), rtol=0, atol=1e-3)
    gone = (seeing.pixels[:, 3] - 0 * alpha).square().sum() / seeing.error**2
    assert gone > 10 * (seeing.misfit(low) - blind.misfit(low)), "what is taken away costs more than what is there"
