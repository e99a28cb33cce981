"""Steps of sampling as shares of the avatars that are made."""

from collections.abc import Callable
from typing import Final

from pipeline.stages.sampling.sampler import OnStep

SAMPLING_SHARE: Final = 0.5
"""About how much of the time passes until an avatar's planes are there."""
PARTS: Final = {"frontal": 1.0, "head": 0.5, "portrait": 8.0, "base": 2.0, "upsampler": 1.5}
"""About how long each part of that takes, in their order; what is not done has no part."""


def as_progress(on_step: OnStep, first: int, count: int, num: int, progress: Callable[[float, float], None]) -> OnStep:
    """Tells ``on_step``, and ``progress`` how much of ``num`` is done while ``count`` from ``first`` on are drawn."""
    order = list(PARTS)

    def step(what: str, done: int, of: int) -> None:
        on_step(what, done, of)
        if what in PARTS:
            before = sum(PARTS[part] for part in order[: order.index(what)])
            share = (before + PARTS[what] * done / of) / sum(PARTS.values())
            progress(first + SAMPLING_SHARE * count * share, num)

    return step
