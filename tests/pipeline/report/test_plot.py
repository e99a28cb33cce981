import re

import pytest

from pipeline.contracts.report.page import LossCurve
from pipeline.report.plot import loss_plot, smoothed, thinned, value_range, value_ticks


def _polyline(svg: str, kind: str) -> list[tuple[float, float]]:
    match = re.search(rf'<polyline class="{kind} c0" points="([^"]*)"', svg)
    assert match is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in match.group(1).split())]


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis() -> None:
    curve = LossCurve(name="loss", points=((0, 100.0), (5, 10.0), (10, 1.0)))
    (x0, y0), (x1, y1), (x2, y2) = _polyline(loss_plot([curve], log=True), "raw")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y2 > y1 > y0  # SVG's y points down
    (_, y0), (_, y1), (_, y2) = _polyline(loss_plot([curve], log=False), "raw")
    assert (y1 - y0) / (y2 - y1) == pytest.approx(10.0, rel=0.05)


def test_values_without_a_logarithm_are_left_out() -> None:
    curve = LossCurve(name="loss", points=((0, 1.0), (1, 0.0), (2, -1.0), (3, 2.0)))
    assert len(_polyline(loss_plot([curve], log=True), "raw")) == 2
    assert len(_polyline(loss_plot([curve], log=False), "raw")) == 4
    assert "No loss was recorded" in loss_plot([LossCurve(name="loss", points=((0, -1.0),))], log=True)
    assert "No loss was recorded" in loss_plot([], log=False)


def test_one_point_is_a_dot() -> None:
    assert "<circle" in loss_plot([LossCurve(name="loss", points=((3, 0.5),))], log=True)


def test_smoothing_keeps_constants_and_short_series() -> None:
    assert [v for _, v in smoothed([(i, 2.0) for i in range(300)])] == pytest.approx([2.0] * 300)
    short = [(0, 3.0), (1, 1.0)]
    assert smoothed(short) == short
    noisy = [(i, float(i % 2)) for i in range(300)]
    assert all(abs(v - 0.5) < 0.1 for _, v in smoothed(noisy)[50:])


def test_thinning_keeps_the_ends() -> None:
    points = [(i, float(i)) for i in range(10_001)]
    kept = thinned(points)
    assert kept[0] == points[0] and kept[-1] == points[-1] and 500 < len(kept) <= 602
    assert list(thinned(points[:3])) == points[:3]


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("values", [(1.0, 1.0), (0.001, 1000.0), (0.52, 0.9), (3.0, 3.01), (1e-9, 1e9)])
def test_ticks_are_few_and_within_the_axis(values: tuple[float, float], log: bool) -> None:
    low, high = value_range(values, log=log)
    ticks = value_ticks(low, high, log=log)
    assert low < high and 2 <= len(ticks) <= 9
    assert all(low <= tick <= high * (1 + 1e-9) for tick in ticks)
    assert ticks == sorted(set(ticks))
