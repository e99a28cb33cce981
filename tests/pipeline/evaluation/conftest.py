"""A subject of the tiny run: enough held-out people, one fit a shard, models of a few steps."""

import pytest
import torch

from pipeline.evaluation.subject import Subject, models_sha256
from pipeline.run.model_folder import ModelFolder
from pipeline.stages.sampling.load import load_sampler

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def evaluated(made, tmp_path_factory):
    """A copy of the whole tiny run in which every third avatar counts as held out, so that there are two of them."""
    run = made.copy_to(tmp_path_factory.mktemp("evaluated") / "run", settings=("render.held_out_every=3",))
    run.layout.config.write_text(run.config.to_toml())
    return run


@pytest.fixture
def subject(evaluated):
    models = ModelFolder.of_run(evaluated.run)
    return Subject(evaluated.run, load_sampler(models, CPU), models_sha256(models), 4, lambda done, total: None)
