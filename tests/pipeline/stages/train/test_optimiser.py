"""How weights are moved."""

import pytest

from pipeline.config.models import LatentConfig
from pipeline.stages.train.optimiser import learning_rate


def test_the_learning_rate_rises_holds_and_falls():
    settings = LatentConfig(steps=20, learning_rate=1.0, warmup_steps=4, decay_share=0.25)
    rates = [learning_rate(settings, step) for step in range(20)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 13, 0.8, 0.6, 0.4, 0.2])
    held = [learning_rate(LatentConfig(steps=20, learning_rate=1.0, warmup_steps=4), step) for step in range(20)]
    assert held == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 17])


def test_a_rise_and_a_fall_may_meet():
    settings = LatentConfig(steps=4, learning_rate=2.0, warmup_steps=4, decay_share=1.0)
    assert [learning_rate(settings, step) for step in range(4)] == [0.5, 1.0, 1.0, 0.5]
    settings = LatentConfig(steps=4, learning_rate=2.0, warmup_steps=0, decay_share=0.0)
    assert [learning_rate(settings, step) for step in range(4)] == [2.0] * 4
