"""The recipe of each model, by the name of its stage."""

import torch

from pipeline.run.run import Run
from pipeline.stages.train.recipe import Recipe


def make_recipe(name: str, run: Run, device: torch.device) -> Recipe:
    """The recipe of one model. Raises ``DataError`` when it finds too little to learn from."""
    from pipeline.stages.train.recipes.base import BaseRecipe
    from pipeline.stages.train.recipes.clip import ClipRecipe
    from pipeline.stages.train.recipes.frontal import FrontalRecipe
    from pipeline.stages.train.recipes.head import HeadRecipe
    from pipeline.stages.train.recipes.latent import LatentRecipe
    from pipeline.stages.train.recipes.refiner import RefinerRecipe
    from pipeline.stages.train.recipes.upsampler import UpsamplerRecipe

    recipes: dict[str, type] = {
        "clip": ClipRecipe,
        "base": BaseRecipe,
        "upsampler": UpsamplerRecipe,
        "latent": LatentRecipe,
        "frontal": FrontalRecipe,
        "head": HeadRecipe,
        "refiner": RefinerRecipe,
    }
    recipe: Recipe = recipes[name](run, device)
    return recipe
