"""Frontal pictures as models learn them: small, over white, kept once they are read."""

from collections import OrderedDict
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from pipeline.run.run import Run
from pipeline.stages.train.people_data import People
from pipeline.stages.views import read_samples, rgb_tensor
from rodin_models.image.resize import at_side

CPU = torch.device("cpu")
KEPT_BYTES = 2**29
"""Of pictures that a worker keeps: the same ones come back in every epoch."""


class Fronts:
    """The frontal pictures of people, ``side`` pixels a side, by row; with ``alpha`` as a fourth channel.

    Threads may share it.
    """

    def __init__(self, run: Run, people: People, side: int, *, alpha: bool = False) -> None:
        self.run, self.people, self.side, self.alpha = run, people, side, alpha
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = Lock()

    def picture(self, row: int) -> Tensor:
        """The frontal picture of a row (3 or 4, side, side) over white, in [0, 1]."""
        avatar = self.people.avatar(row)
        with self._lock:
            if avatar not in self._kept:
                (sample,) = read_samples(self.run, avatar, ("frontal",))
                pixels = rgb_tensor(sample, CPU)
                if self.alpha:
                    pixels = torch.cat((pixels, torch.from_numpy(sample.rgba[None, ..., 3] / np.float32(255))))
                self._kept[avatar] = (at_side(pixels, self.side) * 255).round().byte()
                while len(self._kept) > KEPT_BYTES // self._kept[avatar].numel():
                    self._kept.popitem(last=False)
            picture = self._kept[avatar]
            self._kept.move_to_end(avatar)
        picture = picture.float() / 255
        return picture.flip(-1) if self.people.is_mirrored(row) else picture
