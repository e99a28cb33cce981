"""What the head model learns from: frontal pictures under other light and framing, strangers as they are."""

import numpy as np
import pytest
import torch

from pipeline.stages.train.recipes import head, make_recipe

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")


def recipe_of(made, folder, *settings):
    return make_recipe("head", made.copy_to(folder, "head", settings=settings).run, CPU)


def test_the_square_is_where_the_configuration_says(made, tmp_path):
    recipe = recipe_of(made, tmp_path / "run")
    section, side = recipe.run.config.head, recipe.run.config.frontal.side
    assert (recipe.settings.left, recipe.settings.top) == (8, 4), "16 of 32 pixels around (0.5, 0.4)"
    assert recipe.settings.picture_side == side and recipe.settings.unet.side == section.side


def test_pictures_that_it_learns_from_are_changed_and_those_it_is_measured_on_are_not(made, tmp_path, monkeypatch):
    recipe = recipe_of(made, tmp_path / "run", "head.held_out_every=1")
    model = recipe.build(torch.Generator())
    batch = recipe.load(np.arange(len(recipe.avatars)))
    assert batch["pictures"].shape[1] == 4, "with alpha"
    seen = []
    monkeypatch.setattr(head, "training_loss", lambda model, pictures, generator, time: seen.append(pictures) or {})
    recipe.loss(model, batch, torch.Generator().manual_seed(0))
    recipe.loss(model, batch, torch.Generator().manual_seed(0), time=0.5)
    changed, plain = seen
    assert plain.equal(batch["pictures"][:, :3])
    assert changed.shape == plain.shape and changed.min() >= 0 and changed.max() <= 1
    assert (changed != plain).flatten(1).any(1).all()
    # The background stays white.
    assert (changed[:, :, 0, 0] > 0.99).all()


def test_statistics_are_of_pictures_as_it_learns_them(made, tmp_path):
    recipe = recipe_of(made, tmp_path / "run")
    model = recipe.build(torch.Generator().manual_seed(1))
    assert model.plane.statistics.std.min() > 0 and 0.1 < model.plane.statistics.mean.mean() < 1
