"""Chances: one of several, with weights, and the smooth step by which one attribute follows another."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from pipeline.people.population import Table

T = TypeVar("T")


def pick(rng: np.random.Generator, chances: Mapping[T, float]) -> T:
    """One key, with chances in proportion to the values."""
    bounds = np.cumsum(tuple(chances.values()))
    return tuple(chances)[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


def choose(rng: np.random.Generator, table: Table) -> str:
    """The name of one of a table's alternatives."""
    return pick(rng, table.chances())


def ramp(value: float, low: float, high: float) -> float:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)
