"""Section ``faces``: whether a detector that knows nothing of ours finds a face in what is generated.

OpenCV's frontal cascade ``alt2`` (Viola and Jones 2001; Lienhart et al. 2003), whose weights come in its package. It
needs some 96 pixels; pictures are enlarged to 512. The share of generated pictures in which it finds exactly one face
is set over the share of photographs of held-out people, at the same size.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Row, Table
from pipeline.evaluation.baselines import Baselines
from pipeline.evaluation.figures import mean, ratio
from pipeline.evaluation.found import Found
from pipeline.evaluation.sheet import published_sheet
from pipeline.evaluation.subject import Subject, Tally
from pipeline.images import resized, to_uint8

CASCADE: Final = "haarcascade_frontalface_alt2.xml"
SIDE: Final = 512
SHEET: Final = 100
"""Samples on the contact sheet."""


class FaceDetector:
    """Counts faces."""

    def __init__(self) -> None:
        import cv2

        self.cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / CASCADE))

    def count(self, picture: Tensor) -> int:
        """How many faces are found in a picture (3, side, side) in [0, 1]."""
        pixels = resized(to_uint8(picture.permute(1, 2, 0).numpy()), SIDE, SIDE)
        grey = np.round(pixels @ np.array((0.299, 0.587, 0.114))).astype(np.uint8)
        return len(self.cascade.detectMultiScale(grey))

    def ones(self, pictures: Iterable[Tensor]) -> Tensor:
        """1 for each picture with exactly one face, else 0."""
        return torch.tensor([float(self.count(picture) == 1) for picture in pictures], dtype=torch.float64)


def measure_faces(subject: Subject) -> Found:
    """Measure; writes ``samples.png``, the first 100 samples."""
    detector = FaceDetector()
    held_out = subject.held_out
    tally = Tally(subject.progress, subject.samples + len(held_out))
    generated = subject.from_noise(subject.samples, tally)
    photographs = []
    for avatar in held_out:
        photographs.append(subject.renders(avatar)[0])
        tally.step()
    baselines = Baselines.of(subject)
    fronts = {
        "held-out photographs": photographs,
        "fits of held-out people": [subject.of_fit(avatar)[0] for avatar in held_out],
        "generated, refined": [refined[0] for _, refined in generated],
        "generated, rendered": [plain[0] for plain, _ in generated],
        "Gaussian in eigen-planes": [baselines.gaussian_seen(index)[0] for index in range(len(held_out))],
    }
    ones = {name: detector.ones(pictures) for name, pictures in fronts.items()}
    real = ones["held-out photographs"]
    rows = tuple(
        Row(
            name=name,
            figures=(
                mean("share with exactly one face", found, subject.generator(0, f"faces {name}"), digits=3),
                ratio("over photographs", found, real, subject.generator(0, f"faces ratio {name}"), digits=3),
            ),
        )
        for name, found in ones.items()
    )
    over = next(row.figures[1] for row in rows if row.name == "generated, refined")
    return Found(
        title="Reads as a person",
        notes=(
            f"OpenCV's {CASCADE} on frontal pictures enlarged to {SIDE} pixels, from "
            f"{subject.side}. Samples are unpicked.",
        ),
        tables=(Table(title="Faces found", rows=rows),),
        bars=(
            Bar(
                text="Share of samples with exactly one face over that of held-out photographs",
                figure=over,
                bound=0.95,
                at_least=True,
            ),
        ),
        pictures=(_sheet(subject, fronts["generated, refined"][:SHEET]),),
    )


def _sheet(subject: Subject, fronts: list[Tensor]) -> Picture:
    caption = f"The first {len(fronts)} samples from noise"
    return published_sheet(subject, "samples", fronts, columns=10, tile=min(128, subject.side), caption=caption)
