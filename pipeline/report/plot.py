"""Loss curves as inline SVG: faint as measured, strong as smoothed, on a linear or logarithmic axis."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from pipeline.contracts.report.page import LossCurve

_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44
_MAX_POINTS: Final = 600
_SMOOTHING: Final = 30
"""The smoothed curve averages over about this share (1 / n) of all points."""

Points = Sequence[tuple[int, float]]


def loss_plot(curves: Sequence[LossCurve], *, log: bool) -> str:
    """One SVG with all ``curves``. On a logarithmic axis values of 0 and below are left out."""
    drawn = [(curve.name, [p for p in curve.points if not log or p[1] > 0]) for curve in curves]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return '<p class="note">No loss was recorded.</p>'
    first = min(points[0][0] for _, points in drawn)
    last = max(points[-1][0] for _, points in drawn)
    values = [value for _, points in drawn for _, value in points]
    low, high = value_range(values, log=log)

    def x(step: float) -> float:
        return _LEFT + (step - first) / max(last - first, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        at, bottom, top = (math.log10(v) if log else v for v in (value, low, high))
        return _HEIGHT - _BOTTOM - (at - bottom) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="loss over steps">']
    for tick in value_ticks(low, high, log=log):
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.3g}</text>'
        )
    for tick in sorted({first, (first + last) // 2, last}):
        unit = " steps" if tick == last else ""
        anchor = "start" if tick == first else "end" if tick == last else "middle"
        parts.append(
            f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="{anchor}">{tick:,}{unit}</text>'
        )
    for number, (name, points) in enumerate(drawn):
        smooth = smoothed(points)
        final = f"{escape(name)} {smooth[-1][1]:.3g}"
        for kind, line in (("raw", points), ("smooth", smooth)):
            path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in thinned(line))
            parts.append(f'<polyline class="{kind} c{number % 6}" points="{path}"/>')
        if len(points) == 1:
            parts.append(f'<circle class="c{number % 6}" cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="3"/>')
        left = _LEFT + number % 3 * 130
        parts.append(
            f'<rect class="c{number % 6}" x="{left}" y="{_HEIGHT - 14 - 12 * (number // 3)}" width="10" height="3"/>'
            f'<text x="{left + 14}" y="{_HEIGHT - 9 - 12 * (number // 3)}">{final}</text>'
        )
    return "".join([*parts, "</svg>"])


def smoothed(points: Points) -> list[tuple[int, float]]:
    """Exponential mean over the values, without a bias to the first one."""
    keep = 1 - 1 / max(len(points) / _SMOOTHING, 1)
    result, total, weight = [], 0.0, 0.0
    for step, value in points:
        total, weight = keep * total + value, keep * weight + 1
        result.append((step, total / weight))
    return result


def thinned(points: Points) -> Points:
    """At most about :data:`_MAX_POINTS` points, the first and the last among them."""
    stride = -(-len(points) // _MAX_POINTS)
    return [*points[:-1:stride], points[-1]]


def value_range(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """Bounds of the axis: the values' own, never equal. A linear axis begins at 0 where no value is below."""
    low, high = min(values), max(values)
    if log:
        return (low / 1.5, high * 1.5) if high < low * 2 else (low, high)
    low = min(low, 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def value_ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers between the bounds: three to eight of them."""
    if log:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            ticks = [m * 10.0**e for e in exponents for m in mantissas if low <= m * 10.0**e <= high]
            if len(ticks) >= 3:
                return ticks[:: -(-len(ticks) // 8)]
        return [low, high]
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    size = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
    return [size * i for i in range(math.ceil(low / size), math.floor(high / size + 1e-9) + 1)]
