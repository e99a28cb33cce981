"""Sentences as people write them: any part of what can be seen of somebody, in everyday words and any order.

Captions (:mod:`pipeline.people.caption`) say all that is seen in a few fixed phrasings. Who asks for an avatar names
two or three things and says *elderly*, *blonde* or *sweater*. What a sentence leaves out may be anything; now and then
one says what somebody has not.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.caption import LONG_HAIR, MOODS, Said, ears_are_seen, hair_colour_name, listed, said, with_article

HAIR_COLOURS: Final = {
    "white": ("white", "snow-white"),
    "grey": ("grey", "gray", "silver"),
    "red": ("red", "ginger"),
    "auburn": ("auburn", "reddish brown"),
    "blond": ("blond", "blonde", "fair", "light"),
    "brown": ("brown", "brunette", "dark brown"),
    "black": ("black", "dark", "jet-black"),
}
HAIR_STYLES: Final = {
    "balding": ("thinning {} hair", "balding {} hair", "receding {} hair"),
    "buzz": ("{} buzz-cut hair", "very short {} hair", "a {} buzz cut", "cropped {} hair"),
    "crop": ("short {} hair",),
    "side part": ("{} hair parted at the side", "side-parted {} hair", "short {} hair with a side part"),
    "swept back": ("{} hair swept back", "slicked-back {} hair", "{} hair combed back"),
    "fringe": ("{} hair with a fringe", "{} hair and a fringe", "{} hair with bangs"),
    "bob": ("a {} bob", "{} hair in a bob", "chin-length {} hair"),
    "long straight": ("long straight {} hair", "long {} hair", "straight {} hair"),
    "wavy": ("long wavy {} hair", "wavy {} hair", "{} waves", "long {} hair"),
    "curly": ("curly {} hair", "{} curls", "{} curly hair"),
    "afro": ("a {} afro", "an afro of {} hair", "{} frizzy hair"),
    "ponytail": ("{} hair in a ponytail", "a {} ponytail", "{} hair tied back"),
    "pigtails": ("{} pigtails", "{} hair in pigtails", "{} bunches"),
    "bun": ("{} hair in a bun", "a {} bun", "{} hair pinned up"),
    "braids": ("{} braids", "{} braided hair", "{} plaits", "{} hair in braids"),
}
BEARDS: Final = {
    "stubble": ("stubble", "a stubble", "a five o'clock shadow"),
    "moustache": ("a moustache", "a mustache"),
    "handlebar": ("a handlebar moustache", "a moustache", "a mustache"),
    "goatee": ("a goatee", "a chin beard"),
    "van dyke": ("a moustache and a pointed chin beard", "a van dyke beard", "a pointed beard"),
    "chin curtain": ("a chin-curtain beard", "a beard without a moustache", "a beard"),
    "sideburns": ("long sideburns", "sideburns", "mutton chops"),
    "short": ("a short beard", "a beard", "a trimmed beard"),
    "full": ("a full beard", "a beard", "a long beard", "a bushy beard"),
}
GARMENTS: Final = {
    "tee": ("tee shirt", "t-shirt", "tee", "top"),
    "v-neck": ("v-neck jumper", "v-neck sweater", "v-neck", "jumper"),
    "tank": ("tank top", "sleeveless top", "vest"),
    "polo": ("polo shirt", "polo"),
    "shirt": ("collared shirt", "shirt", "button-up shirt", "blouse"),
    "turtleneck": ("turtleneck", "turtleneck sweater", "roll-neck"),
    "jumper": ("jumper", "sweater", "pullover", "jersey"),
    "hoodie": ("hoodie", "hooded sweatshirt", "sweatshirt"),
    "jacket": ("jacket", "coat", "blazer"),
}
PATTERNS: Final = {"stripes": ("striped ", "stripy "), "checks": ("checked ", "plaid ", "chequered ")}
GLASSES: Final = ("{} glasses", "{} spectacles", "{} eyeglasses", "glasses", "eyeglasses")
HATS: Final = {
    "beanie": ("beanie", "woolly hat", "knitted hat", "hat"),
    "cap": ("cap", "baseball cap", "hat"),
    "bucket hat": ("bucket hat", "hat", "sun hat"),
    "beret": ("beret", "hat"),
}
SAME_MOODS: Final = {
    "looking sad": ("sad", "unhappy"),
    "looking angry": ("angry", "cross"),
    "looking furious": ("furious", "very angry"),
    "looking surprised": ("surprised", "astonished"),
    "smiling": ("happy", "with a smile", "smiling happily"),
    "grinning": ("with a grin", "with a broad smile"),
    "laughing": ("laughing happily",),
    "looking afraid": ("afraid", "scared", "frightened"),
    "looking tired": ("tired",),
    "looking worried": ("worried",),
}
SKINS: Final = (
    (0.3, ("pale skin", "fair skin", "light skin")),
    (0.55, ("tanned skin", "olive skin", "brown skin")),
    (1.01, ("dark skin", "black skin", "dark brown skin")),
)
AGES: Final = (
    ("young", "young", "youthful"),
    ("middle-aged", "middle-aged", "mature"),
    ("old", "old", "elderly", "aged", "senior"),
)
"""Of adults below 35, below 60, and older."""
DECADES: Final = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")
LACKING: Final = {"glasses": ("glasses", "spectacles"), "beard": ("beard", "facial hair"), "hat": ("hat",)}
"""What somebody may not have, by attribute, and the words for it."""
UNCOUNTED: Final = ("glasses", "spectacles", "facial hair")
LACKING_SHARE: Final = 0.12
"""Of sentences about somebody without one of them, those that say so."""
OPENINGS: Final = ("", "", "", "", "a portrait of ", "a photo of ", "a picture of ", "an avatar of ", "the face of ")


def free_sentence(spec: AvatarSpec, rng: np.random.Generator) -> Said:
    """A sentence or list of words that is true of somebody and names any share of what is seen, drawn from ``rng``."""
    share = rng.choice((0.25, 0.5, 0.75, 1.0))

    def drawn(parts: Iterable[Said]) -> list[Said]:
        return [part for part in parts if part.words and rng.random() < share]

    had, worn, mood = drawn(_had(spec, rng)), drawn(_worn(spec, rng)), drawn([_mood(spec, rng)])
    lacking = _lacking(spec, rng)
    had, worn = ([parts[i] for i in rng.permutation(len(parts))] for parts in (had, worn))
    person = _person(spec, rng)
    named = frozenset[str]().union(*(part.named for part in (person, *had, *worn, *mood, *lacking)))
    if rng.random() < 0.15:
        without = [f"no {part.words}" for part in lacking]
        return Said(", ".join((person.words, *_words(had), *_words(worn), *_words(mood), *without)), named)
    who = _pick(rng, OPENINGS) + with_article(person.words)
    having = f"with {listed(_words(had))}" if had else ""
    wearing = f"{_pick(rng, ('wearing', 'in', 'who wears', 'dressed in'))} {listed(_words(worn))}" if worn else ""
    parts = [part for part in (having, wearing, _without(lacking, rng)) if part]
    if rng.random() < 0.4:
        parts.reverse()
    told = " ".join((who, _pick(rng, (" ", ", ")).join(parts))).strip()
    return Said(told + "".join(f", {words}" for words in _words(mood)), named)


def _words(parts: Iterable[Said]) -> list[str]:
    return [part.words for part in parts]


def _lacking(spec: AvatarSpec, rng: np.random.Generator) -> list[Said]:
    lacks = {"glasses": spec.glasses is None, "beard": spec.facial_hair.style == "none", "hat": spec.hat is None}
    rare = spec.gender < 0.5 or spec.age_years < 16
    return [
        said(_pick(rng, words), name)
        for name, words in LACKING.items()
        if lacks[name] and rng.random() < LACKING_SHARE / (4 if rare and name == "beard" else 1)
    ]


def _without(lacking: Sequence[Said], rng: np.random.Generator) -> str:
    """Such as "without glasses or a hat"."""
    if not lacking:
        return ""
    if rng.random() < 0.4:
        return "with no " + " or ".join(_words(lacking))
    return "without " + " or ".join(words if words in UNCOUNTED else with_article(words) for words in _words(lacking))


def _person(spec: AvatarSpec, rng: np.random.Generator) -> Said:
    male, years = spec.gender >= 0.5, spec.age_years
    if rng.random() < 0.08:
        return said(_pick(rng, ("person", "human", "face")))
    if years < 16:
        return _child(spec, rng)
    noun = _pick(
        rng,
        ("man", "man", "man", "guy", "gentleman", "male") if male else ("woman", "woman", "woman", "lady", "female"),
    )
    before, named = [], ["sex"]
    if spec.hair.style == "bald" and spec.hat is None and rng.random() < 0.8:
        before.append("bald")
        named.append("hair style")
    if male and spec.facial_hair.style == "none" and rng.random() < LACKING_SHARE:
        before.append("clean-shaven")
        named.append("beard")
    how = rng.random()
    if how < 0.2:
        return said(" ".join((*before, noun)), *named)
    if how < 0.3:
        before.append(f"{int(years)}-year-old")
    elif how < 0.4 and years >= 20:
        noun += f" in {'his' if male else 'her'} {DECADES[int(years) // 10 - 2]}"
    else:
        age = _pick(rng, AGES[0 if years < 35 else 1 if years < 60 else 2])
        before.insert(0 if rng.random() < 0.5 else len(before), age)
    return said(" ".join((*before, noun)), "age", *named)


def _child(spec: AvatarSpec, rng: np.random.Generator) -> Said:
    years, sex = spec.age_years, "boy" if spec.gender >= 0.5 else "girl"
    words = (sex, f"{'little' if years < 10 else 'teenage'} {sex}")
    called = _pick(rng, (*words, *words, "child", "kid", f"{int(years)}-year-old {sex}"))
    return said(called, "age") if called in ("child", "kid") else said(called, "age", "sex")


def _had(spec: AvatarSpec, rng: np.random.Generator) -> list[Said]:
    parts = [_hair(spec, rng)]
    if spec.facial_hair.style != "none":
        parts.append(said(_pick(rng, BEARDS[spec.facial_hair.style]), "beard"))
    if spec.glasses is not None:
        parts.append(said(_pick(rng, GLASSES).format(spec.glasses.shape), "glasses"))
    if spec.skin.freckles > 0.35:
        parts.append(said(_pick(rng, ("freckles", "a freckled face")), "freckles"))
    if spec.earrings is not None and spec.earrings.style != "stud" and ears_are_seen(spec):
        words = _pick(rng, ("{0} {1} earrings", "earrings", "{1} earrings", "{0} earrings"))
        parts.append(said(words.format(spec.earrings.metal, spec.earrings.style), "earrings"))
    if spec.makeup is not None and spec.makeup.lips > 0.7:
        parts.append(said(_pick(rng, ("red lipstick", "lipstick", "red lips")), "lips"))
    if rng.random() < 0.3:
        parts.append(said(_pick(rng, next(words for most, words in SKINS if spec.skin.melanin < most)), "skin"))
    return parts


def _hair(spec: AvatarSpec, rng: np.random.Generator) -> Said:
    style, has_hat = spec.hair.style, spec.hat is not None
    if style == "bald":
        is_said = not has_hat and rng.random() < 0.3
        return said(_pick(rng, ("no hair", "a bald head", "a shaved head")) if is_said else "", "hair style")
    colour = _pick(rng, HAIR_COLOURS[hair_colour_name(spec.hair)])
    if has_hat:
        return said(f"{colour} hair" if style in LONG_HAIR else "", "hair colour")
    how = rng.random()
    if how < 0.15:
        return said(f"{colour} hair", "hair colour")
    is_coloured = how >= 0.35
    named = ("hair style", "hair colour") if is_coloured else ("hair style",)
    words = " ".join(_pick(rng, HAIR_STYLES[style]).format(colour if is_coloured else "").split())
    first, _, rest = words.partition(" ")
    if first in ("a", "an"):
        return said(with_article(rest), *named)
    adjective = words.removesuffix(f" {colour} hair")
    # Both "curly grey hair" and "grey curly hair" are said.
    turned = is_coloured and adjective != words and rng.random() < 0.4
    return said(f"{colour} {adjective} hair" if turned else words, *named)


def _worn(spec: AvatarSpec, rng: np.random.Generator) -> list[Said]:
    garment = spec.garment
    pattern = _pick(rng, PATTERNS[garment.pattern]) if garment.pattern in PATTERNS and rng.random() < 0.8 else ""
    colour = f"{garment.colour_name} " if rng.random() < 0.9 else ""
    words = with_article(f"{colour}{pattern}{_pick(rng, GARMENTS[garment.style])}")
    parts = [said(words, "garment", *(("garment colour",) if colour else ()), *(("pattern",) if pattern else ()))]
    if rng.random() < 0.1:
        parts = [said(_pick(rng, (f"{garment.colour_name} clothes", garment.colour_name)), "garment colour")]
    if spec.hat is not None:
        colour = f"{spec.hat.colour_name} " if rng.random() < 0.7 else ""
        parts.append(said(with_article(colour + _pick(rng, HATS[spec.hat.style])), "hat"))
    if spec.glasses is not None and rng.random() < 0.3:
        parts.append(said(_pick(rng, GLASSES).format(spec.glasses.shape), "glasses"))
    return parts


def _mood(spec: AvatarSpec, rng: np.random.Generator) -> Said:
    words = MOODS.get(spec.expression, "") if spec.expression_intensity > 0.35 else ""
    return said(_pick(rng, (words, *SAME_MOODS.get(words, ()))), "mood")


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]
