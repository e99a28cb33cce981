"""Section ``copies``: whether samples from noise are training avatars seen again.

Compared are frontal pictures of planes, all without the refiner: a sample's, those of the fits of all training avatars,
and those of the fits of held-out people, who are as near to training avatars as strangers are. A sample nearer to one
than the nearest twentieth of the held-out people is counted. Measured in two spaces: angles between latents of our
CLIP, and the pictures themselves at 32 pixels, where nothing was learned.
"""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Figure, Row, Table
from pipeline.evaluation.figures import figure, mean
from pipeline.evaluation.found import Found
from pipeline.evaluation.sheet import published_sheet
from pipeline.evaluation.subject import BATCH, Subject, Tally
from rodin_models.image.bootstrap import bootstrap
from rodin_models.image.clip import encode_images

NEAREST_SHARE: Final = 0.05
SMALL: Final = 32
SHOWN: Final = 32
"""Pairs in the picture: the nearest ones, which are the likeliest copies."""
Place = Callable[[Tensor], Tensor]
"""Pictures (image, 3, side, side) to points (image, number) whose distances are Euclidean."""


def measure_copies(subject: Subject) -> Found:
    """Measure; writes ``copies.png``."""
    tally = Tally(subject.progress, subject.samples + len(subject.training) + len(subject.held_out))
    samples = torch.stack([plain[0] for plain, _ in subject.from_noise(subject.samples, tally)])
    training = _fronts(subject, subject.training, tally)
    held_out = _fronts(subject, subject.held_out, tally)
    rows, bars = [], []
    nearest: Tensor | None = None
    distances: Tensor | None = None
    for space, place in _places(subject).items():
        known = place(training)
        of_samples, which = torch.cdist(place(samples), known).min(1)
        of_held_out = torch.cdist(place(held_out), known).min(1).values
        if nearest is None:
            nearest, distances = which, of_samples
        share = _share(subject, of_samples, of_held_out)
        rows.append(
            Row(
                name=space,
                figures=(
                    mean("distance of samples", of_samples, subject.generator(0, f"copies {space}"), digits=3),
                    mean("of held-out people", of_held_out, subject.generator(1, f"copies {space}"), digits=3),
                    share,
                ),
            )
        )
        bars.append(
            Bar(
                text=f"Samples nearer to a training avatar than the nearest twentieth of held-out people, {space}",
                figure=share,
                bound=0.1,
                at_least=False,
            )
        )
    assert nearest is not None and distances is not None
    return Found(
        title="No copies",
        notes=(
            "Frontal pictures of planes without the refiner: of samples, and of the fits of training avatars and of "
            "held-out people. Distances are those to the nearest training avatar.",
        ),
        tables=(Table(title="Nearest training avatars", rows=tuple(rows)),),
        bars=tuple(bars),
        pictures=(_shown(subject, samples, training, nearest, distances),),
    )


def _fronts(subject: Subject, avatars: tuple[int, ...], tally: Tally) -> Tensor:
    pictures = []
    for avatar in avatars:
        pictures.append(subject.front_of_fit(avatar))
        tally.step()
    return torch.stack(pictures)


def _places(subject: Subject) -> dict[str, Place]:
    def clip(pictures: Tensor) -> Tensor:
        parts = [
            encode_images(subject.sampler.clip, pictures[first : first + BATCH].to(subject.sampler.device)).cpu()
            for first in range(0, len(pictures), BATCH)
        ]
        return torch.cat(parts)

    def pixels(pictures: Tensor) -> Tensor:
        return F.interpolate(pictures, (SMALL, SMALL), mode="area").flatten(1) / (3 * SMALL * SMALL) ** 0.5

    return {"latents of our CLIP": clip, f"pictures at {SMALL} pixels": pixels}


def _share(subject: Subject, samples: Tensor, held_out: Tensor) -> Figure:
    def share(rows: Tensor, others: Tensor) -> float:
        return float((samples[rows] < held_out[others].quantile(NEAREST_SHARE)).double().mean())

    counts = (len(samples), len(held_out))
    return figure("share nearer", bootstrap(share, counts, subject.generator(0, "copies share")), digits=3)


def _shown(subject: Subject, samples: Tensor, training: Tensor, nearest: Tensor, distances: Tensor) -> Picture:
    """Sample and nearest training avatar side by side, the nearest pairs first."""
    order = distances.argsort()[:SHOWN].tolist()
    images, labels = [], []
    for row in order:
        images.append(torch.cat((samples[row], training[int(nearest[row])]), 2))
        labels.append(f"{float(distances[row]):.3f}")
    return published_sheet(
        subject,
        "copies",
        images,
        columns=4,
        tile=2 * subject.side,
        labels=labels,
        caption="Samples, each left of the training avatar that is nearest to it in our CLIP; the nearest pairs first",
    )
