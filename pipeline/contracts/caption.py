"""The caption of an avatar: what is seen, and nothing else."""

from typing import TYPE_CHECKING

from pipeline.contracts.appearance import HairSpec

if TYPE_CHECKING:
    from pipeline.contracts.avatar import AvatarSpec


def caption_of(spec: "AvatarSpec") -> str:
    """One sentence from what can be seen, such as 'an old woman with grey curly hair and a red turtleneck'."""
    age = "young" if spec.age_years < 32 else "middle-aged" if spec.age_years < 58 else "old"
    person = "man" if spec.gender >= 0.5 else "woman"
    hair, parts = spec.hair, []
    if hair.style == "bald":
        age = f"bald {age}"
    else:
        looks = {
            "buzz": "{} buzz-cut hair",
            "crop": "short {} hair",
            "side part": "{} hair parted at the side",
            "bob": "a {} bob",
            "long straight": "long straight {} hair",
            "wavy": "long wavy {} hair",
            "curly": "{} curly hair",
            "afro": "a {} afro",
            "bun": "{} hair in a bun",
        }
        parts.append(looks[hair.style].format(hair_colour_name(hair)))
    beards = {"stubble": "stubble", "moustache": "a moustache", "goatee": "a goatee", "full": "a full beard"}
    if spec.facial_hair.style != "none":
        parts.append(beards[spec.facial_hair.style])
    if spec.glasses is not None:
        parts.append(f"{spec.glasses.shape} glasses")
    garments = {"tee": "tee shirt", "v-neck": "v-neck jumper", "shirt": "collared shirt"}
    garment, patterns = spec.garment, {"stripes": "striped ", "checks": "checked "}
    worn = f"{garment.colour_name} {patterns.get(garment.pattern, '')}{garments.get(garment.style, garment.style)}"
    parts.append(f"{_article(worn)} {worn}")
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    moods = {"smile": ", smiling", "laugh": ", laughing", "sad": ", looking sad", "angry": ", looking angry"}
    moods["surprised"] = ", looking surprised"
    mood = moods.get(spec.expression, "")
    return f"{_article(age)} {age} {person} with {listed}{mood}"


def hair_colour_name(hair: HairSpec) -> str:
    """The everyday word for the colour of ``hair``."""
    if hair.grey > 0.8:
        return "white"
    if hair.grey > 0.42:
        return "grey"
    if hair.redness > 0.55 and hair.melanin < 0.75:
        return "red" if hair.melanin < 0.55 else "auburn"
    return "blond" if hair.melanin < 0.3 else "brown" if hair.melanin < 0.78 else "black"


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"
