"""What the fit benchmarks fit: photographs that lie in a folder, a frozen decoder, and the planes to start from.

The folder comes from ``python -m benchmarks.fit_views FOLDER``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.fit.views import Views


@dataclass(frozen=True)
class Subject:
    """What is fitted."""

    train: Views
    """Photographs that are fitted."""
    held_out: Views
    """Photographs that no fit sees."""
    decoder: Decoder
    """Shared and frozen."""
    mean_planes: torch.Tensor
    """(3, channel, height, width), where fits start."""
    predicted: torch.Tensor | None = None
    """Of the same shape, what a linear model predicts of the frontal picture; where fits may start."""


def load_subjects(folder: Path, count: int, device: torch.device, *, depth: bool) -> list[Subject]:
    """Views of the first avatars, and the decoder."""
    return [load_subject(folder, f"avatar-{number:02d}", device, depth=depth) for number in range(count)]


def load_subject(folder: Path, name: str, device: torch.device, *, depth: bool) -> Subject:
    """Views of ``avatar-NN`` or ``decoder-NN``, and the decoder."""
    saved = np.load(folder / "decoder.npz")
    decoder = Decoder(DecoderSettings(**json.loads(str(saved["settings"]))), torch.Generator())
    weights = {n.removeprefix("weight_"): torch.from_numpy(saved[n]) for n in saved.files if n.startswith("weight_")}
    decoder.load_state_dict(weights)
    decoder.requires_grad_(False).to(device)
    mean_planes = torch.from_numpy(saved["mean_planes"]).to(device)

    def views(arrays: np.lib.npyio.NpzFile, split: str) -> Views:
        names = ("rgba", "cam2world", "intrinsics", *(("depth",) if depth else ()))
        return Views(**{name: torch.from_numpy(arrays[f"{split}_{name}"]).to(device) for name in names})

    arrays = np.load(folder / f"{name}.npz")
    predicted = torch.from_numpy(arrays["predicted"]).to(device) if "predicted" in arrays.files else None
    return Subject(views(arrays, "train"), views(arrays, "held_out"), decoder, mean_planes, predicted)


def quality_of(subject: Subject, samples: int) -> Callable[[torch.Tensor], float]:
    """Mean whole-image PSNR over white of the held-out views, from planes rounded as they are stored."""

    def quality(planes: torch.Tensor) -> float:
        stored = planes.detach().to(torch.float16).float()
        scores = evaluate_views(stored, subject.decoder, subject.held_out, samples=samples).psnr_db
        return sum(scores) / len(scores)

    return quality
