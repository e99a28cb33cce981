"""What a stage takes up from the models that a run starts from (``train.start_from``), and how it reads a model."""

from typing import Any

import torch
from torch import nn

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError
from pipeline.run.model_folder import ModelFolder
from pipeline.run.start import started_from
from pipeline.stages.weights import read_state
from rodin_models.checkpoint import has_state
from rodin_models.diffusion.linear import LinearFit, LinearModel

JUDGE = "discriminator."
"""Begins the names of weights that are trained beside a refiner and not kept with it."""


def model_tree(models: ModelFolder, name: str) -> dict[str, Any]:
    """A model's ``settings``, its state dict ``model``, and what is kept beside them.

    Raises ``DataError`` where it is missing or damaged.
    """
    folder = models.layout.model(name) / "weights"
    if not has_state(folder):
        raise DataError(models.why_missing(name))
    return read_state(folder, ("settings", "model"), what=f"model {name}", remedy=remedy(models, name))


def remedy(models: ModelFolder, name: str) -> str:
    """What to do about a model that is damaged, or another's."""
    return "copy the folder again" if models.record is not None else f"train it again with --redo {name}"


def take_up(config: RunConfig, name: str, model: nn.Module) -> None:
    """Give a model the weights and statistics that its training goes on from, where the run starts from some.

    Raises ``DataError`` where they are another model's.
    """
    models = started_from(config)
    if models is None:
        return
    given = model_tree(models, name)["model"]
    own = model.state_dict()
    wrong = [key for key in given if key not in own or own[key].shape != given[key].shape]
    wrong += [key for key in own if key not in given and not key.startswith(JUDGE)]
    if wrong:
        raise DataError(f"model {name} cannot go on from that of {models.layout.root}: {wrong[0]} is of another shape")
    model.load_state_dict(given, strict=False)


def given_linear(config: RunConfig, latents: torch.Tensor) -> LinearFit | None:
    """The linear model that a run starts from, and what it predicts for avatars, to whom it is a stranger.

    ``None`` where the run starts from nothing. Raises ``DataError`` where there are models and none of that kind.
    """
    models = started_from(config)
    if models is None:
        return None
    tree = model_tree(models, "base").get("linear")
    if tree is None:
        raise DataError(f"base.linear is true, and the base model of {models.layout.root} stands on no linear one")
    return LinearFit.of_strangers(LinearModel.from_tree(tree), latents)
