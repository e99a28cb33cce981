"""What recipes of diffusion models have in common whose items are people, a row each."""

import numpy as np

from pipeline.stages.train.people_data import People
from pipeline.stages.train.recipe import NUM_LEVELS, Levels, Places, draw_rows
from rodin_models.diffusion.base import BaseSettings
from rodin_models.diffusion.frontal import FrontalSettings
from rodin_models.diffusion.head import HeadSettings
from rodin_models.diffusion.process import Diffusion


class RowDiffusion:
    """Draws rows of its people, and measures on those of the held-out ones at levels of its noise process."""

    data: People
    settings: BaseSettings | FrontalSettings | HeadSettings

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Rows."""
        return draw_rows(generator, self.data.rows, batch)

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The rows of the held-out avatars."""
        del generator
        return self.data.held_out_rows

    def levels(self) -> Levels:
        """Of the noise process."""
        return Diffusion(self.settings.diffusion).levels(NUM_LEVELS)
