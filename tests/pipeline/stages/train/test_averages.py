"""The length of the averaging, chosen after a training."""

import pytest
import torch
from support.tiny import tree_hashes

from pipeline.stages.train.averages import Averages
from pipeline.stages.train.held_out import HeldOut
from pipeline.stages.train.trace import Checkpoints
from rodin_models.checkpoint import load_state

pytestmark = pytest.mark.seconds

SETTINGS = (
    "latent.steps=20",
    "latent.held_out_every=5",
    "latent.ema_lengths=[0.05, 0.1, 0.15]",
    "latent.checkpoint_every=1",
)


class Stop(Exception):
    """What a test ends a training with."""


def weights(run):
    return load_state(run.layout.model("latent") / "weights")["model"]


def test_the_length_with_the_lowest_held_out_loss_is_published(made, tmp_path, monkeypatch):
    straight, stopped, plain, bare = (
        made.copy_to(tmp_path / name, "latent", settings=SETTINGS if name != "bare" else SETTINGS[:2])
        for name in ("straight", "stopped", "plain", "bare")
    )
    offered, end = {}, Averages.end

    def noted(self, step):
        for length, averaged in end(self, step):
            offered[length] = {name: weight.clone() for name, weight in averaged.items()}
            yield length, averaged

    def measuring(*after):
        # At steps 0, 5, 10, 15, 20, then of each length.
        losses = iter((5.0, 4.0, 3.0, 2.0, 1.0, *after))
        monkeypatch.setattr(HeldOut, "measure", lambda self, weights: {"held_out": next(losses)})

    monkeypatch.setattr(Averages, "end", noted)
    measuring(0.9, 0.7, 0.8)
    report = straight.train("latent")
    assert report.metrics["ema_length"] == 0.1 and report.metrics["held_out"] == 0.7
    assert list(offered) == [0.05, 0.1, 0.15]
    published = weights(straight)
    assert all(torch.equal(published[name], weight) for name, weight in offered[0.1].items())
    assert not (straight.layout.model("latent") / "checkpoints").exists()

    def stop(done, total):
        if done == 12:
            raise Stop

    measuring(0.9, 0.7, 0.8)
    with pytest.raises(Stop):
        stopped.train("latent", on_progress=stop)
    stopped.train("latent")
    hashes = [tree_hashes(run.layout.model("latent") / "weights") for run in (straight, stopped)]
    assert hashes[0] == hashes[1]

    measuring(1.1, 1.2, 1.3)
    report = plain.train("latent")
    assert "ema_length" not in report.metrics and report.metrics["held_out"] == 1.0
    measuring()
    bare.train("latent")
    assert all(torch.equal(weights(plain)[name], weight) for name, weight in weights(bare).items())
    assert not torch.equal(published["project_in.weight"], weights(bare)["project_in.weight"])


def test_kept_averages_of_another_training_are_passed_over(tmp_path):
    for identity in ("before", "now"):
        Checkpoints(tmp_path, {"fingerprint": identity}, kept=9).save(len(identity), {"value": torch.ones(2)})
    found = list(Checkpoints(tmp_path, {"fingerprint": "now"}, kept=9).newest_first())
    assert [state["step"] for state in found] == [3]
