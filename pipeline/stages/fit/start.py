"""Where the fit of an avatar starts (``fit.start``)."""

from collections.abc import Callable

import torch

from pipeline.contracts.errors import DataError
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.run.start import started_from
from pipeline.stages.latents import load_run_clip
from pipeline.stages.views import read_samples, rgb_tensor
from pipeline.stages.weights import model_tree
from rodin_models.diffusion.linear import LinearModel


def fit_starts(run: Run, mean_planes: torch.Tensor, device: torch.device) -> Callable[[int], torch.Tensor]:
    """The planes (3, channel, side, side) that an avatar's fit starts from: the mean, or what is predicted.

    Raises ``DataError`` where nothing can be predicted. That the models are of planes of this run's shape was checked
    when it was configured.
    """
    models = started_from(run.config) if run.config.fit.start == "predicted" else None
    return predictions(models, run, mean_planes, device) if models is not None else lambda avatar: mean_planes


def predictions(
    models: ModelFolder, run: Run, mean_planes: torch.Tensor, device: torch.device
) -> Callable[[int], torch.Tensor]:
    """The planes that the linear model of some models predicts of the frontal picture of a run's avatar.

    Raises ``DataError`` where these models have none.
    """
    from rodin_models.image.clip import encode_images

    tree = model_tree(models, "base").get("linear")
    if tree is None:
        raise DataError(
            f"fit.start is predicted, and the base model of {models.layout.root} stands on no linear one: set it to "
            "mean, or start from models that were trained with base.linear"
        )
    linear = LinearModel.from_tree(tree).to(device)
    clip, _ = load_run_clip(models.layout, device)

    def predicted(avatar: int) -> torch.Tensor:
        (frontal,) = read_samples(run, avatar, ("frontal",))
        latent = encode_images(clip, rgb_tensor(frontal, device)[None])
        (planes,) = linear.full_planes(latent, mean_planes)
        return planes.detach()

    return predicted
