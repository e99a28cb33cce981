"""How weights are moved."""

import csv

import pytest
import torch
from support.tiny import tree_hashes
from torch import nn

from pipeline.config.models import LatentConfig
from pipeline.stages.train.optimiser import ENDS, Optimiser, clip_gradients, inner_kernels, learning_rate
from pipeline.stages.train.recipes import make_recipe
from rodin_models.image.discriminator import PatchDiscriminator, adversaries


class Stop(Exception):
    """What a test ends a training with."""


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


@pytest.mark.seconds
@pytest.mark.parametrize("name", ["clip", "base", "upsampler", "latent", "refiner"])
def test_kernels_inside_of_a_network_are_not_those_at_its_ends(made, name):
    model = make_recipe(name, made.run, torch.device("cpu")).build(torch.Generator().manual_seed(0))
    names = {id(parameter): of for of, parameter in model.named_parameters()}
    inner = {names[id(kernel)] for kernel in inner_kernels(model)}
    assert all(of.endswith(".weight") for of in inner) and not any("embedding" in of for of in inner)
    ends = [of for of, module in model.named_modules() if ENDS.fullmatch(of) and hasattr(module, "weight")]
    assert len(ends) >= 2 and inner.isdisjoint(f"{end}.weight" for end in ends)
    assert len(inner) > len(ends)


@pytest.mark.seconds
def test_a_training_with_muon_learns_and_goes_on_to_the_same_bytes(made, tmp_path):
    settings = ("latent.optimiser=muon", "latent.steps=30", "latent.log_every=1", "latent.learning_rate=0.01")
    runs = [
        made.copy_to(tmp_path / f"{number}", "latent", settings=(*settings, f"latent.checkpoint_every={every}"))
        for number, every in enumerate((100, 7))
    ]
    runs[0].train("latent")

    def stop(done, total):
        if done == 17:
            raise Stop

    with pytest.raises(Stop):
        runs[1].train("latent", on_progress=stop)
    runs[1].train("latent")
    weights = [tree_hashes(run.layout.model("latent") / "weights") for run in runs]
    assert weights[0] == weights[1]
    with (runs[0].layout.model("latent") / "loss.csv").open(newline="") as handle:
        losses = [float(row["error"]) for row in csv.DictReader(handle)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_without_muon_the_state_is_adamws():
    # So that checkpoints of earlier versions go on.
    model = nn.Linear(3, 3)
    optimiser, plain = Optimiser(LatentConfig(), model), torch.optim.AdamW(model.parameters())
    assert set(optimiser.state_dict()) == set(plain.state_dict())
    assert set(Optimiser(LatentConfig(optimiser="muon"), model).state_dict()) == {*plain.state_dict(), "muon"}
