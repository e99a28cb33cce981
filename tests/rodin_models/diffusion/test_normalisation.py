"""Standardising planes and latents."""

import pytest
import torch

from rodin_models.diffusion.normalisation import MIN_STD, LatentStatistics, PlaneStatistics


def test_statistics_from_sums_standardise() -> None:
    generator = torch.Generator().manual_seed(0)
    planes = 3 + torch.tensor([0.5, 2.0])[:, None, None] * torch.randn(5, 3, 2, 8, 8, generator=generator)
    statistics = PlaneStatistics(2)
    exact = planes.double()
    statistics.set_from_sums(5 * 8 * 8, exact.sum((0, 3, 4)), exact.square().sum((0, 3, 4)))
    standard = statistics.normalise(planes)
    torch.testing.assert_close(standard.mean((0, 3, 4)), torch.zeros(3, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(standard.std((0, 3, 4), correction=0), torch.ones(3, 2))
    torch.testing.assert_close(statistics.denormalise(standard), planes)


def test_a_constant_channel_stays_finite() -> None:
    statistics = LatentStatistics(2)
    statistics.set_from(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert statistics.std.tolist() == [1.0, pytest.approx(MIN_STD)]
    assert torch.equal(statistics.normalise(torch.tensor([[3.0, 5.0]])), torch.tensor([[1.0, 0.0]]))


def test_statistics_travel_with_the_weights() -> None:
    first, second = PlaneStatistics(2), PlaneStatistics(2)
    first.set(torch.full((3, 2), 0.25), torch.full((3, 2), 2.0))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.normalise(torch.ones(1, 3, 2, 1, 1)), torch.full((1, 3, 2, 1, 1), 0.375))


def test_wrong_shapes_and_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        PlaneStatistics(2).set(torch.zeros(3, 4), torch.ones(3, 4))
    with pytest.raises(ValueError, match="0 values"):
        LatentStatistics(1).set_from_sums(0, torch.zeros(1).double(), torch.zeros(1).double())
