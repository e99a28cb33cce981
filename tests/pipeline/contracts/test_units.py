"""Sizes, times and speeds as text."""

import pytest

from pipeline.contracts.units import bytes_text, rate_text, seconds_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (2048, "2 KiB"),
        (3 * 2**30, "3 GiB"),
        (5 * 2**40, "5 TiB"),
        (1023 * 2**10, "1023 KiB"),
        (1843 * 2**20, "1.8 GiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_bytes(count, text):
    assert bytes_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, "--"), (5, "0:05"), (65, "1:05"), (3661, "1:01:01")])
def test_seconds(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(3.2, "3.2 steps/s"), (0.1, "6 steps/min"), (1 / 3600, "1 steps/h"), (None, "-- steps/s"), (0.0, "-- steps/s")],
)
def test_rates(rate, text):
    assert rate_text(rate, "step") == text
