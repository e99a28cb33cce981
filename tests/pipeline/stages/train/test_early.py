"""Early weights of the base model, and guidance by them."""

from dataclasses import replace

import pytest
import torch
from support.tiny import tree_hashes

from pipeline.contracts.errors import ConfigError
from pipeline.run.model_folder import ModelFolder
from pipeline.stages.latents import load_latents
from pipeline.stages.sampling.load import load_sampler
from rodin_models.checkpoint import load_state

pytestmark = pytest.mark.seconds


class Stop(Exception):
    """What a test ends a training with."""


def tree(run):
    return load_state(run.layout.model("base") / "weights")


def sampler(run, autoguidance):
    folder = ModelFolder.of_run(run.run)
    generate = folder.sampling.generate.model_copy(update={"autoguidance": autoguidance})
    return load_sampler(replace(folder, sampling=folder.sampling.model_copy(update={"generate": generate})), CPU)


CPU = torch.device("cpu")


def test_early_weights_are_published_beside_the_last_and_guide(made, tmp_path):
    settings = ("base.early_share=0.25", "base.steps=12")
    whole, stopped = (made.copy_to(tmp_path / name, "base", settings=settings) for name in ("whole", "stopped"))
    short = made.copy_to(tmp_path / "short", "base", settings=("base.steps=3",))
    whole.train("base")
    short.train("base")
    early, ended = tree(whole)["early"], tree(short)["model"]
    assert all(torch.equal(early[name], weight) for name, weight in ended.items()), "3 of 12 steps are a quarter"
    assert "early" not in tree(short) and not torch.equal(
        early["unet.first.weight"], tree(whole)["model"]["unet.first.weight"]
    )

    def stop(done, total):
        if done == 6:
            raise Stop

    with pytest.raises(Stop):
        stopped.train("base", on_progress=stop)
    stopped.train("base")
    hashes = [tree_hashes(run.layout.model("base") / "weights") for run in (whole, stopped)]
    assert hashes[0] == hashes[1]

    latents = load_latents(whole.layout).image[:1]
    planes = [sampler(whole, weight).planes(latents, torch.Generator().manual_seed(0)) for weight in (1.0, 3.0)]
    assert not torch.equal(*planes)
    with pytest.raises(
        ConfigError, match=r"generate\.autoguidance is 3\.0, but the base model .* has no early weights"
    ):
        sampler(short, 3.0)
