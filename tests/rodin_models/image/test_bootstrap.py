import math

import pytest
import torch

from rodin_models.image.bootstrap import bootstrap, bootstrap_mean, bootstrap_means, bootstrap_ratio


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_interval_of_a_mean_is_two_standard_errors_wide_on_each_side():
    values = torch.randn(400, generator=seeded(1)) * 3 + 10
    estimate = bootstrap_mean(values, seeded())
    error = float(values.std()) / math.sqrt(400)
    assert estimate.value == pytest.approx(float(values.mean()))
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert estimate.low < estimate.value < estimate.high and estimate.n == 400


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = torch.arange(20.0)
    assert bootstrap_mean(values, seeded()) == bootstrap_mean(values, seeded())
    assert bootstrap_mean(values, seeded()).low != bootstrap_mean(values, seeded(1)).low


def test_a_bias_of_resampling_does_not_move_the_interval():
    # The number of different avatars: resampling repeats some, so that all resampled figures lie below the figure.
    estimate = bootstrap(lambda rows: float(len(set(rows.tolist()))), (50,), seeded())
    assert estimate.value == 50.0
    assert estimate.low < 50.0 < estimate.high


def test_a_ratio_draws_its_groups_apart():
    same = torch.tensor([0.0, 1.0]).repeat(50)
    estimate = bootstrap_ratio(same, same, seeded())
    assert estimate.value == 1.0 and estimate.low < 0.9 and estimate.high > 1.1


def test_what_is_no_number_is_left_out():
    estimate = bootstrap_mean(torch.tensor([1.0, float("nan"), 3.0]), seeded())
    assert (estimate.value, estimate.n) == (2.0, 2)
    # One avatar in two is the ratio's denominator: resamples without it have none.
    ratio = bootstrap_ratio(torch.ones(2), torch.tensor([0.0, 1.0]), seeded())
    assert ratio.value == 2.0 and math.isfinite(ratio.low) and math.isfinite(ratio.high)
    nothing = bootstrap_ratio(torch.ones(2), torch.zeros(2), seeded())
    assert math.isnan(nothing.value) and math.isnan(nothing.low)


def test_an_empty_group_is_refused():
    with pytest.raises(ValueError, match="each needs an avatar"):
        bootstrap_mean(torch.empty(0), seeded())
    with pytest.raises(ValueError, match="at least one avatar"):
        bootstrap(lambda rows: 0.0, (0,), seeded())


def test_all_resamples_at_once_are_as_wide_as_one_after_the_other():
    values = torch.randn(2, 60, generator=seeded(1)) + 5
    together = bootstrap_means([values], lambda a, b: a - b, seeded(2), resamples=4000)

    def difference(rows):
        return float(values[0, rows].mean() - values[1, rows].mean())

    apart = bootstrap(difference, (60,), seeded(3), resamples=4000)
    assert together.value == pytest.approx(apart.value, abs=1e-6)
    assert together.high - together.low == pytest.approx(apart.high - apart.low, rel=0.1)
