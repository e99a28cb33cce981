"""How the parts of an avatar are drawn: correlated by age, sex and ancestry, with the chances written out here.

Faces come from a few shared factors (breadth, length, jaw, nose, softness) plus small independent parts, so that no
two local targets fight each other.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.contracts.appearance import (
    FACE_AXES,
    GARMENT_COLOURS,
    FacialHairSpec,
    FacialHairStyle,
    GarmentSpec,
    GarmentStyle,
    GlassesSpec,
    HairSpec,
    HairStyle,
    IrisSpec,
    Pattern,
    Rgb,
    SkinSpec,
)

T = TypeVar("T")


def draw_ancestry(rng: np.random.Generator) -> tuple[float, float, float]:
    """One main ancestry and a little of the others."""
    main = int(rng.integers(3))
    parts = rng.dirichlet(np.where(np.arange(3) == main, 6.0, 0.5))
    african, asian = float(parts[0]), float(parts[1])
    return african, asian, max(0.0, 1.0 - african - asian)


def draw_skin(rng: np.random.Generator, ancestry: tuple[float, float, float], age: float) -> SkinSpec:
    """Melanin follows ancestry, freckles fair skin, wrinkles age."""
    melanin = float(np.clip(np.dot(ancestry, (0.76, 0.36, 0.2)) + rng.normal(0, 0.085), 0.03, 0.97))
    fair = 1 - melanin
    return SkinSpec(
        melanin=melanin,
        haemoglobin=float(np.clip(rng.normal(0.45, 0.15), 0.1, 0.9)),
        freckles=float(np.clip(rng.exponential(0.22) * ramp(fair, 0.55, 0.85), 0, 1)),
        wrinkles=float(np.clip(ramp(age, 32, 80) + rng.normal(0, 0.07), 0, 1)),
        gloss=float(np.clip(rng.normal(0.45, 0.15), 0, 1)),
    )


def draw_iris(rng: np.random.Generator, skin: SkinSpec) -> IrisSpec:
    """Light eyes only with fair skin."""
    dark = ramp(skin.melanin, 0.15, 0.42)
    melanin = float(np.clip(rng.beta(1.1, 1.2) * (1 - dark) + rng.uniform(0.72, 1.0) * dark, 0, 1))
    yaw, pitch = np.clip(rng.normal(0, (3.5, 1.5)), -8, 8)
    return IrisSpec(melanin=melanin, pupil=float(rng.uniform(0.32, 0.46)), gaze_deg=(float(yaw), float(pitch)))


def draw_hair(
    rng: np.random.Generator, male: bool, age: float, ancestry: tuple[float, float, float], skin: SkinSpec
) -> HairSpec:
    """Style by sex, curl and hair loss; colour by ancestry, grey by age."""
    african, _, caucasian = ancestry
    curly = float(np.clip(0.85 * african + 0.3 * caucasian * rng.random() + rng.normal(0, 0.08), 0, 1))
    loss = float(np.clip(rng.beta(1.5, 3.5) * ramp(age, 25, 70) * 1.6, 0, 1)) if male else 0.1 * ramp(age, 50, 80)
    chances: dict[HairStyle, float]
    if male:
        bald = 3 + 26 * ramp(loss, 0.35, 0.8)
        chances = {"bald": bald, "buzz": 17, "crop": 26, "side part": 22, "curly": 8, "long straight": 5, "wavy": 4}
    else:
        chances = {"crop": 8, "side part": 5, "bob": 20, "long straight": 20, "wavy": 20, "curly": 10, "bun": 17}
    if curly > 0.55:
        tight: dict[HairStyle, float] = {
            "afro": 26.0,
            "buzz": 22.0 if male else 6.0,
            "curly": 26.0,
            "bald": 5.0 if male else 1.0,
            "bun": 10.0,
        }
        chances = {style: 0.15 * chance for style, chance in chances.items()} | tight
        if male:
            chances.pop("bun")
    style = pick(rng, chances)
    melanin = 0.93 - 0.75 * caucasian**2 * float(rng.beta(1.1, 1.4)) + float(rng.normal(0, 0.04))
    red = float(rng.uniform(0.6, 1.0)) if rng.random() < 0.16 * caucasian else float(rng.uniform(0, 0.4))
    grey = float(np.clip(ramp(age, 34, 74) * rng.uniform(0.55, 1.35) - 0.1, 0, 1))
    if not male and rng.random() < 0.4 * (1 - ramp(age, 60, 75)):
        grey *= 0.1
    return HairSpec(
        style=style,
        length=float(rng.random()),
        curl=curly,
        melanin=float(np.clip(melanin + 0.1 * skin.melanin, 0.03, 1)),
        redness=red,
        grey=grey,
        recession=loss,
        parting=float(rng.choice((-1, 1)) * rng.uniform(0.3, 0.8)) if rng.random() < 0.65 else 0.0,
    )


def draw_facial_hair(
    rng: np.random.Generator, male: bool, age: float, ancestry: tuple[float, float, float]
) -> FacialHairSpec:
    """Men only; sparser with Asian ancestry."""
    style: FacialHairStyle = "none"
    if male and age > 19:
        sparse = ancestry[1]
        chances: dict[FacialHairStyle, float] = {
            "none": 42 + 25 * sparse, "stubble": 22, "moustache": 8, "goatee": 9, "full": 24 * (1 - 0.75 * sparse)
        }  # fmt: skip
        style = pick(rng, chances)
    return FacialHairSpec(style=style, length=float(rng.random()))


def draw_garment(rng: np.random.Generator, male: bool) -> GarmentSpec:
    """Style, colours and pattern."""
    style: GarmentStyle = pick(
        rng,
        {"tee": 24, "v-neck": 14, "turtleneck": 12 if male else 17, "shirt": 20, "hoodie": 16, "jumper": 16},
    )
    names = tuple(GARMENT_COLOURS)
    first, second = rng.choice(len(names), 2, replace=False)
    jitter = rng.normal(0, 0.025, 3)
    colour = np.clip(np.asarray(GARMENT_COLOURS[names[first]]) + jitter, 0.03, 0.95)
    chances: dict[Pattern, float] = {"plain": 62, "stripes": 16, "checks": 6, "melange": 16}
    if style == "shirt":
        chances = {"plain": 60, "stripes": 15, "checks": 25}
    return GarmentSpec(
        style=style,
        colour_name=names[first],
        colour=_rgb(colour),
        accent=GARMENT_COLOURS[names[second]],
        pattern=pick(rng, chances),
        folds=float(rng.uniform(0.3, 1)),
        ease=float(rng.uniform(0, 1)),
    )


def draw_glasses(rng: np.random.Generator) -> GlassesSpec | None:
    """Worn by a quarter."""
    worn = bool(rng.random() < 0.25)
    frames = ((0.03, 0.03, 0.035), (0.16, 0.09, 0.05), (0.55, 0.44, 0.24), (0.55, 0.56, 0.58), (0.1, 0.14, 0.3))
    glasses = GlassesSpec(
        shape=pick(rng, {"round": 35, "square": 40, "oval": 25}),
        colour=frames[int(rng.integers(len(frames)))],
        thickness=float(rng.random()),
        width=float(rng.random()),
    )
    return glasses if worn else None


def draw_face(
    rng: np.random.Generator, male: bool, age: float, ancestry: tuple[float, float, float], weight: float
) -> tuple[tuple[str, float], ...]:
    """Local parameters: shared factors (width, length, strength of the jaw, size of the nose) plus small noise."""
    african, asian, caucasian = ancestry
    broad, long, jaw, nose, soft = rng.normal(0, 1, 5)
    old, sex = ramp(age, 30, 80), 1.0 if male else -1.0
    mean = dict.fromkeys(FACE_AXES, 0.0) | {
        "chin/chin-bones": 0.1 * sex + 0.12 * jaw,
        "chin/chin-height": 0.08 * long,
        "chin/chin-prominent": 0.1 * jaw + 0.05 * sex,
        "chin/chin-width": 0.14 * sex + 0.12 * jaw + 0.08 * broad,
        "cheek/cheek-bones": 0.12 * asian - 0.1 * soft,
        "cheek/cheek-volume": 0.14 * soft + 0.5 * (weight - 0.5) - 0.15 * old,
        "ears/ear-scale": 0.2 * old + 0.05 * sex,
        "eyebrows/eyebrows-trans": -0.1 * sex - 0.1 * old,
        "eyes/eye-corner1": 0.12 * asian - 0.15 * old,
        "eyes/eye-scale": -0.06 * sex - 0.08 * old,
        "forehead/forehead-scale-vert": 0.1 * long,
        "head/head-age": 0.75 * old - 0.1,
        "head/head-fat": 0.15 * soft + 0.7 * (weight - 0.5),
        "head/head-scale-horiz": 0.14 * broad,
        "head/head-scale-vert": 0.12 * long - 0.05 * broad,
        "mouth/mouth-lowerlip-volume": 0.2 * african - 0.3 * old + 0.1 * soft - 0.06 * sex,
        "mouth/mouth-scale-horiz": 0.12 * broad,
        "mouth/mouth-upperlip-volume": 0.2 * african - 0.35 * old + 0.1 * soft - 0.08 * sex,
        "neck/neck-scale-horiz": 0.12 * sex + 0.4 * (weight - 0.5),
        "nose/nose-hump": 0.14 * caucasian + 0.1 * nose + 0.06 * sex,
        "nose/nose-point": -0.2 * old - 0.06 * sex,
        "nose/nose-scale-depth": 0.12 * nose - 0.06 * asian,
        "nose/nose-scale-vert": 0.12 * long + 0.08 * nose + 0.1 * old,
        "nose/nose-width2": 0.1 * broad + 0.08 * african,
        "nose/nose-width3": 0.1 * broad + 0.1 * nose + 0.1 * african,
    }
    noise = rng.normal(0, 0.11, len(mean))
    return tuple((name, float(np.clip(m + e, -0.75, 0.75))) for (name, m), e in zip(mean.items(), noise, strict=True))


def pick(rng: np.random.Generator, chances: Mapping[T, float]) -> T:
    """One key, with chances in proportion to the values."""
    bounds = np.cumsum(tuple(chances.values()))
    return tuple(chances)[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


def ramp(value: float, low: float, high: float) -> float:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _rgb(colour: npt.NDArray[np.float64]) -> Rgb:
    r, g, b = (float(c) for c in colour)
    return r, g, b
