import pytest
import torch
from torch.nn import functional as F

from rodin_models.field import triplane


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_a_wrong_shape_raises(generator):
    planes, points = torch.zeros(3, 4, 8, 8), torch.zeros(5, 3)
    triplane.sample_planes_reference(planes, points)
    with pytest.raises(Exception, match="sample_planes_reference"):
        triplane.sample_planes_reference(planes[:2], points)
    with pytest.raises(Exception, match="sample_planes_reference"):
        triplane.sample_planes_reference(planes, points[:, :2])


def test_the_three_pairs_of_axes_differ():
    assert {frozenset(axes) for axes in triplane.PLANE_AXES} == {frozenset(p) for p in ((0, 1), (0, 2), (1, 2))}


def by_table(planes, points):
    """What the table gives for planes in their stored layout."""
    return triplane.sample_table(triplane.to_table(planes), points)


@pytest.mark.parametrize("sample", [triplane.sample_planes_reference, by_table])
@pytest.mark.parametrize("plane", [0, 1, 2])
def test_a_lit_texel_lights_the_line_that_the_conventions_say(sample, plane):
    side, row, column = 8, 2, 5
    planes = torch.zeros(3, 1, side, side)
    planes[plane, 0, row, column] = 1
    a, b = {0: (0, 1), 1: (2, 0), 2: (1, 2)}[plane]
    third = ({0, 1, 2} - {a, b}).pop()
    points = torch.zeros(3, 3)
    points[:, a] = (2 * column + 1) / side - 1
    points[:, b] = (2 * row + 1) / side - 1
    points[:, third] = torch.tensor([-0.9, 0.0, 0.9])
    assert torch.allclose(sample(planes, points), torch.ones(3, 1), atol=1e-6)
    half_a_texel_on = points.clone()
    half_a_texel_on[:, a] += 1 / side
    assert torch.allclose(sample(planes, half_a_texel_on), torch.full((3, 1), 0.5), atol=1e-6)
    swapped = points.clone()
    swapped[:, a], swapped[:, b] = points[:, b], points[:, a]
    assert torch.allclose(sample(planes, swapped), torch.zeros(3, 1), atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (1, 4), (1, 1)])
def test_the_gather_gives_the_reference_numbers_and_gradients(generator, shape):
    planes = torch.randn(3, 4, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    points = torch.rand(200, 3, generator=generator, dtype=torch.float64) * 2.6 - 1.3
    points[0], points[1] = 1.0, -1.0
    points.requires_grad_()
    share = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    results = []
    for sample in (triplane.sample_planes_reference, by_table):
        value = sample(planes, points)
        results.append((value, *torch.autograd.grad((value * share).sum(), (planes, points))))
    for plain, fast in zip(*results, strict=True):
        assert torch.allclose(plain, fast, atol=1e-12)


def test_the_gather_passes_gradcheck(generator):
    table = torch.randn(3, 4, 4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    points = (torch.rand(6, 3, generator=generator, dtype=torch.float64) * 1.6 - 0.8).requires_grad_()
    assert torch.autograd.gradcheck(triplane.sample_table, (table, points))


def test_no_points_give_no_features():
    assert triplane.sample_table(torch.zeros(3, 4, 4, 2), torch.zeros(0, 3)).shape == (0, 2)


def test_table_and_planes_are_inverses(generator):
    planes = torch.randn(3, 5, 4, 6, generator=generator)
    assert torch.equal(triplane.to_planes(triplane.to_table(planes)), planes)


def test_rescaling_is_resizing_twice(generator):
    planes = torch.randn(3, 4, 12, 12, generator=generator, dtype=torch.float64)
    small = F.interpolate(planes, size=(7, 7), mode="bicubic", antialias=True)
    expected = F.interpolate(small, size=(12, 12), mode="bicubic", antialias=True)
    rescaled = triplane.to_planes(triplane.rescale_table(triplane.to_table(planes), 7))
    assert torch.allclose(rescaled, expected, atol=1e-10)


def test_random_rescaling_keeps_constants_and_follows_its_generator():
    table = torch.full((3, 10, 10, 2), 0.7)
    ramp = table * torch.arange(10.0)[:, None, None]
    draws = [triplane.random_rescale(ramp, 3, torch.Generator().manual_seed(s)) for s in (0, 0, 1, 2, 3)]
    assert torch.equal(draws[0], draws[1])
    assert any(not torch.equal(draws[0], other) for other in draws[2:])
    same = triplane.random_rescale(table, 3, torch.Generator().manual_seed(5))
    assert torch.allclose(same, table, atol=1e-5)


def test_downsampling_keeps_where_things_are(generator):
    side, smaller = 32, 8
    place = (2 * torch.arange(side) + 1) / side - 1
    planes = place.expand(3, 1, side, side).contiguous()
    small = triplane.downsample(planes, smaller)
    expected = (2 * torch.arange(smaller) + 1) / smaller - 1
    # The border's texels see a one-sided kernel.
    assert torch.allclose(small[0, 0, :, 1:-1], expected[1:-1].expand(smaller, -1), atol=1e-2)
    batch = torch.randn(2, 3, 4, side, side, generator=generator)
    assert torch.allclose(triplane.downsample(batch, smaller)[1], triplane.downsample(batch[1], smaller), atol=1e-6)


def test_regularisers_by_hand():
    table = torch.zeros(3, 2, 2, 1)
    table[0, 0, 0, 0] = 2.0
    # Differences along each axis: 3 planes x 2 of them, one of which is 2.
    assert torch.isclose(triplane.smoothness(table), torch.tensor(4 / 6 + 4 / 6))
    assert torch.isclose(triplane.sparsity(table), torch.tensor(2 / 12))
    # ln 2 of thickness halves the light.
    assert torch.isclose(triplane.compactness(torch.tensor([0.0, 2.0]), 0.34657359), torch.tensor(0.25))


@pytest.mark.parametrize("corners", [1, 4, 12])
def test_rows_are_scattered_alike_with_and_without_scipy(generator, monkeypatch, corners):
    index = torch.randint(0, 40, (300, corners), generator=generator, dtype=torch.int32)
    weight = torch.rand(300, corners, generator=generator, dtype=torch.float64)
    rows = torch.randn(300, 5, generator=generator, dtype=torch.float64)
    fast = triplane.scatter_rows(index, weight, rows, 50)
    monkeypatch.setattr(triplane, "sparse", None)
    assert torch.allclose(triplane.scatter_rows(index, weight, rows, 50), fast, atol=1e-12)
    one = torch.zeros(50, 40, dtype=torch.float64)
    one[:40] = torch.eye(40, dtype=torch.float64)
    spread = (one[:, index.long()] * weight).sum(-1)
    assert torch.allclose(fast, spread @ rows, atol=1e-12)


def test_smoothness_has_the_gradient_of_its_definition(generator):
    table = torch.randn(3, 5, 4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    plain = (table[:, 1:] - table[:, :-1]).square().mean() + (table[:, :, 1:] - table[:, :, :-1]).square().mean()
    assert torch.isclose(triplane.smoothness(table), plain)
    assert torch.autograd.gradcheck(triplane.smoothness, (table,))
    assert triplane.smoothness(torch.ones(3, 1, 1, 2)) == 0
