"""Sentences about people who are drawn and never rendered, and what they look like: what models of text learn from."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for, seed_for
from pipeline.people.caption import Said, captioned, phrasings
from pipeline.people.draw import DEFAULT_POPULATION, draw_avatar
from pipeline.people.population import PopulationConfig
from pipeline.people.seen import measures_of, told_of
from pipeline.people.sentences import free_sentence

EACH: Final = 4
"""Sentences about each person."""
CAPTION_SHARE: Final = 0.25
"""Share of them that are captions, long or short, instead of free sentences."""
UNKNOWN: Final = -100
"""Answer of an attribute that somebody does not have, which cross-entropies leave out."""
PAIRS: Final = (
    ("hair style", "hair colour"),
    ("garment", "garment colour"),
    ("hat", "hat colour"),
    ("beard style", "hair colour"),
)
"""Attributes that change how each other looks."""
FINER: Final = (
    ("hat", "hair style"),
    ("hat", "hat colour"),
    ("glasses", "glasses shape"),
    ("beard", "beard style"),
    ("age", "decade"),
)
"""Attributes, and others that say more of the same, or less: a hat hides how hair is worn."""


@dataclass(frozen=True)
class SentenceBank:
    """People, sentences about them, and their looks."""

    people: tuple[AvatarSpec, ...]
    said: tuple[Said, ...]
    """``EACH`` sentences about the first of the people, then about the second."""
    words: dict[str, tuple[str, ...]]
    """The words that are true of some of the people, by attribute."""

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The sentences without what they name."""
        return tuple(sentence.words for sentence in self.said)

    def named(self) -> npt.NDArray[np.int64]:
        """(sentence, attribute): 1 where it names the attribute, in the order of ``words``; 0 where not."""
        return np.array([[name in sentence.named for name in self.words] for sentence in self.said], dtype=np.int64)

    def answers(self) -> npt.NDArray[np.int64]:
        """:meth:`answers_of` the people."""
        return self.answers_of(self.people)

    def answers_of(self, specs: Iterable[AvatarSpec]) -> npt.NDArray[np.int64]:
        """(person, attribute): place of the true word in ``words``, or ``UNKNOWN``."""
        return np.array([self._answers_of(spec) for spec in specs], dtype=np.int64)

    def places_of(self, couples: Iterable[tuple[str, str]]) -> tuple[int, ...]:
        """Places in ``words`` of the attributes of each couple in turn, of such as both have words."""
        place = {name: number for number, name in enumerate(self.words)}
        return tuple(place[name] for couple in couples if set(couple) <= set(place) for name in couple)

    def looks_of(self, spec: AvatarSpec) -> npt.NDArray[np.float32]:
        """What somebody looks like, in numbers: 1 for each word that is true of them, and measures of 0 to 1."""
        answers = np.array(self._answers_of(spec))
        hot = [np.arange(len(words)) == answer for words, answer in zip(self.words.values(), answers, strict=True)]
        return np.concatenate((*hot, measures_of(spec))).astype(np.float32)

    def looks(self, specs: Iterable[AvatarSpec]) -> npt.NDArray[np.float32]:
        """:meth:`looks_of` each (person, look)."""
        return np.stack([self.looks_of(spec) for spec in specs])

    def _answers_of(self, spec: AvatarSpec) -> list[int]:
        told = told_of(spec)
        return [words.index(told[n]) if told.get(n) in words else UNKNOWN for n, words in self.words.items()]


def sentence_bank(run_seed: int, people: int, population: PopulationConfig = DEFAULT_POPULATION) -> SentenceBank:
    """So many people, who are in no run, and what is said of them: a function of its arguments alone."""
    seed = seed_for(run_seed, 0, "people of sentences")
    specs = tuple(draw_avatar(seed, index, population) for index in range(people))
    told = [told_of(spec) for spec in specs]
    names = dict.fromkeys(name for of in told for name in of)
    return SentenceBank(
        specs,
        tuple(said for index, spec in enumerate(specs) for said in sentences_about(spec, seed, index, EACH)),
        {name: tuple(sorted({of[name] for of in told if name in of})) for name in names},
    )


def sentences_about(spec: AvatarSpec, run_seed: int, index: int, count: int) -> tuple[Said, ...]:
    """``count`` sentences about avatar ``index`` of a run: captions now and then, free ones else."""
    rng = generator_for(run_seed, index, "sentences")
    captions = phrasings(spec)
    return tuple(
        captioned(spec, captions[int(rng.integers(len(captions)))])
        if rng.random() < CAPTION_SHARE
        else free_sentence(spec, rng)
        for _ in range(count)
    )
