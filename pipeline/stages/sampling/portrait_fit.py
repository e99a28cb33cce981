"""A portrait as evidence of whom it shows: base planes rendered from the front beside it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.sampling import Sampling
from pipeline.contracts.camera import frontal_camera
from pipeline.stages.picture import camera_rays
from rodin_models.diffusion.posterior import Evidence
from rodin_models.diffusion.upsampler import UpsamplerModel
from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.render import planes_occupancy, render_rays
from rodin_models.image.resize import resized_square

SIDE = 96
"""Pixels a side that are compared: what texels by themselves can show of a picture, not only eigen-planes."""
SAMPLES = 12
"""Samples a ray: few, for there are some thirty renders with gradients."""
OF_RENDERS, OF_PHOTOGRAPHS = 0.1, 0.6
"""Deviation of a pixel's colour: what base planes cannot give; and light, lenses and clothes that are none of ours."""
WHITE, SOLID = 0.8, 0.7
"""From which level on a pixel's darkest colour begins to be as white as nothing, and which opacity is something."""
KEPT_FOR = 8
"""Renders between two looks at where there is matter."""


@dataclass(frozen=True)
class Face:
    """A portrait framed as frontal views are, and how far it can be believed."""

    rgb: Tensor
    """(3, height, width) in [0, 1] over white."""
    is_known: Tensor | None = None
    """(height, width), False beyond the picture that it was cut from; None for a square picture known everywhere."""
    is_photograph: bool = False
    """Whether light, lens and clothes are none of ours."""


def portrait_evidence(
    face: Face, sampling: Sampling, upsampler: UpsamplerModel, decoder: Decoder, likely: Tensor | None = None
) -> Evidence:
    """Base planes are rendered from the front, through the full planes that they make one expect.

    A picture over white does not say whether what is white in it is a white garment or nothing. Where ``likely`` base
    planes (3, channel, side, side) are solid and the picture is white, evidence is that something is there.
    """
    camera = frontal_camera(distance=sampling.distance, fov_deg=sampling.fov_deg, size=SIDE)
    rays = camera_rays(camera, face.rgb.device)
    pixels = resized_square(face.rgb[None], SIDE)[0].permute(1, 2, 0).reshape(-1, 3)
    weight = torch.ones(SIDE * SIDE, device=face.rgb.device)
    if face.is_known is not None:
        weight = F.interpolate(face.is_known[None, None].float(), (SIDE, SIDE), mode="area").flatten()
    there = torch.zeros(SIDE * SIDE, 1, device=face.rgb.device)
    if likely is not None:
        with torch.no_grad():
            planes = upsampler.expected(likely[None])[0]
            alpha = render_rays(planes, decoder, rays, planes_occupancy(planes, decoder), SAMPLES).alpha
        whiteness = (pixels.amin(1) - WHITE) / (1 - WHITE)
        there = (whiteness.clamp(0, 1) * (alpha > SOLID))[:, None]
    occupancy: Occupancy | None = None
    renders = 0

    def render(low: Tensor) -> Tensor:
        nonlocal occupancy, renders
        planes = upsampler.expected(low[None])[0]
        if occupancy is None or renders % KEPT_FOR == 0:
            occupancy = planes_occupancy(planes.detach(), decoder)
        renders += 1
        seen = render_rays(planes, decoder, rays, occupancy, SAMPLES)
        return torch.cat((seen.over(1.0), there * seen.alpha[:, None]), 1)

    pixels = torch.cat((pixels, there), 1)
    return Evidence(render, pixels, weight, OF_PHOTOGRAPHS if face.is_photograph else OF_RENDERS)
