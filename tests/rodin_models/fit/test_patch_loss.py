import dataclasses

import pytest
import torch
from support.textured_ellipsoid import make_views

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.occupancy import make_occupancy
from rodin_models.field.rays import image_rays
from rodin_models.field.render import PlaneField
from rodin_models.field.triplane import to_table
from rodin_models.fit.patch_loss import draw_patch, patch_distance
from rodin_models.fit.plane_fit import PlaneFit, carve_hull, fit_planes
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import RayPool
from rodin_models.image.features import RandomFeatures

SETTINGS = FitSettings(
    resolution=16, steps=6, rays=64, samples=4, hull_resolution=16, empty_points=32, coarse=(), perceptual_every=2
)
DECODER = Decoder(DecoderSettings(channels=8, hidden=16, colour_hidden=8), torch.Generator().manual_seed(0))
DECODER.requires_grad_(False)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pool() -> RayPool:
    views = make_views(3)
    return RayPool.around(views, carve_hull(views, SETTINGS))


@pytest.fixture(scope="module")
def features() -> RandomFeatures:
    return RandomFeatures(_generator())


@pytest.fixture(scope="module")
def planes() -> torch.Tensor:
    return 0.3 * torch.randn(3, 8, 16, 16, generator=_generator(5))


@pytest.mark.parametrize("side", [8, 16, 400])
def test_a_patch_is_a_piece_of_one_photograph(pool: RayPool, side: int) -> None:
    views = pool.views
    seen = set()
    for seed in range(12):
        patch = draw_patch(pool, side, _generator(seed))
        tall, wide = patch.truth.shape[:2]
        assert tall == wide == min(side, views.height)
        view = int((views.cam2world[:, :3, 3] - patch.rays.origins[0]).norm(dim=-1).argmin())
        whole = image_rays(views.cam2world[view], views.intrinsics[view], views.height, views.width)
        first = int((whole.directions - patch.rays.directions[0]).norm(dim=-1).argmin())
        row, column = first // views.width, first % views.width
        assert torch.equal(patch.truth, views.over(view, 1.0)[row : row + tall, column : column + wide])
        directions = whole.directions.reshape(views.height, views.width, 3)[row : row + tall, column : column + wide]
        assert torch.allclose(patch.rays.directions, directions.reshape(-1, 3), atol=1e-6)
        shown = torch.zeros(len(views) * views.height * views.width, dtype=torch.bool)
        shown[pool.pixel] = True
        assert shown.reshape(views.masks().shape)[view, row : row + tall, column : column + wide].any()
        seen.add((view, row, column))
    assert len(seen) > 2 if side < 400 else len(seen) <= len(views)


def test_gradients_reach_the_planes_and_fall_along_them(
    pool: RayPool, features: RandomFeatures, planes: torch.Tensor
) -> None:
    occupancy = make_occupancy(carve_hull(pool.views, SETTINGS))
    table = to_table(planes).requires_grad_()

    def distance(of: torch.Tensor) -> torch.Tensor:
        field = PlaneField(of, DECODER)
        return patch_distance(field, pool, occupancy, features, side=16, samples=6, generator=_generator(3))

    value = distance(table)
    (grad,) = torch.autograd.grad(value, (table,))
    assert value > 0 and grad.abs().max() > 0
    moved = distance((table - 0.01 * grad / grad.norm()).detach())
    assert float(moved - value.detach()) == pytest.approx(-0.01 * float(grad.norm()), rel=0.1)


def test_without_weight_nothing_changes_and_with_it_something_does(
    pool: RayPool, features: RandomFeatures, planes: torch.Tensor
) -> None:
    def fitted(given: RandomFeatures | None, **changes: float) -> torch.Tensor:
        settings = dataclasses.replace(SETTINGS, **changes)
        return fit_planes(pool.views, DECODER, settings, _generator(4), initial=planes, features=given).planes

    plain = fitted(None)
    assert torch.equal(fitted(features), plain)
    assert torch.equal(fitted(features, perceptual_patch=8), plain)
    assert not torch.equal(fitted(features, perceptual_weight=0.01), plain)
    assert not torch.equal(
        fitted(features, perceptual_weight=0.01, perceptual_every=6), fitted(features, perceptual_weight=0.01)
    )
    with pytest.raises(ValueError, match=r"perceptual_weight is 0\.01 but no feature network"):
        PlaneFit(planes, carve_hull(pool.views, SETTINGS), dataclasses.replace(SETTINGS, perceptual_weight=0.01))
