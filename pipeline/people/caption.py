"""Captions of an avatar: what can be seen and nothing else, in several phrasings."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.contracts.appearance import HairSpec
from pipeline.contracts.avatar import AvatarSpec

HAIR: Final = {
    "balding": "thinning {} hair",
    "buzz": "{} buzz-cut hair",
    "crop": "short {} hair",
    "side part": "{} hair parted at the side",
    "swept back": "{} hair swept back",
    "fringe": "{} hair with a fringe",
    "bob": "a {} bob",
    "long straight": "long straight {} hair",
    "wavy": "long wavy {} hair",
    "curly": "curly {} hair",
    "afro": "a {} afro",
    "ponytail": "{} hair in a ponytail",
    "pigtails": "{} pigtails",
    "bun": "{} hair in a bun",
    "braids": "{} braids",
}
BEARDS: Final = {
    "stubble": "stubble",
    "moustache": "a moustache",
    "handlebar": "a handlebar moustache",
    "goatee": "a goatee",
    "van dyke": "a moustache and a pointed chin beard",
    "chin curtain": "a chin-curtain beard",
    "sideburns": "long sideburns",
    "short": "a short beard",
    "full": "a full beard",
}
MOODS: Final = {
    "faint smile": "smiling faintly",
    "smile": "smiling",
    "grin": "grinning",
    "laugh": "laughing",
    "smirk": "smirking",
    "sad": "looking sad",
    "grieved": "looking grieved",
    "angry": "looking angry",
    "furious": "looking furious",
    "surprised": "looking surprised",
    "amazed": "looking amazed",
    "afraid": "looking afraid",
    "disgusted": "looking disgusted",
    "contempt": "looking contemptuous",
    "thoughtful": "looking thoughtful",
    "sceptical": "looking sceptical",
    "worried": "looking worried",
    "tired": "looking tired",
    "sleepy": "looking sleepy",
    "pout": "pouting",
    "kiss": "puckering the lips",
    "wink": "winking",
    "squint": "squinting",
    "determined": "looking determined",
    "shout": "shouting",
    "pained": "wincing",
}
GARMENTS: Final = {
    "tee": "tee shirt",
    "v-neck": "v-neck jumper",
    "tank": "tank top",
    "polo": "polo shirt",
    "shirt": "collared shirt",
}
PATTERNS: Final = {"stripes": "striped ", "checks": "checked "}
LONG_HAIR: Final = frozenset(("bob", "long straight", "wavy", "pigtails", "braids", "curly", "afro", "fringe"))
"""Still seen below a hat, and hangs over the ears."""


class Said(NamedTuple):
    """Words about somebody."""

    words: str
    named: frozenset[str]
    """The attributes that they name, of those that :func:`pipeline.people.seen.told_of` knows."""


def said(words: str, *named: str) -> Said:
    """Words that name these attributes."""
    return Said(words, frozenset(named))


def described(spec: AvatarSpec) -> AvatarSpec:
    """The same avatar with captions that fit it."""
    captions = captions_of(spec)
    caption = captions[spec.seed % len(captions)]
    return spec.model_copy(update={"caption": caption, "caption_short": short_caption_of(spec)})


def phrasings(spec: AvatarSpec) -> tuple[str, ...]:
    """Captions that a model may learn from: every phrasing; of a caption that was given, that one."""
    captions = captions_of(spec)
    return (*(captions if spec.caption in captions else (spec.caption,)), spec.caption_short)


def captions_of(spec: AvatarSpec) -> tuple[str, ...]:
    """Sentences that say the same, such as 'an old woman with curly grey hair, wearing a red turtleneck, smiling'."""
    head, clothes, mood, person = _head(spec), listed(_worn(spec)), _mood(spec), _person(spec)
    features = listed([part.words for part in head])
    with_head = f" with {features}" if head else ""
    and_head = f", with {features}" if head else ""
    tail = f", {mood}" if mood else ""
    one_word = bool(mood) and " " not in mood
    last = f"{with_article(f'{mood} {person}' if one_word else person)}{with_head}, who wears {clothes}"
    return (
        f"{with_article(person)}{with_head}, wearing {clothes}{tail}",
        f"a portrait of {with_article(person)}{with_head}, in {clothes}{tail}",
        f"{with_article(person)} in {clothes}{and_head}{tail}",
        last if one_word else last + tail,
    )


def short_caption_of(spec: AvatarSpec) -> str:
    """A few words: the person and the most telling one or two features."""
    telling = _telling(spec)
    return with_article(_person(spec)) + (f" with {telling[0].words}" if telling else "")


def captioned(spec: AvatarSpec, caption: str) -> Said:
    """One of the phrasings of somebody's caption, and what it names."""
    is_short = caption == short_caption_of(spec)
    parts = _telling(spec) if is_short else _head(spec)
    named = ["sex", "age", *(name for part in parts for name in part.named)]
    named += ["hair style"] if _person(spec).startswith("bald ") else []
    if not is_short:
        also = {"pattern": spec.garment.pattern in PATTERNS, "hat": spec.hat is not None, "mood": bool(_mood(spec))}
        named += ["garment", "garment colour", *(name for name, is_said in also.items() if is_said)]
    return said(caption, *named)


