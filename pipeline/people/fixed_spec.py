"""Avatars that are given rather than drawn: a JSON array with an object for each avatar, from number 0 on.

An object need only hold what it fixes, such as ``{"hair": {"style": "bob"}, "glasses": null}``; the rest is drawn as
for any avatar of that number. A part that the draw left out (``"hat": {...}``) is given whole.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.record import validation_summary
from pipeline.people.caption import described
from pipeline.people.draw import draw_avatar
from pipeline.people.population import PopulationConfig


def parse_specs(text: str, where: str, run_seed: int, population: PopulationConfig) -> tuple[AvatarSpec, ...]:
    """The avatars of a spec file; ``where`` names it in messages. Raises ``ConfigError`` with one line."""
    try:
        entries = json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        raise ConfigError(f"{where} is no valid JSON (cut off?): {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where} must hold a JSON array of avatars, found {type(entries).__name__}")
    specs = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: avatar {index} is {entry!r:.60}, not an object")
        drawn = draw_avatar(run_seed, index, population).model_dump(mode="json")
        try:
            spec = AvatarSpec.model_validate_json(json.dumps(_over(drawn, entry)))
        except ValidationError as error:
            raise ConfigError(f"{where}: avatar {index}: {validation_summary(error)}") from None
        known = described(spec)
        specs.append(known if "caption" not in entry else known.model_copy(update={"caption": spec.caption}))
    return tuple(specs)


def _over(drawn: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(drawn)
    for key, value in given.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
