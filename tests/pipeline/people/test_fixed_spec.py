"""Spec files: what is given is kept, the rest is drawn; whatever is wrong is one line that says where."""

import json

import pytest

from pipeline.contracts.errors import ConfigError
from pipeline.people.caption import captions_of, phrasings
from pipeline.people.draw import draw_avatar
from pipeline.people.fixed_spec import parse_specs
from pipeline.people.population import PopulationConfig

POPULATION = PopulationConfig()


def test_what_is_given_is_kept_and_the_rest_is_drawn() -> None:
    entries = [{"hair": {"style": "braids"}, "glasses": None}, {"caption": "somebody"}, {}]
    first, second, third = parse_specs(json.dumps(entries), "x.json", 7, POPULATION)
    drawn = draw_avatar(7, 0)
    assert first.hair.style == "braids" and first.glasses is None
    assert first.hair.melanin == drawn.hair.melanin and first.face == drawn.face
    assert first.caption in captions_of(first)
    assert second.caption == "somebody" and phrasings(second) == ("somebody", second.caption_short)
    assert third == draw_avatar(7, 2)


def test_a_run_s_own_specs_can_be_given_back() -> None:
    specs = [draw_avatar(1, index) for index in range(3)]
    text = json.dumps([spec.model_dump(mode="json") for spec in specs])
    assert parse_specs(text, "x.json", 99, POPULATION) == tuple(specs)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[{"hair": {"style": "mohawk"}}]', "hair.style"),
        ('[{}, {"age_years": 200}]', "avatar 1.*age_years"),
        ('[{"age_years": NaN}]', "NaN"),
        ('[{"weight": Infinity}]', "Infinity"),
        ('[{"hair": {"sty', "cut off"),
        ("{}", "array"),
        ("[]", "array"),
        ("[3]", "avatar 0"),
        ('[{"colour": "red"}]', "colour"),
    ],
)
def test_whatever_is_wrong_is_one_line(text: str, names: str) -> None:
    with pytest.raises(ConfigError, match=names) as caught:
        parse_specs(text, "people.json", 0, POPULATION)
    assert "people.json" in str(caught.value) and "\n" not in str(caught.value)
