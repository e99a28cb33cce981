"""The parts of an avatar's description: skin, eyes, hair, clothes, glasses, light; their names and ranges."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts.record import Record

HairStyle = Literal[
    "bald", "balding", "buzz", "crop", "side part", "swept back", "fringe", "bob", "long straight", "wavy", "curly",
    "afro", "ponytail", "pigtails", "bun", "braids",
]  # fmt: skip
FacialHairStyle = Literal[
    "none", "stubble", "moustache", "handlebar", "goatee", "van dyke", "chin curtain", "sideburns", "short", "full"
]
GarmentStyle = Literal["tee", "v-neck", "tank", "polo", "shirt", "turtleneck", "jumper", "hoodie", "jacket"]
Pattern = Literal["plain", "stripes", "checks", "melange"]
GlassesShape = Literal["round", "square", "oval", "aviator", "cat-eye"]
HatStyle = Literal["beanie", "cap", "bucket hat", "beret"]
EarringStyle = Literal["stud", "hoop", "drop"]
LightRig = Literal["softbox", "window", "overcast", "evening", "rim", "clamshell", "shade", "room"]
Expression = Literal[
    "neutral", "faint smile", "smile", "grin", "laugh", "smirk", "sad", "grieved", "angry", "furious", "surprised",
    "amazed", "afraid", "disgusted", "contempt", "thoughtful", "sceptical", "worried", "tired", "sleepy", "pout",
    "kiss", "wink", "squint", "determined", "shout", "pained",
]  # fmt: skip
Rgb = tuple[float, float, float]
"""sRGB, each 0..1."""

FACE_AXES: Final = {
    "chin/chin-bones": ("decr", "incr"),
    "chin/chin-cleft": ("decr", "incr"),
    "chin/chin-height": ("decr", "incr"),
    "chin/chin-jaw-drop": ("decr", "incr"),
    "chin/chin-prominent": ("decr", "incr"),
    "chin/chin-width": ("decr", "incr"),
    "cheek/cheek-bones": ("decr", "incr"),
    "cheek/cheek-inner": ("decr", "incr"),
    "cheek/cheek-volume": ("decr", "incr"),
    "ears/ear-lobe": ("decr", "incr"),
    "ears/ear-scale": ("decr", "incr"),
    "ears/ear-wing": ("decr", "incr"),
    "eyebrows/eyebrows-angle": ("down", "up"),
    "eyebrows/eyebrows-trans": ("down", "up"),
    "eyes/eye-bag": ("decr", "incr"),
    "eyes/eye-corner1": ("down", "up"),
    "eyes/eye-corner2": ("down", "up"),
    "eyes/eye-epicanthus": ("in", "out"),
    "eyes/eye-eyefold": ("down", "up"),
    "eyes/eye-height2": ("decr", "incr"),
    "eyes/eye-scale": ("decr", "incr"),
    "eyes/eye-trans": ("in", "out"),
    "forehead/forehead-nubian": ("decr", "incr"),
    "forehead/forehead-scale-vert": ("decr", "incr"),
    "forehead/forehead-temple": ("decr", "incr"),
    "head/head": ("oval", "square"),
    "head/head-age": ("decr", "incr"),
    "head/head-fat": ("decr", "incr"),
    "head/head-scale-horiz": ("decr", "incr"),
    "head/head-scale-vert": ("decr", "incr"),
    "mouth/mouth-angles": ("down", "up"),
    "mouth/mouth-cupidsbow": ("decr", "incr"),
    "mouth/mouth-lowerlip-height": ("decr", "incr"),
    "mouth/mouth-lowerlip-volume": ("decr", "incr"),
    "mouth/mouth-philtrum-volume": ("decr", "incr"),
    "mouth/mouth-scale-horiz": ("decr", "incr"),
    "mouth/mouth-trans": ("down", "up"),
    "mouth/mouth-upperlip-height": ("decr", "incr"),
    "mouth/mouth-upperlip-volume": ("decr", "incr"),
    "neck/neck-scale-horiz": ("decr", "incr"),
    "nose/nose-base": ("down", "up"),
    "nose/nose-curve": ("concave", "convex"),
    "nose/nose-flaring": ("decr", "incr"),
    "nose/nose-hump": ("decr", "incr"),
    "nose/nose-point": ("down", "up"),
    "nose/nose-point-width": ("decr", "incr"),
    "nose/nose-scale-depth": ("decr", "incr"),
    "nose/nose-scale-vert": ("decr", "incr"),
    "nose/nose-volume": ("decr", "incr"),
    "nose/nose-width1": ("decr", "incr"),
    "nose/nose-width2": ("decr", "incr"),
    "nose/nose-width3": ("decr", "incr"),
}
"""Local face parameters: folder and stem of a pair of MakeHuman targets, and what -1 and +1 end in.

