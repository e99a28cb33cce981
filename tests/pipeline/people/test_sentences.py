"""Sentences in everyday words: true, of any share of what is seen, and the same again."""

import re
from collections import Counter

import numpy as np
import pytest

from pipeline.people.caption import hair_colour_name, phrasings
from pipeline.people.draw import draw_avatar
from pipeline.people.seen import ATTRIBUTES, NONE, attributes_of, measures_of, told_of
from pipeline.people.sentence_bank import EACH, UNKNOWN, sentence_bank, sentences_about
from pipeline.people.sentences import AGES, BEARDS, GARMENTS, HAIR_COLOURS, HAIR_STYLES, HATS, free_sentence

CROWD = [draw_avatar(7, index) for index in range(300)]
SAID = [(spec, free_sentence(spec, np.random.default_rng(number))) for number, spec in enumerate(CROWD * 4)]
MALE = r"\b(man|guy|gentleman|male|boy|his)\b"
FEMALE = r"\b(woman|lady|female|girl|her)\b"


def words_in(sentence: str, words) -> set[str]:
    return {word for word in words if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", sentence)}


@pytest.mark.parametrize(("spec", "sentence"), SAID[:40])
def test_a_sentence_is_written_as_people_write(spec, sentence):
    assert sentence == sentence.strip() and "  " not in sentence and "{" not in sentence
    assert not re.search(r"\ba [aeiou](?!ne)|\ban [^aeiou]", sentence), sentence
    assert not re.search(r"\b(with|in|wearing|of)$", sentence)


def test_nothing_is_said_that_is_not_so():
    for spec, sentence in SAID:
        sex = (re.search(MALE, sentence), re.search(FEMALE, sentence))
        assert not (sex[0] and sex[1]) and not sex[spec.gender >= 0.5], sentence
        assert spec.glasses is not None or not re.search("glasses|spectacles", sentence)
        assert spec.hat is not None or not words_in(sentence, {hat for hats in HATS.values() for hat in hats})
        if spec.facial_hair.style == "none":
            assert not re.search("beard|moustache|mustache|goatee|stubble|sideburns|shadow|chops", sentence)
        for group, years in zip(AGES, ((16, 35), (35, 60), (60, 91)), strict=True):
            if words_in(sentence, group):
                assert years[0] <= spec.age_years < years[1], sentence
        if told := re.search(r"(\d+)-year-old", sentence):
            assert int(told[1]) == int(spec.age_years)
        if spec.hat is not None:
            assert not re.search("curl|afro|braid|plaits|ponytail|pigtails|fringe|bangs", sentence)


def test_colours_and_garments_are_those_that_are_worn():
    for spec, sentence in SAID:
        garments = words_in(sentence, {word for of in GARMENTS.values() for word in of})
        assert not garments or garments & set(GARMENTS[spec.garment.style]), sentence
        hair = re.search(r"(\S+) hair\b", sentence)
        others = {word for name, words in HAIR_COLOURS.items() if name != hair_colour_name(spec.hair) for word in words}
        same = set(HAIR_COLOURS[hair_colour_name(spec.hair)])
        if hair is not None:
            assert hair[1] not in others - same, sentence


def test_every_share_of_what_is_seen_is_said_and_every_word_comes_up():
    counts = [sentence.count(",") + sentence.count(" and ") for _, sentence in SAID]
    assert min(counts) == 0 and max(counts) >= 4
    named = [spec.garment.colour_name in sentence for spec, sentence in SAID]
    assert 0.3 < np.mean(named) < 0.8
    text = "\n".join(sentence for _, sentence in SAID)
    colours = {hair_colour_name(spec.hair) for spec in CROWD if spec.hair.style != "bald"}
    for words in (*(HAIR_COLOURS[colour] for colour in colours), *GARMENTS.values(), *BEARDS.values(), *AGES):
        assert any(word in text for word in words), words
    worn = Counter(spec.hair.style for spec in CROWD if spec.hat is None and spec.hair.style != "bald")
    for style in (style for style, count in worn.items() if count >= 5):
        assert any(words.split("{}")[-1].strip() in text for words in HAIR_STYLES[style]), style


def test_what_is_told_of_somebody_holds_what_pictures_are_asked_for():
    for spec in CROWD:
        told = told_of(spec)
        assert {name: told.get(name) for name in ATTRIBUTES} == {n: attributes_of(spec).get(n) for n in ATTRIBUTES}
        assert (told["glasses shape"] == NONE) == (spec.glasses is None)
        assert all(0 <= measure <= 1 for measure in measures_of(spec))


def test_a_bank_is_the_same_again_and_knows_what_is_true():
    bank, again = sentence_bank(3, 40), sentence_bank(3, 40)
    assert bank == again and len(bank.texts) == 40 * EACH
    assert sentence_bank(4, 40).texts != bank.texts
    assert sentence_bank(3, 60).texts[: 40 * EACH] == bank.texts, "more people are the same and others"
    answers = bank.answers()
    for row, spec in zip(answers, bank.people, strict=True):
        told = told_of(spec)
        for answer, (name, words) in zip(row, bank.words.items(), strict=True):
            assert answer == UNKNOWN if name not in told else words[answer] == told[name]
    looks = np.stack([bank.looks_of(spec) for spec in bank.people])
    hot = looks[:, : sum(len(words) for words in bank.words.values())]
    assert set(np.unique(hot)) == {0.0, 1.0}
    assert (hot.sum(1) == (answers != UNKNOWN).sum(1)).all()


def test_people_of_sentences_are_in_no_run():
    assert not {spec.seed for spec in sentence_bank(7, 50).people} & {spec.seed for spec in CROWD}


def test_sentences_about_an_avatar_are_captions_and_others():
    said = [text for index, spec in enumerate(CROWD) for text in sentences_about(spec, 7, index, 4)]
    captions = {text for spec in CROWD for text in phrasings(spec)}
    assert 0.15 < np.mean([text in captions for text in said]) < 0.45
    assert sentences_about(CROWD[0], 7, 0, 4) == tuple(said[:4])
