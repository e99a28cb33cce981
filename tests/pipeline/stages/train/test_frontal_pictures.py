"""What the frontal model learns from: frontal pictures, mirrored ones, and what is expected of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.stages.train import fronts
from pipeline.stages.train.recipes import frontal, make_recipe
from pipeline.stages.views import read_samples, rgb_tensor

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")


def recipe_of(made, folder, *settings):
    return make_recipe("frontal", made.copy_to(folder, "frontal", settings=settings).run, CPU)


def test_rows_are_people_then_their_mirror_images_then_strangers(made, tmp_path):
    recipe = recipe_of(made, tmp_path / "run", "train.mirror=true", "frontal.held_out_every=1")
    recipe.build(torch.Generator())
    num = len(recipe.avatars)
    batch = recipe.load(np.array([0, num, 2 * num]))
    first, mirrored, stranger = batch["pictures"]
    assert first.equal(mirrored.flip(-1))
    for avatar, picture in ((recipe.avatars[0], first), (recipe.held_out[0], stranger)):
        whole = rgb_tensor(read_samples(recipe.run, avatar, ("frontal",))[0], CPU)
        side = picture.shape[-1]
        small = F.interpolate(whole[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)
        torch.testing.assert_close(picture, small, rtol=0, atol=1 / 255)


def test_whoever_the_regression_did_not_see_is_expected_by_it(made, tmp_path, monkeypatch):
    monkeypatch.setattr(frontal, "FITTED_PEOPLE", 2)
    recipe = recipe_of(made, tmp_path / "run")
    model = recipe.build(torch.Generator())
    rows = np.arange(3)
    expected = recipe.load(rows)["expected"]
    whole = model.expected(recipe.data.latents_of(rows))
    torch.testing.assert_close(expected[2], whole[2])
    assert not torch.allclose(expected[0], whole[0]), "of those that it saw, what the others say"


def test_pictures_that_are_not_kept_are_read_again(made, tmp_path, monkeypatch):
    recipe = recipe_of(made, tmp_path / "run")
    recipe.build(torch.Generator())
    rows = np.arange(len(recipe.avatars))
    before = recipe.load(rows)["pictures"]
    monkeypatch.setattr(fronts, "KEPT_BYTES", 2 * 3 * recipe.run.config.frontal.side**2)
    recipe.fronts._kept.clear()
    assert recipe.load(rows)["pictures"].equal(before) and len(recipe.fronts._kept) == 2
