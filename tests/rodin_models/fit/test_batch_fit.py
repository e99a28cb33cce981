import dataclasses
import math

import pytest
import torch
from support.textured_ellipsoid import make_views

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.batch_fit import BatchFit, fit_batch
from rodin_models.fit.plane_fit import FitDiverged, carve_hull, fit_planes
from rodin_models.fit.ray_pools import RayPools
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.shading import Shader, Shading
from rodin_models.fit.views import RayPool

pytestmark = pytest.mark.seconds

SETTINGS = FitSettings(
    resolution=24,
    steps=30,
    rays=250,
    samples=6,
    hull_resolution=32,
    empty_points=128,
    rescale_probability=0.3,
    coarse=((0.2, 4), (0.5, 2)),
)
SEEDS = (3, 4, 5)


def _generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def avatars():
    """Photographs that differ in number, size, precision, and in having depth or not."""
    return [make_views(9), make_views(6, 40, seed=3, depth=True), make_views(5, 36, seed=5, bits=32)]


@pytest.fixture(scope="module")
def decoder():
    settings = DecoderSettings(channels=8, hidden=32, colour_hidden=16)
    return Decoder(settings, _generator(0)).requires_grad_(False)


@pytest.fixture(scope="module")
def initial():
    return 0.05 * torch.randn(3, 8, 24, 24, generator=_generator(1))


@pytest.fixture(scope="module")
def alone(avatars, decoder, initial):
    pairs = zip(avatars, SEEDS, strict=True)
    return [fit_planes(views, decoder, SETTINGS, _generator(seed), initial=initial) for views, seed in pairs]


def _batch(avatars, decoder, initial, which=(0, 1, 2), settings=SETTINGS, **more):
    generators = [_generator(SEEDS[i]) for i in which]
    return fit_batch(lambda i: avatars[which[i]], decoder, settings, generators, initial=initial, **more)


@pytest.mark.parametrize("which", [(0, 1, 2), (2, 0), (1,)])
def test_each_gets_what_it_gets_alone_whoever_shares_the_batch(avatars, decoder, initial, alone, which):
    results = _batch(avatars, decoder, initial, which)
    for result, single in zip(results, (alone[i] for i in which), strict=True):
        assert (single.planes - initial).abs().max() > 0.1, "the fit went somewhere"
        assert (result.planes - single.planes).abs().max() < 1e-4
        assert (result.planes - single.planes).abs().mean() < 1e-6
        assert result.losses == pytest.approx(single.losses, abs=1e-6)
        assert torch.equal(result.occupancy.grid, single.occupancy.grid)
        assert torch.allclose(result.occupancy.density, single.occupancy.density, rtol=1e-3, atol=1e-4)
        assert torch.equal(result.occupancy.low, single.occupancy.low)


@pytest.mark.parametrize(
    "changes",
    [
        {"compact_weight": 0.0, "tv_weight": 0.0, "sparse_weight": 0.0, "plane_noise": 0.0, "coarse": ()},
        {"rescale_probability": 1.0, "samples": 1, "rays": 33},
        {"tv_weight": 3.0, "sparse_weight": 0.1, "regularise_every": 1},
    ],
)
def test_settings_mean_the_same_in_a_batch(avatars, decoder, initial, changes):
    settings = dataclasses.replace(SETTINGS, steps=6, **changes)
    for number, result in enumerate(_batch(avatars, decoder, initial, settings=settings)):
        single = fit_planes(avatars[number], decoder, settings, _generator(SEEDS[number]), initial=initial)
        assert (result.planes - single.planes).abs().max() < 1e-5
        assert result.losses == pytest.approx(single.losses, rel=1e-5)


def test_several_rays_a_pixel_are_refused_in_a_batch(avatars, decoder, initial):
    settings = dataclasses.replace(SETTINGS, supersample=2)
    with pytest.raises(ValueError, match="supersample is 2"):
        fit_batch(lambda i: avatars[i], decoder, settings, [torch.Generator()], initial=initial)


