"""A classifier that sees in pictures what can be seen of a person.

The classifier is trained on the photographs of training avatars by their specifications and on nothing else.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.contracts.rendering import Split
from pipeline.evaluation.subject import CPU, Subject, Tally
from pipeline.io.files import exists, fetched
from pipeline.io.publish import empty_folder, publish_folder
from pipeline.people.seen import ATTRIBUTES, NONE, attributes_of
from pipeline.stages.views import read_samples, rgb_tensor
from rodin_models.checkpoint import load_state, save_state
from rodin_models.image.attribute_classifier import (
    UNKNOWN,
    AttributeClassifier,
    ClassifierSettings,
    classifier_from_tree,
    classifier_tree,
    fit_classifier,
)
from rodin_models.image.resize import at_side

SIDE: Final = 64
EPOCHS: Final = 40
FACING_DEG: Final = 60.0
"""Training views from no further to the side than this are learned from."""


@dataclass(frozen=True)
class AttributeJudge:
    """Sees attributes in pictures."""

    words: dict[str, tuple[str, ...]]
    """The answers that it knows, by attribute."""
    network: AttributeClassifier

    def read(self, pictures: Tensor) -> list[dict[str, str]]:
        """What each picture (image, 3, side, side) shows, of every attribute."""
        answers = self.network.predict(pictures).tolist()
        return [
            {name: self.words[name][answer] for name, answer in zip(ATTRIBUTES, row, strict=True)} for row in answers
        ]


def attribute_judge(subject: Subject, tally: Tally) -> AttributeJudge:
    """The classifier for a subject's people, trained if it is not kept; steps ``tally`` by :data:`EPOCHS`."""
    specs = subject.run.specs()
    seen = {avatar: attributes_of(specs[avatar]) for avatar in subject.training}
    words = {name: tuple(sorted({s[name] for s in seen.values() if name in s})) or (NONE,) for name in ATTRIBUTES}
    folder = subject.run.layout.evaluation / f"classifier-{subject.planes_name(subject.training)}"
    if exists(folder):
        tally.step(EPOCHS)
        return AttributeJudge(words, classifier_from_tree(load_state(fetched(folder))))
    pictures, labels = [], []
    for avatar in subject.training:
        shown = _facing(subject, avatar)
        pictures.append(shown)
        answers = [words[name].index(seen[avatar][name]) if name in seen[avatar] else UNKNOWN for name in ATTRIBUTES]
        labels += [answers] * len(shown)
    settings = ClassifierSettings(tuple(len(words[name]) for name in ATTRIBUTES), SIDE)
    network = fit_classifier(
        torch.cat(pictures),
        torch.tensor(labels),
        settings,
        subject.generator(0, "classifier"),
        epochs=EPOCHS,
        progress=lambda epoch: tally.step(),
    )
    staged = empty_folder(subject.run.layout.work / "classifier")
    save_state(staged, classifier_tree(network))
    publish_folder(staged, folder)
    return AttributeJudge(words, network)


def _facing(subject: Subject, avatar: int) -> Tensor:
    """The frontal photograph and training views that show the face, in half precision (view, 3, 64, 64)."""
    splits: tuple[Split, ...] = ("frontal", "train")
    pictures = []
    for sample in read_samples(subject.run, avatar, splits):
        x, _, z = sample.record.camera.matrix()[:3, 3]
        if abs(np.degrees(np.arctan2(x, z))) <= FACING_DEG:
            pictures.append(rgb_tensor(sample, CPU))
    return torch.stack([at_side(picture, SIDE) for picture in pictures]).half()
