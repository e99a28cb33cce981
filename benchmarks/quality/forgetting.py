"""Whether a shared decoder forgets: what the place of an avatar in the joint fit's order is worth to it.

Avatars differ in difficulty by more than a decoder forgets. So each joint fit is made twice, the second time with the
first and the last avatar in each other's places, and both are fitted again under either decoder, frozen: the same two
avatars have then been first and last. Compared are short visits (task replay) and one long visit each, with and
without weight decay.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.held_out import mean
from benchmarks.quality.cached_fit import Recipe, pixel_sum, read_json, shared_fit, write_json
from benchmarks.subject import Subject
from rodin_models.field.decoder import Decoder
from rodin_models.fit.joint_fit import JointFit
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import Views

SHORT_VISIT = 25
DECAYS = (0.0, 0.01)


@dataclass(frozen=True)
class Forgetting:
    """Whole-image PSNR of the same two avatars, fitted again under decoders that saw them first and last, in dB."""

    first_db: float
    """Under the decoder that saw them first."""
    last_db: float
    """Under the one that saw them last."""

    @property
    def forgotten_db(self) -> float:
        """What it costs to be the first."""
        return self.last_db - self.first_db


def forgotten(folder: Path, subjects: list[Subject], steps: int, recipe: Recipe) -> dict[str, Forgetting]:
    """Of joint fits of ``subjects``, ``steps`` steps each, by how they were visited."""
    first, *between, last = subjects
    orders = {"": (first, *between, last), "-turned": (last, *between, first)}
    found = {}
    for visits, visit in (("short visits", SHORT_VISIT), ("one long visit", steps)):
        for decay in DECAYS:
            settings = replace(recipe.settings, steps=steps, visit_steps=visit, decoder_weight_decay=decay)
            reached: dict[str, list[float]] = {"first": [], "last": []}
            for suffix, order in orders.items():
                name = f"joint-{visit}-{decay}{suffix}"
                decoder, mean_planes = _joint(folder, name, order, settings, recipe)
                for place, subject in (("first", order[0]), ("last", order[-1])):
                    again = replace(subject, decoder=decoder, mean_planes=mean_planes)
                    fit = shared_fit(folder, f"{name}-{place}", again, recipe)
                    reached[place].append(fit.full.whole_db)
            found[f"{visits}, decay {decay}"] = Forgetting(mean(reached["first"]), mean(reached["last"]))
    return found


def _joint(
    folder: Path, name: str, subjects: Sequence[Subject], settings: FitSettings, recipe: Recipe
) -> tuple[Decoder, torch.Tensor]:
    """The decoder of a joint fit, frozen, and its avatars' mean planes."""
    record, weights = folder / f"{name}.json", folder / f"{name}.pt"
    pixels = [pixel_sum(subject.train) for subject in subjects]
    asked: dict[str, Any] = {"settings": asdict(settings), "recipe": asdict(recipe), "views": pixels}
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
        print(f"{name}: fitted", flush=True)
    saved = torch.load(weights, weights_only=True)
    decoder.load_state_dict(saved["decoder"])
    return decoder.requires_grad_(False), saved["mean_planes"]
