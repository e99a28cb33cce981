"""The population: frequencies over 2000 specs are those stated, other proportions are obeyed, bad ones refused."""

from functools import cache
from typing import get_args

import pytest
from pydantic import ValidationError

from pipeline.contracts.appearance import (
    GARMENT_COLOURS,
    EarringStyle,
    Expression,
    FacialHairStyle,
    GarmentStyle,
    GlassesShape,
    HairStyle,
    HatStyle,
    LightRig,
    Pattern,
)
from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.attributes import near_skin
from pipeline.people.caption import BEARDS, GARMENTS, HAIR, LONG_HAIR, MOODS
from pipeline.people.distribution import ATTRIBUTES, Distribution, attribute_bars, attribute_distributions
from pipeline.people.draw import draw_avatar
from pipeline.people.face import MAX_ODDITY
from pipeline.people.population import GarmentTable, PopulationConfig

POPULATION = PopulationConfig()


@cache
def crowd() -> tuple[AvatarSpec, ...]:
    """Drawn once, and by the process that asks."""
    return tuple(draw_avatar(3, index) for index in range(2000))


@cache
def distributions() -> tuple[Distribution, ...]:
    return attribute_distributions(crowd(), POPULATION)


@pytest.mark.parametrize("number", range(len(ATTRIBUTES)), ids=[a.name for a in ATTRIBUTES])
def test_frequencies_are_those_stated(number: int) -> None:
    distribution = distributions()[number]
    assert sum(distribution.stated.values()) == pytest.approx(1)
    assert set(distribution.counts) == set(distribution.stated), "nothing unstated is drawn"
    assert distribution.total >= 40
    for name, stated in distribution.stated.items():
        share = distribution.counts[name] / distribution.total
        # 4.5 standard deviations of a binomial share: some 150 shares are compared.
        assert abs(share - stated) <= 4.5 * (stated * (1 - stated) / distribution.total) ** 0.5, name


def test_tables_name_the_styles_that_exist() -> None:
    tables = {
        FacialHairStyle: POPULATION.facial_hair_styles,
        GarmentStyle: POPULATION.garments,
        Pattern: POPULATION.patterns_jersey,
        GlassesShape: POPULATION.glasses_shapes,
        HatStyle: POPULATION.hats,
        EarringStyle: POPULATION.earring_styles,
        Expression: POPULATION.expressions,
        LightRig: POPULATION.lights,
    }
    assert set(POPULATION.garment_colours.chances()) == set(GARMENT_COLOURS)
    for literal, table in tables.items():
        assert set(table.chances()) == set(get_args(literal)) - {"none", "neutral"}
    hair = {style for table in (POPULATION.hair_women, POPULATION.bald_styles) for style in table.chances()}
    assert hair == set(get_args(HairStyle))


def test_captions_have_words_for_whatever_is_drawn() -> None:
    assert set(HAIR) == set(get_args(HairStyle)) - {"bald"} and set(HAIR) > LONG_HAIR
    assert set(BEARDS) == set(get_args(FacialHairStyle)) - {"none"}
    assert set(MOODS) == set(get_args(Expression)) - {"neutral"}
    assert set(GARMENTS) < set(get_args(GarmentStyle)), "the others are called by their names"


def test_nobody_wears_the_colour_of_their_skin() -> None:
    assert not any(near_skin(GARMENT_COLOURS[spec.garment.colour_name], spec.skin.melanin) for spec in crowd())
    assert near_skin((0.80, 0.66, 0.56), 0.2) and not near_skin((0.80, 0.66, 0.56), 0.85)
    for spec in crowd():
        base, accent = GARMENT_COLOURS[spec.garment.colour_name], spec.garment.accent
        assert abs(sum(base) - sum(accent)) > 0.36, "a pattern's second colour shows"


def test_other_proportions_are_obeyed_and_touch_nothing_else() -> None:
    population = PopulationConfig(glasses=1.0, garments=GarmentTable(hoodie=1000.0))
    for index in range(40):
        usual, other = crowd()[index], draw_avatar(3, index, population)
        assert other.glasses is not None
        kept = ("age_years", "face", "hair", "skin", "expression", "light", "seed", "hat")
        assert all(getattr(usual, name) == getattr(other, name) for name in kept)
    nobody = PopulationConfig(hat=0.0, glasses=0.0, earrings_men=0.0, earrings_women=0.0)
    drawn = [draw_avatar(3, index, nobody) for index in range(100)]
    assert all(spec.hat is None and spec.glasses is None and spec.earrings is None for spec in drawn)


def test_a_partial_table_keeps_its_other_weights() -> None:
    population = PopulationConfig.from_json('{"hair_men": {"buzz": 50}, "glasses": 0.5}')
    assert population.hair_men.crop == 25 and population.hair_men.buzz == 50
    assert PopulationConfig.from_json(population.to_json()) == population


@pytest.mark.parametrize(
    "text", ['{"glasses": 1.5}', '{"garments": {"kilt": 1}}', '{"hats": {"cap": -1}}', '{"youngest": 3}']
)
def test_impossible_proportions_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        PopulationConfig.from_json(text)
    with pytest.raises(ValidationError, match="nothing is left"):
        GarmentTable(**dict.fromkeys(GarmentTable.model_fields, 0.0))


def test_odd_faces_are_drawn_again() -> None:
    assert 1.2 < MAX_ODDITY < 1.6
    assert max(abs(value) for spec in crowd() for _, value in spec.face) <= 0.75


def test_bars_show_share_and_statement() -> None:
    lines = attribute_bars(attribute_distributions(crowd()[:200], POPULATION))
    assert any(line.startswith("garment (200)") for line in lines)
    assert sum("stated" in line for line in lines) > 100
