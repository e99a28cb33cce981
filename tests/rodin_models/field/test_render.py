import pytest
import torch
from support.textured_ellipsoid import make_views

from benchmarks.plain_fit import intersect_cube, plain_field, plain_loss, render_hierarchical, stratified_samples
from rodin_models.field import triplane
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.march import march
from rodin_models.field.occupancy import Occupancy, cell_index, make_occupancy
from rodin_models.field.rays import Rays, image_rays
from rodin_models.field.render import PlaneField, planes_occupancy, render_image, render_rays
from rodin_models.field.volume import render_samples
from rodin_models.fit.hull import visual_hull


def _scene(dtype=torch.float32, bias=1.0):
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(DecoderSettings(channels=4, hidden=16, colour_hidden=8, density_bias=bias), generator).to(dtype)
    planes = torch.randn(3, 4, 16, 16, generator=generator).to(dtype)
    cam2world = torch.eye(4, dtype=dtype)
    cam2world[:3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    cam2world[2, 3] = 4.0
    return planes, decoder, cam2world, torch.tensor([60.0, 60.0, 16.0, 16.0], dtype=dtype)


def test_nothing_exists_outside_the_cube():
    planes, decoder, _, _ = _scene()
    field = PlaneField.of_planes(planes, decoder)
    points = torch.tensor([[0.0, 0.0, 0.999], [0.0, 0.0, 1.001], [-1.5, 0.0, 0.0], [0.0, 3.0, 0.0]])
    density, _ = field(points, torch.tensor([[0.0, 0.0, 1.0]]))
    assert density[0] > 0
    assert torch.equal(density[1:], torch.zeros(3))
    assert torch.equal(density, field.density(points))


def test_the_fast_path_gives_the_references_image_and_gradients():
    planes, decoder, cam2world, pinhole = _scene(torch.float64)
    rays = image_rays(cam2world, pinhole, 32, 32)
    near, far = intersect_cube(rays)
    samples = stratified_samples(near, far, 24, torch.Generator().manual_seed(1))

    def reference_field(points, directions):
        flat = triplane.sample_planes_reference(planes, points.reshape(-1, 3))
        density, rgb = decoder(flat.reshape(*points.shape[:-1], -1), directions)
        return density * (points.abs().amax(-1) <= 1), rgb

    planes.requires_grad_()
    inputs = (planes, *decoder.parameters())
    results = []
    for field in (reference_field, PlaneField.of_planes(planes, decoder)):
        pixels = render_samples(field, rays, samples)
        loss = pixels.rgb.square().sum() + pixels.alpha.sum() + pixels.distance.sum()
        results.append((pixels.rgb, pixels.alpha, *torch.autograd.grad(loss, inputs)))
    for plain, fast in zip(*results, strict=True):
        assert torch.allclose(plain, fast, atol=1e-9)


def _random_case(seed, dtype):
    """Random planes and decoder, a random camera, and the hull of random blotches in random views."""
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(DecoderSettings(channels=4, hidden=16, colour_hidden=8, density_bias=2.0), generator).to(dtype)
    planes = torch.randn(3, 4, 12 + seed, 9 + 2 * seed, generator=generator).to(dtype)
    views = make_views(4, size=24, seed=seed)
    noise = torch.rand(4, 1, 24, 24, generator=generator)
    masks = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[:, 0] > 0.5
    hull = make_occupancy(visual_hull(masks, views.cam2world, views.intrinsics, 16))
    assert 0 < hull.grid.float().mean() < 1
    rays = image_rays(views.cam2world[seed % 4], views.intrinsics[0], 24, 24)
    return planes, decoder, Rays(*(t.to(dtype) for t in rays)), hull


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fast_and_plain_agree_on_random_planes_cameras_and_masks(seed, dtype, tolerance):
    """Same samples: the image, and the gradient of planes, of what a fit minimises, with the decoder frozen."""
    planes, decoder, rays, hull = _random_case(seed, dtype)
    occupancy = Occupancy(hull.grid, hull.low.to(dtype), hull.high.to(dtype), hull.density.to(dtype))
    samples = march(rays, occupancy, 12, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(9)
    rgb, alpha = torch.rand(576, 3, generator=generator).to(dtype), torch.rand(576, generator=generator).to(dtype)
    planes.requires_grad_()
    results = []
    for frozen in (False, True):
        decoder.requires_grad_(not frozen)
        field = PlaneField.of_planes(planes, decoder) if frozen else plain_field(planes, decoder)
        pixels = render_samples(field, rays, samples)
        (grad,) = torch.autograd.grad(plain_loss(pixels, rgb * alpha[:, None], alpha, 0.1), planes)
        results.append((pixels.rgb, pixels.alpha, grad / grad.abs().max()))
    for plain, fast in zip(*results, strict=True):
        assert torch.allclose(plain, fast, atol=tolerance)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_in_the_hull_see_what_samples_along_the_whole_ray_see(seed):
    """A field that is empty outside the hull: 48 + 48 samples and 64 inside, the image and the planes' gradient."""
    planes, decoder, rays, hull = _random_case(seed, torch.float32)
    planes.requires_grad_()

    def within(field):
        def masked(points, directions):
            density, rgb = field(points, directions)
            return density * hull.grid.reshape(-1)[cell_index(points, 16)], rgb

        return masked

    weight = torch.randn(576, 3, generator=torch.Generator().manual_seed(7))
    results = []
    for pixels in (
        render_hierarchical(within(plain_field(planes, decoder)), rays, *intersect_cube(rays), 192, 192, None),
        render_samples(within(PlaneField.of_planes(planes, decoder)), rays, march(rays, hull, 192, None)),
    ):
        (grad,) = torch.autograd.grad((pixels.rgb * weight).sum(), planes)
        results.append((pixels.over(1.0).detach(), grad.flatten()))
    (plain, plain_grad), (fast, fast_grad) = results
    # Where a ray grazes cells the two disagree on how much of them it crosses.
    assert (plain - fast).abs().mean() < 0.01
    assert torch.cosine_similarity(plain_grad, fast_grad, dim=0) > 0.97


def test_an_image_is_its_rays():
    planes, decoder, cam2world, pinhole = _scene()
    occupancy = planes_occupancy(planes, decoder, resolution=32)
    image = render_image(
        planes, decoder, cam2world, pinhole, 32, 32, samples=16, occupancy=occupancy, background=0.25, chunk=100
    )
    rays = image_rays(cam2world, pinhole, 32, 32)
    pixels = render_rays(planes, decoder, rays, occupancy, 16)
    assert torch.allclose(image.rgb.reshape(-1, 3), pixels.over(0.25), atol=1e-5)
    assert torch.allclose(image.alpha.reshape(-1), pixels.alpha, atol=1e-5)
    assert not image.rgb.requires_grad
    # The cube's front face lies 3 in front of the camera, its back 5.
    seen = image.alpha > 0.5
    assert seen.any()
    assert ((image.depth[seen] > 3) & (image.depth[seen] < 5)).all()


def test_an_image_of_several_rays_a_pixel_is_a_larger_one_made_smaller():
    planes, decoder, cam2world, pinhole = _scene()
    given = {"samples": 16, "occupancy": make_occupancy(torch.ones(16, 16, 16, dtype=torch.bool)), "background": 0.25}
    image = render_image(planes, decoder, cam2world, pinhole, 10, 14, supersample=3, **given)
    large = render_image(planes, decoder, cam2world, 3 * pinhole, 30, 42, **given)
    assert torch.allclose(image.rgb, large.rgb.reshape(10, 3, 14, 3, 3).mean((1, 3)), atol=1e-5)
    alpha = large.alpha.reshape(10, 3, 14, 3)
    assert torch.allclose(image.alpha, alpha.mean((1, 3)), atol=1e-5)
    depth = (large.depth.reshape(10, 3, 14, 3) * alpha).sum((1, 3)) / alpha.sum((1, 3)).clamp(min=1e-6)
    assert torch.allclose(image.depth, depth, atol=1e-4)
    assert not torch.allclose(image.rgb, render_image(planes, decoder, cam2world, pinhole, 10, 14, **given).rgb)


def test_depth_is_along_the_cameras_axis():
    planes, decoder, cam2world, pinhole = _scene(bias=12.0)
    planes = planes * 0.01
    image = render_image(
        planes,
        decoder,
        cam2world,
        pinhole,
        32,
        32,
        samples=256,
        occupancy=make_occupancy(torch.ones(32, 32, 32, dtype=torch.bool)),
    )
    # A solid cube's front face is a plane of constant z-depth, not of constant distance.
    face = image.depth[8:24, 8:24]
    assert torch.allclose(face, torch.full_like(face, 3.0), atol=0.01)


def test_an_empty_occupancy_shows_the_background():
    planes, decoder, cam2world, pinhole = _scene()
    nothing = make_occupancy(torch.zeros(8, 8, 8, dtype=torch.bool))
    image = render_image(planes, decoder, cam2world, pinhole, 8, 8, samples=4, occupancy=nothing, background=0.5)
    assert torch.equal(image.rgb, torch.full((8, 8, 3), 0.5))
    assert torch.equal(image.alpha, torch.zeros(8, 8))


def test_more_samples_come_closer():
    planes, decoder, cam2world, pinhole = _scene()
    renders = [render_image(planes, decoder, cam2world, pinhole, 32, 32, samples=s).rgb for s in (8, 32, 256)]
    assert (renders[1] - renders[2]).square().mean() < 0.5 * (renders[0] - renders[2]).square().mean()


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_feature_noise_comes_from_its_generator(seeds):
    planes, decoder, _, _ = _scene()
    table, points = triplane.to_table(planes), torch.zeros(4, 3)
    first, second = (
        PlaneField(table, decoder, noise=0.1, generator=torch.Generator().manual_seed(s)).density(points) for s in seeds
    )
    assert torch.equal(first, second) == (seeds[0] == seeds[1])
