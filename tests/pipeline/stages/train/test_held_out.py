"""The held-out loss: what it is, that it disturbs nothing, and that it goes on where it was."""

import csv

import numpy as np
import pytest
import torch
from support.tiny import HELD_OUT, tiny_config, tree_hashes

from pipeline.contracts.errors import DataError
from pipeline.contracts.randomness import generator_for
from pipeline.run.run import Run
from pipeline.stages.device import seeded
from pipeline.stages.report_data import _trained
from pipeline.stages.train.held_out import HeldOut
from pipeline.stages.train.recipes import make_recipe
from pipeline.stages.work import WorkItem
from rodin_models.checkpoint import load_state

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")
NOISED = ("base", "upsampler", "latent")
TIMES = ("0.06", "0.19", "0.31", "0.44", "0.56", "0.69", "0.81", "0.94")


class Stop(Exception):
    """What a test ends a training with."""


def stop_at(step):
    def on_progress(done, total):
        if done == step:
            raise Stop

    return on_progress


def table(run, name, file="held_out.csv"):
    with (run.layout.model(name) / file).open(newline="") as handle:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(handle)]


@pytest.mark.parametrize("name", ["base", "upsampler", "latent", "refiner"])
def test_a_training_has_the_same_bytes_with_and_without_it(made, tmp_path, name):
    every = {"base": 3, "refiner": 1}.get(name, 2)
    run = made.copy_to(tmp_path / "run", name, settings=(f"{name}.held_out_every={every}",))
    report = run.train(name)
    assert tree_hashes(run.layout.model(name) / "weights") == tree_hashes(made.layout.model(name) / "weights")
    assert table(run, name, "loss.csv") == table(made, name, "loss.csv")
    assert not (made.layout.model(name) / "held_out.csv").exists()
    rows, steps = table(run, name), getattr(run.config, name).steps
    assert [row["step"] for row in rows] == sorted({*range(0, steps, every), steps})
    assert report.metrics["held_out"] == rows[-1]["held_out"] != rows[0]["held_out"]
    assert report.avatars == (0, 1, 2, 3, 4, *HELD_OUT), "their planes are a part of what it read"
    columns = [f"held_out_{time}" for time in TIMES] if name in NOISED else []
    assert list(rows[0]) == ["step", "held_out", *columns]
    if columns:
        shares = [share for _, share in make_recipe(name, run.run, CPU).levels()]
        means = [np.dot([row[column] for column in columns], shares) for row in rows]
        assert [row["held_out"] for row in rows] == pytest.approx(means)
    shown = _trained(run.run, name)
    assert shown.curves[-1].name == "held_out" and len(shown.curves[-1].points) == len(rows)
    assert [level.name for level in shown.levels] == columns
    assert _trained(made.run, name).levels == ()


def test_clip_tells_held_out_people_apart(made, tmp_path):
    plain, measured = (
        made.copy_to(tmp_path / f"every-{every}", "clip", settings=("render.held_out_every=3", more))
        for every, more in enumerate(("clip.log_every=1", "clip.held_out_every=1"))
    )
    plain.train("clip")
    assert measured.train("clip").avatars == (0, 1, 3, 4, 2, 5)
    assert tree_hashes(plain.layout.model("clip") / "weights") == tree_hashes(measured.layout.model("clip") / "weights")
    assert [row["step"] for row in table(measured, "clip")] == [0, 1, 2, 3]
    recipe = make_recipe("clip", measured.run, CPU)
    assert recipe.draw_held_out(np.random.default_rng(0))[:, 0].tolist() == [4, 5]


@pytest.mark.parametrize("name", NOISED)
def test_it_is_the_training_loss_of_the_published_weights_at_each_level_of_noise(made, tmp_path, name):
    run = made.copy_to(tmp_path / "run", name, settings=(f"{name}.held_out_every=100", f"{name}.diffusion.min_snr=5.0"))
    run.train(name)
    recipe = make_recipe(name, Run(run.layout, run.config), CPU)
    model = recipe.build(torch.Generator().manual_seed(0))
    model.load_state_dict(load_state(run.layout.model(name) / "weights")["model"])
    model.eval()
    places = recipe.draw_held_out(generator_for(run.config.seed, 0, f"{name} held out"))
    batch, last = recipe.load(places), table(run, name)[-1]
    for place, time in enumerate(TIMES):
        generator = seeded(run.config, 0, f"{name} held out", CPU)
        with torch.no_grad():
            loss = recipe.loss(model, batch, generator, (place + 0.5) / 8)["loss"]
        assert last[f"held_out_{time}"] == pytest.approx(float(loss), rel=1e-5)


