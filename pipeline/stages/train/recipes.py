"""The recipe of each model, by the name of its stage."""

import torch

from pipeline.run.run import Run
from pipeline.stages.train.recipe import Recipe


def make_recipe(name: str, run: Run, device: torch.device) -> Recipe:
    """The recipe of one model. Raises ``DataError`` when it finds too little to learn from."""
    from pipeline.stages.train.base import BaseRecipe
    from pipeline.stages.train.clip import ClipRecipe
    from pipeline.stages.train.latent import LatentRecipe
    from pipeline.stages.train.refiner import RefinerRecipe
    from pipeline.stages.train.upsampler import UpsamplerRecipe

    recipes: dict[str, type] = {
        "clip": ClipRecipe,
        "base": BaseRecipe,
        "upsampler": UpsamplerRecipe,
        "latent": LatentRecipe,
        "refiner": RefinerRecipe,
    }
    recipe: Recipe = recipes[name](run, device)
    return recipe
