"""Avatars as data: what cannot be is refused."""

import pytest
from pydantic import ValidationError

from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.draw import draw_avatar


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"ancestry": (0.5, 0.5, 0.5)}, "ancestry"),
        ({"face": (("nose/none", 0.1),)}, "nose/none"),
        ({"face": (("chin/chin-bones", 1.5),)}, "chin/chin-bones"),
        ({"age_years": 3.0}, "age_years"),
        ({"caption": ""}, "caption"),
    ],
)
def test_impossible_specs_are_refused(change: dict[str, object], names: str) -> None:
    with pytest.raises(ValidationError, match=names):
        AvatarSpec.model_validate(draw_avatar(5, 0).model_dump() | change)