def test_held_out_avatars_are_read_as_such(made):
    config = tiny_config(made.config.render.python, *(f"{name}.held_out_every=1" for name in NOISED))
    recipe = make_recipe("base", Run(made.layout, config), CPU)
    rows = recipe.draw_held_out(np.random.default_rng(0))
    assert recipe.held_out == HELD_OUT and [recipe.data.avatar(row) for row in rows] == [5]
    batch = recipe.load(np.array([0, recipe.data.rows]))
    unseen = recipe.linear.model.eigen.planes(recipe.linear.unseen[:1])
    torch.testing.assert_close(batch["predicted"][:1], unseen, rtol=1e-5, atol=1e-6)
    predicted = recipe.linear.model.predict(batch["latents"][1:])
    torch.testing.assert_close(batch["predicted"][1:], predicted, rtol=1e-5, atol=1e-6)
    stored = recipe.data.store.read_many([5], "base_planes")
    assert np.array_equal(batch["planes"][1:].numpy(), stored.astype(np.float32))
    fewer = make_recipe("latent", Run(made.layout, made.config), CPU)
    assert fewer.held_out == () and len(fewer.draw_held_out(np.random.default_rng(0))) == 0


def test_nobody_to_measure_on_is_told_before_any_step(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "clip", settings=("clip.held_out_every=10",))
    with pytest.raises(DataError, match=r"clip\.held_out_every is 10, but there are too few held-out avatars"):
        run.train("clip")


OVERSHOOTING = ("latent.steps=12", "latent.learning_rate=1.0", "latent.warmup_steps=0", "latent.held_out_every=2")
"""A learning rate at which the loss turns within a few steps."""


def test_the_best_weights_are_kept_and_an_interrupted_training_keeps_the_same(made, tmp_path):
    settings = (*OVERSHOOTING, "latent.ema_decay=0.5", "latent.keep=best", "latent.checkpoint_every=1")
    straight, stopped = (made.copy_to(tmp_path / name, "latent", settings=settings) for name in ("one", "two"))
    report = straight.train("latent")
    rows = table(straight, "latent")
    best = min(rows, key=lambda row: row["held_out"])
    assert 0 < best["step"] < 12, "else there is nothing to choose"
    assert report.metrics["held_out_step"] == best["step"] and report.metrics["held_out"] == best["held_out"]
    recipe = make_recipe("latent", straight.run, CPU)
    model = recipe.build(torch.Generator().manual_seed(0))
    weights = load_state(straight.layout.model("latent") / "weights")["model"]
    model.load_state_dict(weights)
    item = WorkItem(straight.run, "latent", "")
    measured = HeldOut(item, recipe, model, CPU).measure(weights)
    assert measured["held_out"] == pytest.approx(best["held_out"], rel=1e-6)

    # Killed after the best ones, of which then only a checkpoint knows. Which they are depends on the processor.
    stop = min(best["step"] + 3, 11)
    with pytest.raises(Stop):
        stopped.train("latent", on_progress=stop_at(stop))
    begun = []
    stopped.train("latent", on_progress=lambda done, total: begun.append(done))
    assert begun[0] == stop
    assert tree_hashes(stopped.layout.model("latent") / "weights") == tree_hashes(
        straight.layout.model("latent") / "weights"
    )
    assert table(stopped, "latent") == rows


def test_a_training_without_gain_ends_early(made, tmp_path):
    settings = (*OVERSHOOTING, "latent.ema_decay=0.5", "latent.steps=40", "latent.patience=2")
    run = made.copy_to(tmp_path / "run", "latent", settings=(*settings, "latent.checkpoint_every=1"))
    with pytest.raises(Stop):
        run.train("latent", on_progress=stop_at(3))
    told = []
    report = run.train("latent", on_progress=lambda done, total: told.append((done, total)))
    rows = table(run, "latent")
    losses = [row["held_out"] for row in rows]
    assert losses.index(min(losses)) == len(losses) - 3, "two measurements after the lowest"
    assert report.metrics["steps"] == rows[-1]["step"] == report.metrics["held_out_step"] < 40
    assert table(run, "latent", "loss.csv")[-1]["step"] == rows[-1]["step"] - 1
    assert told[-1] == (40, 40), "nothing is left to do"


def test_a_loss_that_is_no_number_is_never_the_best(made):
    config = tiny_config(made.config.render.python, "latent.held_out_every=1", "latent.patience=2")
    item = WorkItem(Run(made.layout, config), "latent", "")
    recipe = make_recipe("latent", item.run, CPU)
    held_out = HeldOut(item, recipe, recipe.build(torch.Generator().manual_seed(0)), CPU)
    for step, loss in enumerate((3.0, 2.0, float("nan"))):
        held_out.curve.add(step, 0.0, {"held_out": loss})
    assert held_out.since_best == 1 and not held_out.is_over
    held_out.curve.add(3, 0.0, {"held_out": 2.0})
    assert held_out.since_best == 2 and held_out.is_over
