"""What a stage takes up from the models that a run starts from (``train.start_from``)."""

import torch
from torch import nn

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError
from pipeline.run.start import started_from
from pipeline.stages.weights import is_state, model_tree
from rodin_models.diffusion.linear import LinearFit, LinearModel

LATER = ("frontal", "head")
"""Models that came later than others: folders made before lack them, and a run that starts from such one begins with
them anew."""
JUDGE = "discriminator."
"""Begins the names of weights that are trained beside a refiner and not kept with it."""


def take_up(config: RunConfig, name: str, model: nn.Module) -> bool:
    """Give a model the weights and statistics that its training goes on from, where the run starts from some.

    Returns whether there were any. Raises ``DataError`` where they are another model's.
    """
    models = started_from(config)
    # The recipe of CLIP takes up encoders and tokenizer as a whole; of other texts the latent model learns anew.
    if models is None or name == "clip" or (name == "latent" and config.clip.lock_image):
        return False
    if name in LATER and not is_state(models.layout.model(name) / "weights"):
        return False
    given = model_tree(models, name)["model"]
    own = model.state_dict()
    wrong = [key for key in given if key not in own or own[key].shape != given[key].shape]
    wrong += [key for key in own if key not in given and not key.startswith(JUDGE)]
    if wrong:
        raise DataError(f"model {name} cannot go on from that of {models.layout.root}: {wrong[0]} is of another shape")
    model.load_state_dict(given, strict=False)
    return True


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
