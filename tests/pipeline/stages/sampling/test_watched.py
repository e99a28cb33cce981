"""Generation by models that are loaded: its steps are told, it can be ended, and others like one are near it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.contracts.errors import DataError
from pipeline.run.model_folder import ModelFolder
from pipeline.stages.generate import Request, generate_request, generate_with
from pipeline.stages.live import live_drawn
from pipeline.stages.sampling.load import load_sampler

pytestmark = pytest.mark.seconds
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sampler(made):
    return load_sampler(ModelFolder.of_run(made.run), CPU)


def silent(done, total):
    """A progress that nobody watches."""


def nobody(drawn):
    """Planes that nobody waits for."""


def loaded(path):
    return np.load(path / "avatar-000" / "planes.npy")


def test_loaded_models_make_what_generate_makes(made, sampler, tmp_path):
    request = Request(num=1, text="an old woman", name="one")
    by_folder = generate_request(ModelFolder.of_run(made.run), request, silent, to=tmp_path / "a")
    seen = []
    by_sampler = generate_with(sampler, request, silent, seen.append, to=tmp_path / "b")
    np.testing.assert_array_equal(loaded(by_folder), loaded(by_sampler))
    (drawn,) = seen
    np.testing.assert_array_equal(drawn.planes.numpy(), loaded(by_sampler))
    assert json.loads(json.dumps(drawn.record)) == json.loads((by_sampler / "avatar-000" / "avatar.json").read_text())
    live = live_drawn("one", drawn.planes.float(), drawn.decoder, drawn.sampling, drawn.record, "a run")
    assert live.caption == "an old woman" and ("models", "a run") in live.made


def test_each_step_is_told_and_can_be_the_last(made, sampler, tmp_path):
    told = []
    request = Request(num=1, text="an old woman", name="one")
    watched = replace(sampler, on_step=lambda *step: told.append(step))
    generate_with(watched, request, silent, nobody, to=tmp_path)
    steps = sampler.sampling.generate
    parts = ("latent", "frontal", "head", "base", "upsampler")
    counted = {name: getattr(steps, f"{name}_steps") for name in parts}
    others = [step for step in told if step[0] != "portrait"]
    assert others == [(name, step, most) for name, most in counted.items() for step in range(1, most + 1)]
    named = list(dict.fromkeys(name for name, _, _ in told))
    assert named == ["latent", "frontal", "head", "portrait", "base", "upsampler"]
    renders = [step for step in told if step[0] == "portrait"]
    most = steps.portrait_steps + steps.portrait_detail_steps
    assert [done for _, done, _ in renders] == [min(i + 1, most) for i in range(len(renders))]

    def end(what, done, of):
        if what == "base":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_with(replace(sampler, on_step=end), replace(request, name="two"), silent, nobody, to=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one"], "nothing is left of what was ended"


def test_somebody_like_somebody_is_nearer_than_anybody(sampler, tmp_path):
    first = generate_with(sampler, Request(num=1, name="first"), silent, nobody, to=tmp_path) / "avatar-000"

    def latent(**asked):
        folder = generate_with(sampler, Request(num=4, seed=1, **asked), silent, nobody, to=tmp_path)
        return np.stack([np.load(path) for path in sorted(folder.glob("*/latent.npy"))])

    start = np.load(first / "latent.npy")
    like, anybody = latent(name="like", like=first), latent(name="anybody")
    assert json.loads((tmp_path / "like" / "avatar-003" / "avatar.json").read_text())["source"] == "like"
    assert len(np.unique(like, axis=0)) == 4
    assert np.linalg.norm(like - start, axis=1).max() < np.linalg.norm(anybody - start, axis=1).max()
    np.testing.assert_allclose(sampler.near(torch.tensor(like), torch.tensor(anybody), 0.0), like, atol=1e-6)
    np.testing.assert_allclose(sampler.near(torch.tensor(like), torch.tensor(anybody), 1.0), anybody, atol=1e-6)


def test_what_is_no_avatar_of_these_models_has_no_likes(sampler, tmp_path):
    with pytest.raises(DataError, match="is no generated avatar"):
        generate_with(sampler, Request(num=1, like=tmp_path), silent, nobody, to=tmp_path / "a")
    np.save(tmp_path / "latent.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "planes.npy", np.zeros((3, 4, 16, 16), np.float16))
    with pytest.raises(DataError, match="by other models"):
        generate_with(sampler, Request(num=1, like=tmp_path), silent, nobody, to=tmp_path / "a")
