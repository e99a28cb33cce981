"""Sentences as people write them: any part of what can be seen of somebody, in everyday words and any order.

Captions (:mod:`pipeline.people.caption`) say all that is seen in a few fixed phrasings. Who asks for an avatar names
two or three things and says *elderly*, *blonde* or *sweater*. What a sentence leaves out may be anything.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.caption import LONG_HAIR, MOODS, ears_are_seen, hair_colour_name, listed, with_article

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
OPENINGS: Final = ("", "", "", "", "a portrait of ", "a photo of ", "a picture of ", "an avatar of ", "the face of ")


def free_sentence(spec: AvatarSpec, rng: np.random.Generator) -> str:
    """A sentence or list of words that is true of somebody and names any share of what is seen, drawn from ``rng``."""
    share = rng.choice((0.25, 0.5, 0.75, 1.0))

    def named(words: str) -> list[str]:
        return [words] if words and rng.random() < share else []

    had = [part for words in _had(spec, rng) for part in named(words)]
    worn = [part for words in _worn(spec, rng) for part in named(words)]
    mood = named(_mood(spec, rng))
    rng.shuffle(had)
    rng.shuffle(worn)
    person = _person(spec, rng)
    if rng.random() < 0.15:
        return ", ".join((person, *had, *worn, *mood))
    who = _pick(rng, OPENINGS) + with_article(person)
    having = f"with {listed(had)}" if had else ""
    wearing = f"{_pick(rng, ('wearing', 'in', 'who wears', 'dressed in'))} {listed(worn)}" if worn else ""
    parts = [part for part in (having, wearing) if part]
    if rng.random() < 0.4:
        parts.reverse()
    return " ".join((who, _pick(rng, (" ", ", ")).join(parts))).strip() + "".join(f", {words}" for words in mood)


def _person(spec: AvatarSpec, rng: np.random.Generator) -> str:
    male, years = spec.gender >= 0.5, spec.age_years
    if rng.random() < 0.08:
        return _pick(rng, ("person", "human", "face"))
    if years < 16:
        little = years < 10
        words = (
            ("boy", "little boy" if little else "teenage boy")
            if male
            else ("girl", "little girl" if little else "teenage girl")
        )
        return _pick(rng, (*words, *words, "child", "kid", f"{int(years)}-year-old {'boy' if male else 'girl'}"))
    noun = _pick(
        rng,
        ("man", "man", "man", "guy", "gentleman", "male") if male else ("woman", "woman", "woman", "lady", "female"),
    )
    bald = "bald " if spec.hair.style == "bald" and spec.hat is None and rng.random() < 0.8 else ""
    how = rng.random()
    if how < 0.2:
        return bald + noun
    if how < 0.3:
        return f"{bald}{int(years)}-year-old {noun}"
    if how < 0.4 and years >= 20:
        return f"{bald}{noun} in {'his' if male else 'her'} {DECADES[int(years) // 10 - 2]}"
    age = _pick(rng, AGES[0] if years < 35 else AGES[1] if years < 60 else AGES[2])
    return f"{bald}{age} {noun}" if rng.random() < 0.5 else f"{age} {bald}{noun}"


def _had(spec: AvatarSpec, rng: np.random.Generator) -> list[str]:
    parts = [_hair(spec, rng)]
    if spec.facial_hair.style != "none":
        parts.append(_pick(rng, BEARDS[spec.facial_hair.style]))
    if spec.glasses is not None:
        parts.append(_pick(rng, GLASSES).format(spec.glasses.shape))
    if spec.skin.freckles > 0.35:
        parts.append(_pick(rng, ("freckles", "a freckled face")))
    if spec.earrings is not None and spec.earrings.style != "stud" and ears_are_seen(spec):
        parts.append(
            _pick(rng, ("{0} {1} earrings", "earrings", "{1} earrings", "{0} earrings")).format(
                spec.earrings.metal, spec.earrings.style
            )
        )
    if spec.makeup is not None and spec.makeup.lips > 0.7:
        parts.append(_pick(rng, ("red lipstick", "lipstick", "red lips")))
    if rng.random() < 0.3:
        parts.append(_pick(rng, next(words for most, words in SKINS if spec.skin.melanin < most)))
    return parts


def _hair(spec: AvatarSpec, rng: np.random.Generator) -> str:
    style, has_hat = spec.hair.style, spec.hat is not None
    if style == "bald":
        return "" if has_hat or rng.random() >= 0.3 else _pick(rng, ("no hair", "a bald head", "a shaved head"))
    colour = _pick(rng, HAIR_COLOURS[hair_colour_name(spec.hair)])
    if has_hat:
        return f"{colour} hair" if style in LONG_HAIR else ""
    how = rng.random()
    if how < 0.15:
        return f"{colour} hair"
    is_coloured = how >= 0.35
    words = " ".join(_pick(rng, HAIR_STYLES[style]).format(colour if is_coloured else "").split())
    first, _, rest = words.partition(" ")
    if first in ("a", "an"):
        return with_article(rest)
    adjective = words.removesuffix(f" {colour} hair")
    # Both "curly grey hair" and "grey curly hair" are said.
    return f"{colour} {adjective} hair" if is_coloured and adjective != words and rng.random() < 0.4 else words


def _worn(spec: AvatarSpec, rng: np.random.Generator) -> list[str]:
    garment = spec.garment
    pattern = _pick(rng, PATTERNS[garment.pattern]) if garment.pattern in PATTERNS and rng.random() < 0.8 else ""
    colour = f"{garment.colour_name} " if rng.random() < 0.9 else ""
    parts = [with_article(f"{colour}{pattern}{_pick(rng, GARMENTS[garment.style])}")]
    if rng.random() < 0.1:
        parts = [_pick(rng, (f"{garment.colour_name} clothes", garment.colour_name))]
    if spec.hat is not None:
        colour = f"{spec.hat.colour_name} " if rng.random() < 0.7 else ""
        parts.append(with_article(colour + _pick(rng, HATS[spec.hat.style])))
    if spec.glasses is not None and rng.random() < 0.3:
        parts.append(_pick(rng, GLASSES).format(spec.glasses.shape))
    return parts


def _mood(spec: AvatarSpec, rng: np.random.Generator) -> str:
    words = MOODS.get(spec.expression, "") if spec.expression_intensity > 0.35 else ""
    return _pick(rng, (words, *SAME_MOODS.get(words, ())))


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]
