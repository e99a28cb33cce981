"""People, and their image latents, as models on them learn them, a row each."""

import numpy as np
import torch
from torch import Tensor

from pipeline.run.run import Run
from pipeline.stages.latents import load_latents
from pipeline.stages.train.recipe import Places, learnable, measured


class People:
    """The avatars that are not held out; with ``train.mirror`` mirrored once more.

    After them come the held-out avatars that the loss of ``stage`` is measured on.
    """

    def __init__(self, run: Run, stage: str, sources: dict[int, str]) -> None:
        """``sources`` are the avatars that are there, by hash."""
        self.avatars = learnable(run.config, sources)
        self.held_out = measured(run.config, set(sources), stage)
        self._ways = 2 if run.config.train.mirror else 1

    @property
    def rows(self) -> int:
        """How many items there are to learn from: the avatars, and from ``len(avatars)`` on their mirror images in the
        same order. Held-out avatars have the rows from here on.
        """
        return self._ways * len(self.avatars)

    def rows_of_first(self, people: int) -> list[int]:
        """The rows of so many avatars at most, their mirror images with them."""
        return [row for row in range(self.rows) if row % len(self.avatars) < people]

    @property
    def held_out_rows(self) -> Places:
        """The rows of the held-out avatars."""
        return np.arange(self.rows, self.rows + len(self.held_out))

    def avatar(self, row: int) -> int:
        """Whom a row shows."""
        return self.held_out[row - self.rows] if row >= self.rows else self.avatars[row % len(self.avatars)]

    def is_mirrored(self, row: int) -> bool:
        """Whether a row is a mirror image."""
        return len(self.avatars) <= row < self.rows


class PeopleData(People):
    """The avatars whose image latents are known, with these."""

    def __init__(self, run: Run, stage: str, sources: dict[int, str]) -> None:
        """``sources`` are the avatars that are there, by hash; those without latents are left out."""
        latents = load_latents(run.layout)
        known = set(latents.avatars)
        super().__init__(run, stage, {a: source for a, source in sources.items() if a in known})
        self.latents = latents.to_learn(self.avatars, mirror=run.config.train.mirror)
        """Those to learn from."""
        self._all_latents = torch.cat((self.latents, latents.image[latents.rows(self.held_out)]))

    def latents_of(self, rows: Places) -> Tensor:
        """Image latents of any rows (row, latent)."""
        return self._all_latents[torch.from_numpy(rows)]