def _telling(spec: AvatarSpec) -> list[Said]:
    """The most telling feature, where there is one."""
    if spec.hat is not None:
        return [said(with_article(f"{spec.hat.colour_name} {spec.hat.style}"), "hat")]
    return [said("glasses", "glasses")] if spec.glasses is not None and spec.seed % 2 else _head(spec)[:1]


def hair_colour_name(hair: HairSpec) -> str:
    """The everyday word for the colour of ``hair``."""
    if hair.grey > 0.8:
        return "white"
    if hair.grey > 0.42:
        return "grey"
    if hair.redness > 0.55 and hair.melanin < 0.75:
        return "red" if hair.melanin < 0.55 else "auburn"
    return "blond" if hair.melanin < 0.3 else "brown" if hair.melanin < 0.78 else "black"


def ears_are_seen(spec: AvatarSpec) -> bool:
    """Whether neither hair nor a beanie covers the ears."""
    return spec.hair.style not in LONG_HAIR - {"braids", "pigtails"} and (
        spec.hat is None or spec.hat.style in ("cap", "beret")
    )


def _person(spec: AvatarSpec) -> str:
    male = spec.gender >= 0.5
    if spec.age_years < 16:
        return ("little " if spec.age_years < 10 else "") + ("boy" if male else "girl")
    age = "young" if spec.age_years < 35 else "middle-aged" if spec.age_years < 60 else "old"
    bald = "bald " if spec.hair.style == "bald" and spec.hat is None else ""
    return f"{bald}{age} {'man' if male else 'woman'}"


def _head(spec: AvatarSpec) -> list[Said]:
    parts = []
    if spec.hair.style != "bald":
        colour = hair_colour_name(spec.hair)
        if spec.hat is None:
            parts.append(said(HAIR[spec.hair.style].format(colour), "hair style", "hair colour"))
        elif spec.hair.style in LONG_HAIR:
            parts.append(said(f"{colour} hair", "hair colour"))
    if spec.facial_hair.style != "none":
        parts.append(said(BEARDS[spec.facial_hair.style], "beard"))
    if spec.skin.freckles > 0.35:
        parts.append(said("freckles", "freckles"))
    if spec.glasses is not None:
        parts.append(said(f"{spec.glasses.shape} glasses", "glasses"))
    if spec.earrings is not None and spec.earrings.style != "stud" and ears_are_seen(spec):
        parts.append(said(f"{spec.earrings.metal} {spec.earrings.style} earrings", "earrings"))
    if spec.makeup is not None and spec.makeup.lips > 0.7:
        parts.append(said("red lipstick", "lips"))
    return parts


def _worn(spec: AvatarSpec) -> list[str]:
    garment = spec.garment
    parts = [
        with_article(
            f"{garment.colour_name} {PATTERNS.get(garment.pattern, '')}{GARMENTS.get(garment.style, garment.style)}"
        )
    ]
    if spec.hat is not None:
        parts.append(with_article(f"{spec.hat.colour_name} {spec.hat.style}"))
    return parts


def _mood(spec: AvatarSpec) -> str:
    return MOODS.get(spec.expression, "") if spec.expression_intensity > 0.35 else ""


def listed(parts: Sequence[str]) -> str:
    """Parts behind one another: "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def with_article(words: str) -> str:
    """Words behind "a" or "an"."""
    return f"{'an' if words[0] in 'aeiou8' or words.startswith(('11-', '18-')) else 'a'} {words}"
