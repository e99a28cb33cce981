"""What can be seen of a person, in single words, as a specification says it."""

from typing import Final

from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.caption import LONG_HAIR, ears_are_seen, hair_colour_name

ATTRIBUTES: Final = ("hair colour", "hair style", "garment colour", "glasses", "beard", "hat", "age", "skin")
"""What a frontal picture is asked for."""
NONE: Final = "none"
HIDDEN: Final = "hidden"
"""Of hair of which nothing is seen: its style below a hat, its colour below one or on a bald head."""


def attributes_of(spec: AvatarSpec) -> dict[str, str]:
    """The word for each attribute that a frontal picture of a person shows."""
    seen = {
        "garment colour": spec.garment.colour_name,
        "glasses": NONE if spec.glasses is None else "glasses",
        "beard": {NONE: NONE, "stubble": "stubble", "moustache": "moustache", "handlebar": "moustache"}.get(
            spec.facial_hair.style, "beard"
        ),
        "hat": NONE if spec.hat is None else spec.hat.style,
        "age": next(
            (word for years, word in ((16, "child"), (35, "young"), (60, "middle-aged")) if spec.age_years < years),
            "old",
        ),
        "skin": next((word for most, word in ((0.3, "fair"), (0.55, "medium")) if spec.skin.melanin < most), "dark"),
    }
    if spec.hat is None:
        seen["hair style"] = spec.hair.style
    if spec.hair.style != "bald" and (spec.hat is None or spec.hair.style in LONG_HAIR):
        seen["hair colour"] = hair_colour_name(spec.hair)
    return seen


def named_in_captions(spec: AvatarSpec) -> dict[str, str]:
    """Those that every full caption of a person names: what is worn or there, never what is not, and no skin."""
    seen = attributes_of(spec)
    if spec.hair.style == "bald" and spec.age_years < 16:
        seen.pop("hair style", None)
    return {name: word for name, word in seen.items() if word != NONE and name != "skin"}


def told_of(spec: AvatarSpec) -> dict[str, str]:
    """The word for each attribute that a sentence may name or make likely: :func:`attributes_of`, and finer ones.

    What :func:`attributes_of` leaves out is ``HIDDEN``.
    """
    worn = spec.earrings if ears_are_seen(spec) else None
    seen = dict.fromkeys(ATTRIBUTES, HIDDEN) | attributes_of(spec)
    return seen | {
        "sex": "male" if spec.gender >= 0.5 else "female",
        "decade": str(int(spec.age_years) // 10),
        "beard style": spec.facial_hair.style,
        "glasses shape": NONE if spec.glasses is None else spec.glasses.shape,
        "garment": spec.garment.style,
        "pattern": spec.garment.pattern,
        "hat colour": NONE if spec.hat is None else spec.hat.colour_name,
        "earrings": NONE if worn is None else worn.style,
        "freckles": "many" if spec.skin.freckles > 0.35 else "few",
        "lips": "red" if spec.makeup is not None and spec.makeup.lips > 0.7 else "bare",
        "mood": spec.expression if spec.expression_intensity > 0.35 else "neutral",
    }


def measures_of(spec: AvatarSpec) -> tuple[float, ...]:
    """What words say coarsely, each 0 to 1: age of 90 years, melanin of skin and hair, grey of the hair; 0 if bald."""
    has_hair = spec.hair.style != "bald"
    return (spec.age_years / 90, spec.skin.melanin, has_hair * spec.hair.melanin, has_hair * spec.hair.grey)
