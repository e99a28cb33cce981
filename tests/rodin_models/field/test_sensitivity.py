"""How much texels show, against the derivatives that it stands for."""

import pytest
import torch

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.rays import image_rays
from rodin_models.field.render import planes_occupancy, render_rays
from rodin_models.field.sensitivity import texel_sensitivity
from rodin_models.field.triplane import resized


@pytest.mark.seconds
def test_it_is_the_sum_of_squared_derivatives_of_all_colours():
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(DecoderSettings(channels=2, hidden=8, colour_hidden=4, density_bias=1.0), generator)
    decoder.requires_grad_(False)
    planes = torch.randn(3, 2, 4, 4, generator=generator)
    cam2world = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    cam2world[2, 3] = 4.0
    rays = image_rays(cam2world, torch.tensor([6.0, 6.0, 2.0, 2.0]), 4, 4)
    occupancy = planes_occupancy(planes, decoder)

    def colours(of):
        return render_rays(resized(of, 8), decoder, rays, occupancy, 6).over(1.0)

    exact = torch.autograd.functional.jacobian(colours, planes).square().sum((0, 1))
    assert exact.max() > 0
    kwargs = {"side": 8, "samples": 6, "generator": torch.Generator().manual_seed(1)}
    found = texel_sensitivity(planes, decoder, rays, occupancy, draws=3000, **kwargs)
    torch.testing.assert_close(found, exact, rtol=0.2, atol=0.02 * float(exact.max()))
    assert torch.equal(found == 0, exact == 0), "what no picture shows is 0, not small"
    with torch.no_grad():
        again = texel_sensitivity(planes, decoder, rays, occupancy, draws=1, **kwargs)
    assert again.sum() > 0 and planes.grad is None
