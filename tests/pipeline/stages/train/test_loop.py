"""What a step of the training loop is."""

import csv

import pytest
import torch

from pipeline.stages.train.recipes import latent
from rodin_models.checkpoint import load_state

pytestmark = pytest.mark.seconds


def mean_error(model, image, text, generator, time=None):
    """A loss that is a mean over items and draws nothing."""
    there = torch.full((len(image),), 0.5)
    error = (model(image / 2, there, None) - model.statistics.normalise(image)).square().mean()
    return {"loss": error, "error": error.detach()}


def test_two_batches_of_four_are_one_of_eight(made, tmp_path, monkeypatch):
    monkeypatch.setattr(latent, "training_loss", mean_error)
    shapes = {"whole": (8, 1), "halves": (4, 2), "half": (4, 1)}
    runs = {}
    for name, (batch, accumulate) in shapes.items():
        settings = ("latent.steps=5", "latent.log_every=1", "latent.warmup_steps=0", "latent.ema_decay=0.0")
        more = (f"latent.batch={batch}", f"latent.accumulate={accumulate}")
        runs[name] = made.copy_to(tmp_path / name, "latent", settings=(*settings, *more))
        runs[name].train("latent")

    def weights(name):
        return load_state(runs[name].layout.model("latent") / "weights")["model"]

    def losses(name):
        with (runs[name].layout.model("latent") / "loss.csv").open(newline="") as handle:
            return [float(row["loss"]) for row in csv.DictReader(handle)]

    whole, halves, half = (weights(name) for name in shapes)
    for name, weight in whole.items():
        torch.testing.assert_close(halves[name], weight, rtol=1e-3, atol=1e-5)
    assert losses("halves") == pytest.approx(losses("whole"), rel=1e-4)
    assert losses("half") != pytest.approx(losses("whole"), rel=1e-4)
    assert not all(torch.allclose(half[name], weight, rtol=1e-3, atol=1e-5) for name, weight in whole.items())
