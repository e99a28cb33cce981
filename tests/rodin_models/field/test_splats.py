"""Fields as Gaussians: drawn as one Gaussian after the other is, as dense as the field, and like its pictures."""

import math

import numpy as np
import pytest
import torch
from support.textured_ellipsoid import look_at_origin

from rodin_models.field.rays import RaySamples, image_rays
from rodin_models.field.splats import (
    DEVIATION,
    MOST_OPAQUE,
    PIXEL_VARIANCE,
    Splats,
    SplatView,
    contributions,
    dilogarithm,
    extract_splats,
    opacity_of_depth,
)
from rodin_models.field.volume import render_samples

SIDE, FOCAL = 64, 100.0
INTRINSICS = torch.tensor([FOCAL, FOCAL, SIDE / 2, SIDE / 2])


class Ball:
    """A dense ball of radius 0.6, coloured in waves."""

    def density(self, points):
        return 80 * torch.sigmoid(60 * (0.6 - points.norm(dim=-1)))

    def __call__(self, points, directions):
        return self.density(points), 0.5 + 0.4 * torch.sin(5 * points)


def seen(field, azimuth, elevation):
    """The field's own picture from there, by plain sampling along each ray."""
    camera = torch.as_tensor(look_at_origin(azimuth, elevation, 4.0)).float()
    rays = image_rays(camera, INTRINSICS, SIDE, SIDE)
    step = 2.4 / 240
    distances = (2.8 + (torch.arange(240) + 0.5) * step).expand(SIDE * SIDE, -1)
    pixels = render_samples(field, rays, RaySamples(distances, torch.full_like(distances, step)))
    return SplatView(camera, INTRINSICS, pixels.over(1.0).view(SIDE, SIDE, 3))


def psnr_db(splats, view):
    made = contributions(splats, view.cam2world, view.intrinsics, SIDE, SIDE).picture(splats.colours)
    return -10 * math.log10(float((made - view.rgb.reshape(-1, 3)).square().mean()))


def drawn_one_by_one(splats, camera, height, width):
    """The slow and plain way: Gaussians from the front to the back, each over the whole picture."""
    picture, clear = np.zeros((height, width, 3)), np.ones((height, width))
    rotation, place = camera[:3, :3].double().numpy(), camera[:3, 3].double().numpy()
    in_camera = (splats.centres.double().numpy() - place) @ rotation
    rows, columns = np.mgrid[:height, :width] + 0.5
    for i in np.argsort(in_camera[:, 2]):
        x, y, z = in_camera[i]
        if z <= 1e-3:
            continue
        squares = (columns - (x / z * FOCAL + width / 2)) ** 2 + (rows - (y / z * FOCAL + height / 2)) ** 2
        variance = (splats.deviation * FOCAL / z) ** 2 + PIXEL_VARIANCE
        alpha = float(splats.opacity[i]) * np.exp(-squares / (2 * variance))
        alpha = np.where(alpha < 1 / 255, 0, np.minimum(alpha, MOST_OPAQUE))
        picture += (clear * alpha)[..., None] * splats.colours[i].double().numpy()
        clear *= 1 - alpha
    return picture + clear[..., None]


def test_a_picture_is_that_of_one_gaussian_after_the_other():
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(60, 3, generator=generator) * 1.6 - 0.8
    centres[0] = torch.tensor([0.0, 0.0, 9.0])  # behind the camera
    splats = Splats(centres, 0.05, torch.rand(60, generator=generator), torch.rand(60, 3, generator=generator))
    camera = torch.as_tensor(look_at_origin(30, 20, 4.0)).float()
    height, width = 40, 48
    intrinsics = torch.tensor([FOCAL, FOCAL, width / 2, height / 2])
    pairs = contributions(splats, camera, intrinsics, height, width, reach=4.0)
    made = pairs.picture(splats.colours).view(height, width, 3)
    expected = drawn_one_by_one(splats, camera, height, width)
    assert expected.std() > 0.1
    assert np.abs(made.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("depth", [0.02, 0.5, 1.5])
def test_a_cell_of_gaussians_is_as_deep_as_a_cell_of_the_field(depth):
    """Equation (1) by a sum over the plane, for Gaussians of cells of side 1."""
    opacity = float(opacity_of_depth(torch.tensor([depth]))[0])
    radius = torch.linspace(0, 8 * DEVIATION, 20001, dtype=torch.float64)
    depths = -torch.log1p(-opacity * torch.exp(-radius.square() / (2 * DEVIATION**2)))
    assert float(torch.trapezoid(depths * 2 * math.pi * radius, radius)) == pytest.approx(depth, rel=1e-3)


def test_the_dilogarithm():
    """Li2(1/2) = pi^2 / 12 - ln(2)^2 / 2."""
    found = dilogarithm(torch.tensor([0.0, 0.5], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.0, math.pi**2 / 12 - math.log(2) ** 2 / 2], abs=1e-12)


@pytest.mark.seconds
def test_views_that_it_was_not_made_from_look_like_the_field():
    field = Ball()
    given = [seen(field, azimuth, elevation) for azimuth in range(0, 360, 45) for elevation in (-30, 30)]
    splats = extract_splats(field, given, resolution=60)
    others = [seen(field, azimuth, 5) for azimuth in (20, 140, 260)]
    assert np.mean([psnr_db(splats, view) for view in others]) > 28
    grey = splats._replace(colours=torch.full_like(splats.colours, 0.5))
    assert np.mean([psnr_db(grey, view) for view in others]) < 22, "colours are most of it"
    inside = splats.centres.norm(dim=-1) < 0.4
    assert not inside.any(), "what nobody sees is left out"


def test_nothing_gives_no_gaussians():
    class Nothing(Ball):
        def density(self, points):
            return torch.zeros(points.shape[:-1])

    field = Nothing()
    splats = extract_splats(field, [seen(field, 0, 0)], resolution=60)
    assert splats.centres.shape == (0, 3) and splats.colours.shape == (0, 3)
