"""A judge of what is seen in a picture of a person: a small convolutional network with one answer an attribute.

Trained on labelled photographs alone; it shares nothing with CLIP. Attributes that a picture does not show have no
label and no part in the loss. Photographs are mirrored, moved, resized and blurred at random, so that no answer hangs
on sharpness or on single pixels of the few people who are learned from.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rodin_models.seeding import initialised_from

UNKNOWN = -100
"""The label of what is not seen."""
_WIDTHS = (32, 64, 96, 128)
_HIDDEN = 256
_BATCH = 64
_MOVED = 0.06
"""Half sides that a photograph is moved, and by what share it is resized, at most."""


@dataclass(frozen=True)
class ClassifierSettings:
    """What is asked, and of what pictures."""

    classes: tuple[int, ...]
    """Possible answers of each attribute."""
    side: int = 64
    """Pixels a side; others are resized. A multiple of 16."""


class AttributeClassifier(nn.Module):
    """Four convolutions with pooling, a hidden layer, and a linear answer for each attribute."""

    def __init__(self, settings: ClassifierSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        with initialised_from(generator):
            layers: list[nn.Module] = []
            for inside, outside in zip((3, *_WIDTHS), _WIDTHS, strict=False):
                layers += [
                    nn.Conv2d(inside, outside, 3, padding=1),
                    nn.GroupNorm(8, outside),
                    nn.SiLU(),
                    nn.AvgPool2d(2),
                ]
            self.trunk = nn.Sequential(*layers, nn.Flatten())
            self.hidden = nn.Linear(_WIDTHS[-1] * (settings.side // 16) ** 2, _HIDDEN)
            self.answers = nn.ModuleList(nn.Linear(_HIDDEN, classes) for classes in settings.classes)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _"]]:
        """Logits of each attribute for pictures in [0, 1]."""
        side = self.settings.side
        if pictures.shape[-1] != side or pictures.shape[-2] != side:
            pictures = F.interpolate(pictures, (side, side), mode="bicubic", align_corners=False, antialias=True)
        hidden = F.silu(self.hidden(self.trunk(pictures * 2 - 1)))
        return [answer(hidden) for answer in self.answers]

    def predict(self, pictures: Float[Tensor, "b 3 h w"]) -> Int[Tensor, "b attribute"]:
        """The likeliest answers."""
        was = self.training
        self.eval()
        with torch.no_grad():
            parts = [
                torch.stack([logits.argmax(1) for logits in self(pictures[first : first + _BATCH])], 1)
                for first in range(0, len(pictures), _BATCH)
            ]
        self.train(was)
        return torch.cat(parts)


def fit_classifier(
    pictures: Float[Tensor, "n 3 side side"],
    labels: Int[Tensor, "n attribute"],
    settings: ClassifierSettings,
    generator: torch.Generator,
    *,
    epochs: int,
    progress: Callable[[int], None] = lambda epoch: None,
) -> AttributeClassifier:
    """Train on labelled pictures of ``settings.side``; ``progress`` is told each epoch that is over."""
    model = AttributeClassifier(settings, generator).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    steps = epochs * math.ceil(len(pictures) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(pictures), generator=generator)
        for first in range(0, len(order), _BATCH):
            rows = order[first : first + _BATCH]
            batch = _varied(pictures[rows].float(), generator)
            terms = [
                F.cross_entropy(logits, labels[rows, place], ignore_index=UNKNOWN)
                for place, logits in enumerate(model(batch))
                if bool((labels[rows, place] != UNKNOWN).any())
            ]
            optimiser.zero_grad(set_to_none=True)
            torch.stack(terms).sum().backward()
            optimiser.step()
            schedule.step()
        progress(epoch + 1)
    return model.eval().requires_grad_(False)


def classifier_tree(model: AttributeClassifier) -> dict[str, object]:
    """Everything, for :func:`rodin_models.checkpoint.save_state`."""
    settings = {"classes": list(model.settings.classes), "side": model.settings.side}
    return {"settings": settings, "model": dict(model.state_dict())}


def classifier_from_tree(tree: Mapping[str, dict[str, object]]) -> AttributeClassifier:
    """What :func:`classifier_tree` gave."""
    classes, side = tree["settings"]["classes"], tree["settings"]["side"]
    assert isinstance(classes, list) and isinstance(side, int)
    model = AttributeClassifier(ClassifierSettings(tuple(classes), side), torch.Generator())
    model.load_state_dict(tree["model"])
    return model.eval().requires_grad_(False)


def _varied(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each mirrored or not, resized and moved by up to ``_MOVED``, and half of all batches softened by halving and
    enlarging. What comes in from outside is white.
    """
    count = len(pictures)
    side = 1 + _MOVED * (2 * torch.rand(count, generator=generator) - 1)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = torch.where(torch.rand(count, generator=generator) < 0.5, -side, side)
    theta[:, 1, 1] = side
    theta[:, :, 2] = _MOVED * (2 * torch.rand(count, 2, generator=generator) - 1)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    pictures = 1 + F.grid_sample(pictures - 1, grid, align_corners=False)
    if float(torch.rand((), generator=generator)) < 0.5:
        half = F.interpolate(pictures, scale_factor=0.5, mode="bilinear", align_corners=False, antialias=True)
        pictures = F.interpolate(half, size=pictures.shape[-2:], mode="bicubic", align_corners=False)
    return pictures
