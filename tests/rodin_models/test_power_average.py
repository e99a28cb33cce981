"""Averages whose length is chosen after a training, against averages computed directly."""

import numpy as np
import pytest
import torch
from torch import nn

from rodin_models.power_average import FOLLOWED, PowerAverages, combination, combined, exponent

STEPS, MOMENTS = 400, 8


def shares(length: float, step: int) -> torch.Tensor:
    """Equation (1): the share of each of the weights after steps 1 .. STEPS in the average at ``step``."""
    edges = (torch.arange(STEPS + 1, dtype=torch.float64) / step).clamp(max=1) ** (exponent(length) + 1)
    return edges.diff()


@pytest.mark.parametrize("length", [0.03, 0.05, 0.1, 0.2, 0.28])
def test_the_length_is_the_deviation_of_the_moments(length: float) -> None:
    weights = shares(length, STEPS)
    times = (torch.arange(STEPS, dtype=torch.float64) + 0.5) / STEPS
    mean = (weights * times).sum()
    assert float((weights * (times - mean).square()).sum().sqrt()) == pytest.approx(length, rel=1e-3)
    assert float(weights.sum()) == pytest.approx(1)


@pytest.mark.parametrize("length", [0.0, -0.1, 0.29])
def test_lengths_that_no_power_has_are_refused(length: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 0.28\]"):
        exponent(length)


@pytest.fixture(scope="module")
def trained() -> tuple[torch.Tensor, list[tuple[int, float]], list[dict[str, torch.Tensor]]]:
    """Weights after every step (step, 3) of a noisy training, and what was kept of its averages."""
    generator = torch.Generator().manual_seed(0)
    decay = torch.exp(-torch.arange(STEPS, dtype=torch.float64) / 100)[:, None]
    path = decay * torch.tensor([1.0, -2.0, 3.0]) + 0.1 * torch.randn(STEPS, 3, generator=generator).double()
    model = nn.Linear(1, 3, bias=False).double()
    averages = PowerAverages(model)
    moments, kept = [], []
    for step, weight in enumerate(path, start=1):
        with torch.no_grad():
            model.weight.copy_(weight[:, None])
        averages.update(model)
        if step % (STEPS // MOMENTS) == 0:
            for length, average in zip(FOLLOWED, averages.averages, strict=True):
                moments.append((step, length))
                kept.append({name: value.clone() for name, value in average.items()})
    return path, moments, kept


def test_a_followed_average_is_the_power_average(trained) -> None:
    path, moments, kept = trained
    for (step, length), average in zip(moments, kept, strict=True):
        torch.testing.assert_close(average["weight"][:, 0], shares(length, step) @ path)


@pytest.mark.parametrize("length", FOLLOWED)
def test_a_followed_length_comes_back_exactly(trained, length: float) -> None:
    _, moments, kept = trained
    coefficients = combination(moments, STEPS, length)
    last = moments.index((STEPS, length))
    assert coefficients == pytest.approx([float(i == last) for i in range(len(moments))], abs=1e-6)
    found = combined(zip(coefficients, kept, strict=True))
    torch.testing.assert_close(found["weight"], kept[last]["weight"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("length", "within"), [(0.03, 0.11), (0.07, 0.02), (0.15, 0.04), (0.2, 0.1)])
def test_another_length_is_near_its_own_power_average(trained, length: float, within: float) -> None:
    path, moments, kept = trained
    coefficients = combination(moments, STEPS, length)
    assert sum(coefficients) == pytest.approx(1)
    made = sum(c * shares(of, step) for c, (step, of) in zip(coefficients, moments, strict=True))
    wanted = shares(length, STEPS)
    assert float((made - wanted).norm() / wanted.norm()) < within
    found = combined(zip(coefficients, kept, strict=True))["weight"][:, 0]
    torch.testing.assert_close(found, made @ path)


def test_products_are_the_integrals_of_the_shares() -> None:
    # Equation (3) at two times, by a sum over fine steps.
    from rodin_models.power_average import _products

    t, g, u, h = 0.6, 5.0, 1.0, 2.0
    tau = (np.arange(100_000) + 0.5) / 100_000
    direct = np.mean(np.where(tau < t, (g + 1) * tau**g / t ** (g + 1), 0) * (h + 1) * tau**h)
    assert _products(t, g, u, h) == pytest.approx(direct, rel=1e-4) == _products(u, h, t, g)


def test_state_goes_on() -> None:
    model = nn.Linear(2, 2)
    one, two = PowerAverages(model), PowerAverages(nn.Linear(2, 2))
    one.update(model)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        model.weight.add_(1)
    one.update(model)
    two.update(model)
    for a, b in zip(one.averages, two.averages, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert two.num_updates == 2 and not torch.equal(two.averages[0]["weight"], two.averages[1]["weight"])
