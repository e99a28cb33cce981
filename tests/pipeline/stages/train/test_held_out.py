"""The held-out loss: what it is, that it disturbs nothing, and that it goes on where it was."""

import csv

import numpy as np
import pytest
import torch
from support.tiny import HELD_OUT, tiny_config, tree_hashes

from pipeline.contracts.errors import DataError
from pipeline.run.run import Run
from pipeline.stages.device import seeded
from pipeline.stages.report_data import _trained
from pipeline.stages.train.recipes import make_recipe
from rodin_models.checkpoint import load_state

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")
NOISED = ("base", "upsampler", "latent")
TIMES = ("0.06", "0.19", "0.31", "0.44", "0.56", "0.69", "0.81", "0.94")


def table(run, name, file="held_out.csv"):
    with (run.layout.model(name) / file).open(newline="") as handle:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(handle)]


@pytest.mark.parametrize("name", ["base", "upsampler", "latent", "refiner"])
def test_a_training_has_the_same_bytes_with_and_without_it(made, tmp_path, name):
    every = {"base": 16, "refiner": 1}.get(name, 2)
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
    places = recipe.draw_held_out(np.random.default_rng(0))
    if name == "upsampler":
        # The patch of the measurement, by its own generator.
        from pipeline.contracts.randomness import generator_for

        places = recipe.draw_held_out(generator_for(run.config.seed, 0, "upsampler held out"))
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
