"""Sentences in everyday words: true, of any share of what is seen, and the same again."""

import re
from collections import Counter

import numpy as np
import pytest

from pipeline.people.caption import captioned, captions_of, hair_colour_name, phrasings, short_caption_of
from pipeline.people.draw import draw_avatar
from pipeline.people.seen import ATTRIBUTES, HIDDEN, NONE, attributes_of, measures_of, told_of
from pipeline.people.sentence_bank import EACH, UNKNOWN, sentence_bank, sentences_about
from pipeline.people.sentences import AGES, BEARDS, GARMENTS, HAIR_COLOURS, HAIR_STYLES, HATS, free_sentence

CROWD = [draw_avatar(7, index) for index in range(300)]
FREE = [(spec, free_sentence(spec, np.random.default_rng(number))) for number, spec in enumerate(CROWD * 4)]
SAID = [(spec, said.words) for spec, said in FREE]
LACKED = re.compile(
    r"\b(without|no) (?:an? )?(glasses|spectacles|beard|facial hair|hat)(?: or (?:an? )?([a-z ]*?(?:hat|hair|beard)))?"
    r"(?: or (?:an? )?(hat))?"
)
MALE = r"\b(man|guy|gentleman|male|boy|his)\b"
FEMALE = r"\b(woman|lady|female|girl|her)\b"


def words_in(sentence: str, words) -> set[str]:
    return {word for word in words if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", sentence)}


@pytest.mark.parametrize(("spec", "sentence"), SAID[:40])
def test_a_sentence_is_written_as_people_write(spec, sentence):
    assert sentence == sentence.strip() and "  " not in sentence and "{" not in sentence
    assert not re.search(r"\ba [aeiou8](?!ne)|\ban [^aeiou8]", sentence), sentence
    assert not re.search(r"\b(with|in|wearing|of)$", sentence)


def test_nothing_is_said_that_is_not_so():
    for spec, whole in SAID:
        sentence = LACKED.sub("", whole)
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


def test_what_somebody_has_not_is_said_now_and_then():
    lacked = [
        (spec, words) for spec, sentence in SAID for found in LACKED.finditer(sentence) for words in found.groups()
    ]
    for spec, words in lacked:
        assert words not in ("glasses", "spectacles") or spec.glasses is None
        assert words not in ("beard", "facial hair") or spec.facial_hair.style == "none"
        assert words != "hat" or spec.hat is None
    assert {"glasses", "spectacles", "beard", "facial hair", "hat"} <= {words for _, words in lacked}
    shaven = [spec.facial_hair.style for spec, sentence in SAID if "clean-shaven" in sentence]
    assert set(shaven) == {"none"}
    assert 0.05 < sum("no " in sentence or "without " in sentence for _, sentence in SAID) / len(SAID) < 0.3


def test_what_a_sentence_names_is_known_of_who_it_is_about():
    for spec, said in FREE:
        assert said.named <= {name for name, word in told_of(spec).items() if word != HIDDEN}, said
        bare = LACKED.sub("", said.words)
        assert ("glasses" in said.named) == bool(re.search("glasses|spectacles", said.words)), said
        assert ("sex" in said.named) == bool(re.search(f"{MALE}|{FEMALE}", said.words)), said
        beard = "beard|moustache|mustache|goatee|stubble|sideburns|shadow|chops|facial hair|clean-shaven"
        assert ("beard" in said.named) == bool(re.search(beard, said.words)), said
        garments = {word for of in GARMENTS.values() for word in of}
        assert not words_in(bare, garments) or "garment" in said.named, said
        assert "garment colour" not in said.named or spec.garment.colour_name in said.words, said
    for name in ("hair colour", "hair style", "garment", "hat", "glasses", "beard", "age", "mood", "skin"):
        share = np.mean([name in said.named for spec, said in FREE if name in told_of(spec)])
        assert 0.01 < share < 0.9, name


def test_what_a_caption_names_is_what_it_says():
    for spec in CROWD[:100]:
        long, short = captioned(spec, captions_of(spec)[0]), captioned(spec, short_caption_of(spec))
        assert {"sex", "age", "garment", "garment colour"} <= long.named <= set(told_of(spec))
        assert ("glasses" in long.named) == (spec.glasses is not None)
        assert ("mood" in long.named) == (
            long.words.count(",") > captions_of(spec.model_copy(update={"expression": "neutral"}))[0].count(",")
        )
        assert "garment" not in short.named and ("glasses" in short.named) == ("glasses" in short.words)
        is_coloured = spec.hat is None and bool(words_in(short.words, {hair_colour_name(spec.hair)}))
        assert ("hair colour" in short.named) == is_coloured, short


def test_colours_and_garments_are_those_that_are_worn():
    for spec, whole in SAID:
        sentence = LACKED.sub("", whole)
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
        assert {name: told[name] for name in ATTRIBUTES} == {n: attributes_of(spec).get(n, HIDDEN) for n in ATTRIBUTES}
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
            assert words[answer] == told[name]
    named = bank.named()
    assert named.shape == (len(bank.texts), len(bank.words)) and set(np.unique(named)) == {0, 1}
    strangers = bank.answers_of(draw_avatar(8, index) for index in range(200))
    assert (strangers == UNKNOWN).any() and not (strangers == UNKNOWN).all(1).any(), "some look like nobody of the bank"
    looks = np.stack([bank.looks_of(spec) for spec in bank.people])
    hot = looks[:, : sum(len(words) for words in bank.words.values())]
    assert set(np.unique(hot)) == {0.0, 1.0}
    assert (hot.sum(1) == len(bank.words)).all()


def test_people_of_sentences_are_in_no_run():
    assert not {spec.seed for spec in sentence_bank(7, 50).people} & {spec.seed for spec in CROWD}


def test_sentences_about_an_avatar_are_captions_and_others():
    said = [text.words for index, spec in enumerate(CROWD) for text in sentences_about(spec, 7, index, 4)]
    captions = {text for spec in CROWD for text in phrasings(spec)}
    assert 0.15 < np.mean([text in captions for text in said]) < 0.45
    assert [text.words for text in sentences_about(CROWD[0], 7, 0, 4)] == said[:4]
