"""Seconds and memory of one generated avatar, by part.

A machine that does other work meanwhile takes longer by the clock, but hardly more processor time: both are told.
"""

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch

from pipeline.contracts.report.results import Figure, Row, Table
from pipeline.evaluation.subject import Subject, Tally
from pipeline.machine import forget_peak_memory, peak_memory
from pipeline.stages.sampling.portrait_fit import Face

Made = TypeVar("Made")


class Spent(NamedTuple):
    """What some work took."""

    seconds: float
    """By the clock."""
    processor: float
    """Of all processors together."""

    def figures(self, count: int, n: int) -> tuple[Figure, Figure]:
        """For each of ``count`` avatars."""
        return (
            Figure(name="seconds", value=self.seconds / count, n=n, digits=2),
            Figure(name="processor seconds", value=self.processor / count, n=n, digits=2),
        )


def timed(work: Callable[[], Made]) -> tuple[Made, Spent]:
    """What ``work`` returns, and what it took."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, Spent(time.perf_counter() - clock, time.process_time() - processor)


def costs(subject: Subject, tally: Tally) -> Table:
    """Seconds and memory of one avatar by part, as generation is set."""
    sampler, num = subject.sampler, subject.sampler.sampling.generate.batch
    generator = subject.generator(0, "costs")
    latents = sampler.latents(num, None, generator)
    low = sampler.base_planes(latents, generator)
    planes = sampler.full_planes(low, latents, generator)[0]
    front = (subject.frontal_camera(),)
    picture = subject.seen(planes, front, sampler.decoder)
    parts: dict[str, tuple[int, Callable[[], object]]] = {
        "latent": (num, lambda: sampler.latents(num, None, generator)),
        **_of_fronts(subject, latents, generator),
        "base planes": (num, lambda: sampler.base_planes(latents, generator)),
        "full planes": (num, lambda: sampler.full_planes(low, latents, generator)),
        f"a picture of {subject.side} pixels": (1, lambda: subject.seen(planes, front, sampler.decoder)),
        "a refined picture": (1, lambda: subject.refined(picture, latents[0])),
    }
    rows = []
    for name, (count, work) in parts.items():
        forget_peak_memory()
        _, spent = timed(work)
        peak = peak_memory()
        memory = Figure(
            name="process's peak, GiB",
            value=None if peak is None else peak / 2**30,
            n=count,
            withheld="" if peak is not None else "not told here",
        )
        rows.append(Row(name=name, figures=(*spent.figures(count, count), memory)))
    tally.step()
    note = f"{num} avatars at once; seconds of one. On {sampler.device.type}, {torch.get_num_threads()} threads."
    return Table(title="Time and memory by part", rows=tuple(rows), note=note)


def _of_fronts(
    subject: Subject, latents: torch.Tensor, generator: torch.Generator
) -> dict[str, tuple[int, Callable[[], object]]]:
    """Frontal pictures and the planes that are fitted to them, where models draw such."""
    sampler, num = subject.sampler, len(latents)
    pictures = sampler.fronts(latents, generator)
    if pictures is None:
        return {}
    faces = [Face(picture) for picture in pictures]
    return {
        "frontal picture": (num, lambda: sampler.fronts(latents, generator)),
        "base planes fitted to it": (num, lambda: sampler.fitted(latents, faces)),
    }