def test_an_avatar_that_diverges_keeps_it_to_itself(avatars, decoder, initial, alone):
    rgba = avatars[2].rgba.clone()
    rgba[..., 0] = torch.nan  # alpha stays: the hull is the same
    spoilt = [avatars[0], avatars[1], dataclasses.replace(avatars[2], rgba=rgba)]
    for which in ((0, 2, 1), (2, 0, 1)):
        results = dict(zip(which, _batch(spoilt, decoder, initial, which), strict=True))
        assert results[2].planes.isnan().any() and math.isnan(results[2].losses[-1])
        for i in (0, 1):
            assert (results[i].planes - alone[i].planes).abs().max() < 1e-4
            assert results[i].losses == pytest.approx(alone[i].losses, abs=1e-6)
    with pytest.raises(FitDiverged):  # alone it is told, and not by an index that no planes have
        fit_planes(spoilt[2], decoder, SETTINGS, _generator(5), initial=initial)


def test_an_avatar_that_no_view_shows_ends_as_it_began(avatars, decoder, initial):
    rgba = avatars[0].rgba.clone()
    rgba[..., 3] = 0
    settings = dataclasses.replace(SETTINGS, steps=3, compact_weight=0.0, tv_weight=0.0, sparse_weight=0.0, coarse=())
    wide = avatars[0].intrinsics * torch.tensor([0.25, 0.25, 1, 1])  # every view shows all of the cube
    bare = [dataclasses.replace(avatars[0], rgba=rgba, intrinsics=wide), *avatars[1:]]
    results = _batch(bare, decoder, initial, settings=settings)
    assert torch.equal(results[0].planes, initial) and not results[0].occupancy.grid.any()
    assert (results[1].planes - initial).abs().max() > 0.01
    assert torch.equal(fit_planes(bare[0], decoder, settings, _generator(3), initial=initial).planes, initial)


def test_the_pool_of_several_draws_what_each_draws(avatars):
    pools = [RayPool.around(views, carve_hull(views, SETTINGS)) for views in avatars]
    builder = RayPools.builder()
    for pool in pools:
        builder.add(pool)
    rays, rgb, alpha = builder.build().draw(70, [_generator(s) for s in SEEDS])
    for index, (pool, seed) in enumerate(zip(pools, SEEDS, strict=True)):
        of_avatar = slice(70 * index, 70 * (index + 1))
        single_rays, single_rgb, single_alpha = pool.draw(70, _generator(seed))
        assert all(torch.equal(a[of_avatar], b) for a, b in zip(rays, single_rays, strict=True))
        assert torch.equal(rgb[of_avatar], single_rgb) and torch.equal(alpha[of_avatar], single_alpha)


def test_views_are_asked_for_once_each_and_steps_are_told(avatars, decoder, initial):
    asked, steps = [], []

    def views(index):
        asked.append(index)
        return avatars[index]

    settings = dataclasses.replace(SETTINGS, steps=4)
    before = torch.random.get_rng_state()
    fit_batch(views, decoder, settings, [_generator(0)] * 2, initial=initial, on_step=steps.append)
    assert asked == [0, 1] and steps == [0, 1, 2, 3]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bfloat16_products_fit_about_as_well(avatars, decoder, initial, alone):
    rough = _batch(avatars, decoder, initial, shading=Shading(torch.bfloat16))
    for result, single in zip(rough, alone, strict=True):
        assert result.losses != single.losses
        assert result.planes.dtype == torch.float32
        last, last_single = (sum(r.losses[-8:]) / 8 for r in (result, single))
        assert last == pytest.approx(last_single, rel=0.03)
        assert last_single < 0.7 * single.losses[0]


def test_the_planes_of_a_batch_have_full_resolution_while_they_are_coarse(avatars, decoder, initial):
    fit = BatchFit(
        lambda i: avatars[i], Shader(decoder, Shading()), SETTINGS, [_generator(s) for s in SEEDS], initial=initial
    )
    sides = []
    for _ in range(16):
        fit.step()
        sides.append(fit.table.shape[2])
        assert fit.planes.shape == (3, 3, 8, 24, 24)
    assert sides == [6] * 6 + [12] * 9 + [24]


def test_avatars_of_a_batch_can_start_where_each_does(avatars, decoder, initial):
    settings = dataclasses.replace(SETTINGS, steps=2, coarse=())
    own = torch.stack([initial, initial.flip(-1), -initial])
    together = _batch(avatars, decoder, own, settings=settings)
    for index, result in enumerate(together):
        (apart,) = _batch(avatars, decoder, own[index], which=(index,), settings=settings)
        torch.testing.assert_close(result.planes, apart.planes, rtol=0, atol=1e-5)
    assert not torch.allclose(together[0].planes, together[1].planes, atol=1e-2)
