"""What a classifier is asked, and what it is told that sentences name."""

from functools import cache

import pytest

from pipeline.contracts.avatar import AvatarSpec
from pipeline.evaluation.sections.text import EDITS, FEWEST, edits_for, judged_edits
from pipeline.people.caption import BEARDS, captions_of
from pipeline.people.draw import draw_avatar
from pipeline.people.seen import ATTRIBUTES, attributes_of, named_in_captions


@cache
def crowd() -> tuple[AvatarSpec, ...]:
    """Drawn once, and by the process that asks."""
    return tuple(draw_avatar(7, index) for index in range(300))


def test_everybody_has_every_attribute_that_nothing_hides():
    for spec in crowd():
        seen = attributes_of(spec)
        hidden = set(ATTRIBUTES) - set(seen)
        assert hidden <= {"hair colour", "hair style"}
        assert ("hair style" in hidden) == (spec.hat is not None)
    words = {name: {attributes_of(spec).get(name) for spec in crowd()} for name in ATTRIBUTES}
    assert all(len(found) > 1 for found in words.values())


@pytest.mark.parametrize("phrasing", range(4))
def test_what_is_named_is_in_the_sentence_and_what_is_not_is_not(phrasing):
    for spec in crowd():
        sentence, named = captions_of(spec)[phrasing], named_in_captions(spec)
        assert named["garment colour"] in sentence
        assert ("glasses" in named) == ("glasses" in sentence)
        assert ("hat" in named) == (spec.hat is not None) and named.get("hat", "") in sentence
        assert ("beard" in named) == any(words in sentence for words in BEARDS.values())
        if "hair colour" in named:
            assert named["hair colour"] in sentence
        assert (named["age"] == "child") == ("boy" in sentence or "girl" in sentence)
        assert named["age"] == "child" or named["age"] in sentence
        assert (named.get("hair style") == "bald") == (f"bald {named['age']}" in sentence)
        assert "skin" not in named


def test_edits_ask_for_what_can_be_answered():
    answers = {name: {attributes_of(spec).get(name) for spec in crowd()} for name in ATTRIBUTES}
    for edit in EDITS:
        assert edit.wanted in answers[edit.attribute], edit
        assert set(edit.with_it) <= set(ATTRIBUTES) - {edit.attribute}


def test_nobody_is_asked_to_become_what_they_are_or_what_cannot_be_seen():
    for spec in crowd():
        seen, asked = attributes_of(spec), edits_for(spec)
        assert len(asked) >= 2
        for edit in set(EDITS) - set(asked):
            assert seen.get(edit.attribute, edit.wanted) == edit.wanted
        assert all(edit.attribute in seen and seen[edit.attribute] != edit.wanted for edit in asked)


def test_edits_are_judged_where_people_to_learn_from_show_what_they_ask_for():
    many = list(crowd())
    judged = judged_edits(many)
    for edit in EDITS:
        shown = sum(attributes_of(spec).get(edit.attribute) == edit.wanted for spec in many)
        assert (edit in judged) == (shown >= FEWEST), edit
    assert 0 < len(judged) < len(EDITS), "of the few who are drawn hardly anybody is blond"
    assert judged_edits(many[:1]) == list(EDITS), "where none can be judged well, all are"
