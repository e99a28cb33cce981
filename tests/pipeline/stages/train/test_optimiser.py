"""How weights are moved."""

import pytest
import torch
from torch import nn

from pipeline.config.models import LatentConfig
from pipeline.stages.train.optimiser import clip_gradients, learning_rate
from rodin_models.image.discriminator import PatchDiscriminator, adversaries


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


def test_a_discriminator_is_clipped_apart_from_what_it_judges():
    model = nn.Module()
    model.made, model.judge = nn.Linear(3, 3), PatchDiscriminator(3, 4, torch.Generator().manual_seed(0))
    made, judging = adversaries(model)
    assert {id(p) for p in made} == {id(p) for p in model.made.parameters()}
    assert {id(p) for p in judging} == {id(p) for p in model.judge.parameters()}
    assert len(adversaries(model.made)) == 1

    def norm(side):
        return float(nn.utils.get_total_norm([p.grad for p in side]))

    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3 if any(parameter is p for p in made) else 1e3)
    before = norm(made)
    assert clip_gradients(model)
    assert norm(made) == before < 1, "the judge's large gradient leaves it alone"
    assert norm(judging) == pytest.approx(1.0)
    judging[0].grad[0] = float("nan")
    assert not clip_gradients(model)
