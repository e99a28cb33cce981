"""Wishes become avatars on the shelf, by the tiny models and without any page."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.contracts.errors import ConfigError, DataError
from pipeline.run.model_folder import ModelFolder
from pipeline.studio.jobs import Cancelled, Job
from pipeline.studio.maker import Maker, another_seed, guidance_of, sampling_of
from pipeline.studio.shelf import Shelf
from pipeline.studio.wish import LARGEST_SEED, Wish

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def maker(made, tmp_path_factory):
    shelf = Shelf(tmp_path_factory.mktemp("studio"))
    shelf.work.mkdir()
    return Maker.load(ModelFolder.of_run(made.run), shelf)


class Told(Job):
    """A job that keeps what it is told, and ends at words that begin in some way."""

    def __init__(self, last="never"):
        super().__init__("somebody", lambda job: None)
        self.told, self.last = [], last

    def tell(self, share, words):
        self.told.append((share, words))
        if words.startswith(self.last):
            raise Cancelled
        super().tell(share, words)


def planes(item):
    return np.load(item.folder / "planes.npy")


def test_a_wish_is_made_step_by_step_and_kept_with_its_settings(maker):
    job, wish = Told(), Wish(text="an old woman", seed=3)
    maker.check(wish)
    item = maker.make(wish, None, job)
    shares = [share for share, _ in job.told]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] == 1
    words = [said for _, said in job.told]
    assert {"base planes: step 2 of 2", "full planes: step 1 of 2", "pictures from all sides: 3 of 4"} <= set(words)
    assert maker.shelf.find(item.name).made.wish == wish and item.made.seconds > 0
    assert job.early == (item.folder / "avatar.html").read_text() and "an old woman" in job.early
    labels = {label for label, _ in item.downloads()}
    assert labels | {"GLB"} == {"HTML", "GLB", "MP4", "PNG", "planes"}
    assert ("GLB" in labels) == (not item.made.left_out), "what is missing is said"
    assert not list(maker.shelf.work.iterdir())
    same, other = (maker.make(Wish(text="an old woman", seed=seed), None, Told()) for seed in (3, 4))
    np.testing.assert_array_equal(planes(item), planes(same))
    assert np.abs(planes(item).astype(float) - planes(other)).max() > 0


def test_a_portrait_an_edit_and_others_like_it(maker, tmp_path):
    path = tmp_path / "me.png"
    image = Image.new("RGB", (40, 50), "white")
    ImageDraw.Draw(image).ellipse((8, 10, 32, 44), (200, 150, 120))
    image.save(path)
    job = Told()
    item = maker.make(Wish(portrait="me.png"), path, job)
    assert item.portrait().read_bytes() == path.read_bytes()
    assert any(words.startswith("following the portrait: render") for _, words in job.told)
    weak, strong = (
        maker.make(Wish(portrait="me.png", edit="with glasses", edit_strength=strength), path, Told())
        for strength in (0.0, 3.0)
    )
    np.testing.assert_array_equal(planes(item), planes(weak))
    assert np.abs(planes(item).astype(float) - planes(strong)).max() > 0
    like = Wish(like=item.name, seed=1)
    maker.check(like)
    made = maker.make(like, None, Told())
    assert json.loads((made.folder / "avatar.json").read_text())["source"] == "like"


@pytest.mark.parametrize("last", ["base planes", "pictures", "mesh"])
def test_what_is_not_wanted_any_more_leaves_nothing(maker, last):
    before = maker.shelf.look()[0]
    with pytest.raises(Cancelled):
        maker.make(Wish(), None, Told(last))
    assert maker.shelf.look()[0] == before and not list(maker.shelf.work.iterdir())


def test_settings_lie_over_the_models_own(maker):
    own = maker.models.sampling
    assert sampling_of(Wish(edit_strength=own.generate.edit_strength), own) == own
    asked = sampling_of(Wish(guidance=5.0, steps=1, edit_strength=2.0), own).generate
    assert (asked.text_guidance, asked.base_steps, asked.upsampler_steps, asked.edit_strength) == (5.0, 1, 1, 2.0)
    assert guidance_of(sampling_of(Wish(guidance=5.0), own)) == 5.0
    assert asked.caption_guidance == (5.0 if own.generate.caption_guidance else 0.0)
    assert set(maker.steps()) == {steps for steps in (2, 5, 10, 20, 25, 50, 100) if maker.sampler.takes(steps)}


def test_what_cannot_be_made_is_said_before_any_work(maker):
    with pytest.raises(ConfigError, match="cannot sample in 9999 steps: choose"):
        maker.check(Wish(steps=9999))
    with pytest.raises(DataError, match="no avatar"):
        maker.check(Wish(like="0999-nobody"))
    with pytest.raises(ConfigError, match="is empty"):
        maker.check(Wish(text=" "))


def test_seeds_by_lot_are_seeds_and_others():
    drawn = {another_seed(5) for _ in range(200)}
    assert 5 not in drawn and len(drawn) > 150 and all(0 <= seed <= LARGEST_SEED for seed in drawn)
