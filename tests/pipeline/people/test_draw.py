"""Avatars that are drawn: determinism, plausibility of the draw, captions, exact round trips."""

import re
from functools import cache
from statistics import mean
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.appearance import FACE_AXES, GARMENT_COLOURS, HatStyle
from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.caption import captions_of, phrasings, short_caption_of
from pipeline.people.draw import draw_avatar


@cache
def crowd() -> tuple[AvatarSpec, ...]:
    """Drawn once, and by the process that asks."""
    return tuple(draw_avatar(5, index) for index in range(400))


@settings(deadline=None, max_examples=40)
@given(run_seed=st.integers(0, 2**40), index=st.integers(0, 999_999))
def test_round_trip_and_determinism(run_seed: int, index: int) -> None:
    spec = draw_avatar(run_seed, index)
    assert AvatarSpec.from_json(spec.to_json()) == spec
    assert draw_avatar(run_seed, index) == spec


def test_every_seed_and_index_gives_someone_else() -> None:
    specs = {draw_avatar(seed, index).to_json() for seed in range(3) for index in range(20)}
    assert len(specs) == 60


def test_age_brings_grey_and_wrinkles() -> None:
    young = [spec for spec in crowd() if 16 < spec.age_years < 32]
    old = [spec for spec in crowd() if spec.age_years > 62]
    assert len(young) > 20 and len(old) > 20
    assert mean(s.hair.grey for s in young) < 0.05 < 0.4 < mean(s.hair.grey for s in old)
    assert mean(s.skin.wrinkles for s in young) < 0.15 < 0.6 < mean(s.skin.wrinkles for s in old)


def test_only_men_have_facial_hair_and_dark_skin_goes_with_dark_eyes() -> None:
    assert all(spec.facial_hair.style == "none" for spec in crowd() if spec.gender < 0.5)
    assert sum(spec.facial_hair.style != "none" for spec in crowd()) > 60
    assert all(spec.iris.melanin > 0.6 for spec in crowd() if spec.skin.melanin > 0.5)


@pytest.mark.parametrize("index", range(80))
def test_caption_says_what_is_seen(index: int) -> None:
    spec = crowd()[index]
    assert spec.caption in captions_of(spec) and spec.caption_short == short_caption_of(spec)
    assert phrasings(spec) == (*captions_of(spec), spec.caption_short)
    words = spec.caption.replace(",", "").split()
    person = {(True, True): "boy", (True, False): "girl", (False, True): "man", (False, False): "woman"}
    said = person[spec.age_years < 16, spec.gender >= 0.5]
    assert [word for word in person.values() if word in words] == [said] and said in spec.caption_short.split()
    assert ("glasses" in words) == (spec.glasses is not None)
    assert ("bald" in words) == (spec.hair.style == "bald" and spec.hat is None)
    assert ("full beard" in spec.caption) == (spec.facial_hair.style == "full")
    assert (spec.hat is not None) == any(hat in spec.caption for hat in get_args(HatStyle))
    assert spec.garment.colour_name in GARMENT_COLOURS and spec.garment.colour_name in spec.caption
    for text in (spec.caption, spec.caption_short):
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |, ,|None|\?", text), text
    assert len(spec.caption_short) < len(spec.caption)


def test_there_are_several_phrasings_and_none_names_what_a_hat_hides() -> None:
    assert len({re.sub(r"^.*?(portrait| in | wearing | who wears ).*$", r"\1", spec.caption) for spec in crowd()}) == 4
    covered = [spec for spec in crowd() if spec.hat is not None and spec.hair.style in ("buzz", "crop", "bun")]
    assert covered and not any("hair" in spec.caption or " bun" in spec.caption for spec in covered)


def test_all_face_parameters_are_drawn_and_small() -> None:
    for spec in crowd()[:20]:
        assert [name for name, _ in spec.face] == list(FACE_AXES)
        assert mean(abs(value) for _, value in spec.face) < 0.35
