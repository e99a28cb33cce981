"""Whether a shared decoder forgets: its first and last avatar fitted again under it, frozen, after the joint fit.

Avatars differ in difficulty, so each figure is also given as what it lacks to planes with a decoder of their own.
Beside the decoder that is given stand joint fits of a few avatars with short visits (task replay) and one long visit
each, with and without weight decay.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cached_fit import Fitted, Recipe, own_fit, read_json, shared_fit, write_json
from benchmarks.fit import Subject
from rodin_models.decoder import Decoder
from rodin_models.fitting import FitSettings
from rodin_models.joint_fit import JointFit
from rodin_models.views import Views

VISITS = ("short", "one long")
SHORT_VISIT = 25
DECAYS = (0.0, 0.01)


@dataclass(frozen=True)
class Forgetting:
    """Whole-image PSNR of the first and the last avatar under one decoder, in dB."""

    first_db: float
    last_db: float
    first_lacks_db: float
    """To planes with a decoder of their own."""
    last_lacks_db: float

    @property
    def forgotten_db(self) -> float:
        """What the first lacks more than the last."""
        return self.first_lacks_db - self.last_lacks_db


def under_given_decoder(folder: Path, first: Subject, last: Subject, own: Recipe, shared: Recipe) -> Forgetting:
    """Of the decoder of the folder's views."""
    pair = {"decoder-first": first, "decoder-last": last}
    return _compare(
        [own_fit(folder, name, subject, own) for name, subject in pair.items()],
        [shared_fit(folder, name, subject, shared) for name, subject in pair.items()],
    )


def under_joint_fits(
    folder: Path, subjects: list[Subject], steps: int, own: Recipe, shared: Recipe
) -> dict[str, Forgetting]:
    """Of joint fits of ``subjects``, which are visited in their order, ``steps`` steps each, by what was changed."""
    owned = [
        own_fit(folder, name, subject, own)
        for name, subject in (("decoder-first", subjects[0]), ("decoder-last", subjects[-1]))
    ]
    found = {}
    for visits in VISITS:
        for decay in DECAYS:
            name = f"{visits} visits, decay {decay}" if visits == "short" else f"{visits} visit, decay {decay}"
            visit = SHORT_VISIT if visits == "short" else steps
            settings = replace(shared.settings, steps=steps, visit_steps=visit, decoder_weight_decay=decay)
            decoder, mean_planes = _joint(folder / f"joint-{visit}-{decay}", subjects, settings, shared)
            fits = []
            for which, subject in (("first", subjects[0]), ("last", subjects[-1])):
                again = replace(subject, decoder=decoder, mean_planes=mean_planes)
                fits.append(shared_fit(folder, f"joint-{visit}-{decay}-{which}", again, shared))
            found[name] = _compare(owned, fits)
    return found


def _compare(own: list[Fitted], shared: list[Fitted]) -> Forgetting:
    first, last = (fit.full.whole_db for fit in shared)
    return Forgetting(first, last, own[0].full.whole_db - first, own[1].full.whole_db - last)


def _joint(path: Path, subjects: list[Subject], settings: FitSettings, recipe: Recipe) -> tuple[Decoder, torch.Tensor]:
    """The decoder of a joint fit, frozen, and its avatars' mean planes."""
    record, weights = path.with_suffix(".json"), path.with_suffix(".pt")
    asked: dict[str, Any] = {"settings": asdict(settings), "recipe": asdict(recipe), "avatars": len(subjects)}
    asked = json.loads(json.dumps(asked))
    decoder = Decoder(recipe.decoder, torch.Generator().manual_seed(recipe.seed))
    if read_json(record) != asked:
        order: dict[int, Subject] = {}

        def views(number: int) -> Views:
            """The joint fit draws the order of its numbers; whichever it visits next is the next subject."""
            subject = order.setdefault(number, subjects[len(order) % len(subjects)])
            return replace(subject.train, depth=subject.train.depth if recipe.depth else None)

        generator = torch.Generator().manual_seed(recipe.seed + 1)
        joint = JointFit(views, len(subjects), decoder, settings, generator, pools_in_memory=len(subjects))
        joint.run(joint.total_steps)
        torch.save({"decoder": decoder.state_dict(), "mean_planes": joint.mean_planes()}, weights)
        write_json(record, asked)
        print(f"{path.name}: fitted", flush=True)
    saved = torch.load(weights, weights_only=True)
    decoder.load_state_dict(saved["decoder"])
    return decoder.requires_grad_(False), saved["mean_planes"]