Targets of paired organs (cheek, ears, eyes) exist once for each side; a parameter moves both.
"""

ASYMMETRIES: Final = (
    "brown-1", "brown-2", "cheek-1", "cheek-2", "ear-1", "eye-1", "eye-3", "jaw-1", "jaw-2", "mouth-1", "mouth-2",
    "nose-1", "nose-2", "temple-1",
)  # fmt: skip
"""Stems of MakeHuman's ``asym`` targets; -1 leans to the avatar's left, +1 to the right."""

GARMENT_COLOURS: Final[dict[str, Rgb]] = {
    "white": (0.80, 0.79, 0.77),
    "cream": (0.76, 0.73, 0.65),
    "black": (0.085, 0.085, 0.09),
    "dark grey": (0.24, 0.25, 0.26),
    "grey": (0.46, 0.47, 0.48),
    "navy": (0.11, 0.14, 0.25),
    "blue": (0.25, 0.35, 0.50),
    "light blue": (0.57, 0.64, 0.71),
    "teal": (0.17, 0.36, 0.38),
    "green": (0.20, 0.34, 0.25),
    "olive": (0.35, 0.36, 0.25),
    "yellow": (0.68, 0.57, 0.31),
    "orange": (0.68, 0.38, 0.20),
    "red": (0.55, 0.15, 0.15),
    "burgundy": (0.34, 0.12, 0.17),
    "pink": (0.69, 0.53, 0.56),
    "purple": (0.33, 0.25, 0.41),
    "brown": (0.33, 0.25, 0.20),
    "beige": (0.66, 0.60, 0.51),
}
"""Colours that captions name, as sRGB of the cloth."""


class SkinSpec(Record):
    """What colours the skin; all 0..1."""

    melanin: float = Field(ge=0, le=1)
    """0 the fairest, 1 the darkest skin."""
    haemoglobin: float = Field(ge=0, le=1)
    """Redness of cheeks, nose, ears and lips."""
    freckles: float = Field(ge=0, le=1)
    moles: int = Field(0, ge=0, le=12)
    """How many dark spots lie on face and neck."""
    blush: float = Field(0.0, ge=0, le=1)
    """Blood in the cheeks beyond the usual."""
    wrinkles: float = Field(ge=0, le=1)
    """Strength of the fine relief that comes with age; the coarse one is in the shape."""
    gloss: float = Field(ge=0, le=1)


class MakeupSpec(Record):
    """What is painted on: strengths 0..1, and the lips' colour."""

    lips: float = Field(ge=0, le=1)
    lip_colour: Rgb
    eyes: float = Field(ge=0, le=1)
    """Shadow on the lids and a dark line along the lashes."""
    shadow_colour: Rgb
    cheeks: float = Field(ge=0, le=1)


class IrisSpec(Record):
    """Eyes: from blue (melanin 0) over green and hazel to dark brown (melanin 1)."""

    melanin: float = Field(ge=0, le=1)
    pupil: float = Field(ge=0.25, le=0.55)
    """Radius of the pupil over the iris's."""
    gaze_deg: tuple[float, float]
    """Both eyes turned to the avatar's left, and up, in degrees."""

    @model_validator(mode="after")
    def _gaze_is_possible(self) -> Self:
        if max(abs(g) for g in self.gaze_deg) > 25:
            raise ValueError(f"gaze_deg {self.gaze_deg} is outside -25..25")
        return self


class HairSpec(Record):
    """Hair of the head. Its colour comes from melanin, redness and grey, and brows and beards share it."""

    style: HairStyle
    length: float = Field(ge=0, le=1)
    """Within the range of the style."""
    curl: float = Field(ge=0, le=1)
    melanin: float = Field(ge=0, le=1)
    redness: float = Field(ge=0, le=1)
    grey: float = Field(ge=0, le=1)
    """Share of hairs without colour."""
    recession: float = Field(ge=0, le=1)
    """How far the hairline has gone back at the temples and thinned at the crown."""
    parting: float = Field(ge=-1, le=1)
    """Where the hair parts: -1 to the avatar's right, 0 in the middle, 1 to the left."""


class BrowSpec(Record):
    """Eyebrows."""

    thickness: float = Field(ge=0, le=1)
    density: float = Field(ge=0, le=1)
    arch: float = Field(ge=0, le=1)


class FacialHairSpec(Record):
    """Beard and moustache."""

    style: FacialHairStyle
    length: float = Field(ge=0, le=1)


class GarmentSpec(Record):
    """What is worn."""

    style: GarmentStyle
    colour_name: str
    colour: Rgb
    accent: Rgb
    """Second colour of a pattern."""
    pattern: Pattern
    folds: float = Field(ge=0, le=1)
    ease: float = Field(ge=0, le=1)
    """How loosely it hangs."""


class GlassesSpec(Record):
    """Spectacles."""

    shape: GlassesShape
    colour: Rgb
    thickness: float = Field(ge=0, le=1)
    width: float = Field(ge=0, le=1)


class HatSpec(Record):
    """What is worn on the head; it presses the hair down."""

    style: HatStyle
    colour_name: str
    colour: Rgb
    depth: float = Field(ge=0, le=1)
    """How far it is pulled down."""


class EarringSpec(Record):
    """One pair."""

    style: EarringStyle
    metal: Literal["gold", "silver"]
    size: float = Field(ge=0, le=1)


class PoseSpec(Record):
    """How the head is turned on the neck, in degrees: to the avatar's left, up, towards its left shoulder."""

    yaw_deg: float = Field(ge=-20, le=20)
    pitch_deg: float = Field(ge=-15, le=15)
    roll_deg: float = Field(ge=-12, le=12)


class LightSpec(Record):
    """The light, fixed to the avatar for all its views."""

    rig: LightRig
    azimuth_deg: float = Field(ge=-90, le=90)
    """Where the main light stands: 0 in front of the face, 90 at the avatar's left."""
    warmth: float = Field(ge=-1, le=1)
    strength: float = Field(ge=0.7, le=1.3)
