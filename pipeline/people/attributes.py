"""How the attributes of an avatar are drawn: with ``PopulationConfig``'s chances, correlated by age, sex and ancestry.

Each function has a generator of its own, so that changing one proportion leaves the rest as it was. The local
parameters of a face are in ``face``.
"""

from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from pipeline.contracts.appearance import (
    ASYMMETRIES,
    GARMENT_COLOURS,
    EarringSpec,
    Expression,
    FacialHairSpec,
    GarmentSpec,
    GlassesSpec,
    HairSpec,
    HairStyle,
    HatSpec,
    IrisSpec,
    LightSpec,
    MakeupSpec,
    PoseSpec,
    Rgb,
    SkinSpec,
)
from pipeline.people.chance import choose, pick, ramp
from pipeline.people.population import HairTable, PopulationConfig, Table

TIGHT_CURL: Final = 0.55
"""Hair with more curl than this is tightly curled, and has styles of its own."""
ADULT: Final = 16.0
"""Years from which on somebody is no child."""
BEARDED: Final = 18.0
"""Years from which on men may have beards or be bald."""
OUTER: Final = ("hoodie", "jacket")
SKIN_TONES: Final = (
    (0.92, 0.875, 0.765, 0.585, 0.42, 0.30),
    (0.765, 0.70, 0.57, 0.415, 0.285, 0.20),
    (0.69, 0.605, 0.445, 0.31, 0.21, 0.15),
)
"""Red, green and blue (sRGB) of skin at melanin 0, 0.2, 0.45, 0.65, 0.85 and 1."""


def draw_age(rng: np.random.Generator, population: PopulationConfig) -> float:
    """Years: a group, then evenly within it."""
    bounds = {
        "child": (population.youngest, ADULT),
        "young": (ADULT, 35.0),
        "middle": (35.0, 60.0),
        "old": (60.0, population.oldest),
    }
    low, high = bounds[choose(rng, population.ages)]
    return float(rng.uniform(low, high))


def draw_ancestry(rng: np.random.Generator, population: PopulationConfig) -> tuple[float, float, float]:
    """One main ancestry and a little of the others."""
    main = ("african", "asian", "caucasian").index(choose(rng, population.ancestries))
    parts = rng.dirichlet(np.where(np.arange(3) == main, 7.0, 0.4))
    while parts.argmax() != main:
        parts = rng.dirichlet(np.where(np.arange(3) == main, 7.0, 0.4))
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
        moles=int(min(12, rng.poisson(0.6 + 1.6 * ramp(age, 15, 60)))),
        blush=float(np.clip(rng.exponential(0.18) + 0.25 * ramp(age, 14, 6), 0, 1)),
        wrinkles=float(np.clip(ramp(age, 32, 80) + rng.normal(0, 0.07) * ramp(age, 18, 30), 0, 1)),
        gloss=float(np.clip(rng.normal(0.45, 0.15), 0, 1)),
    )


def draw_makeup(
    rng: np.random.Generator, population: PopulationConfig, female: bool, age: float, skin: SkinSpec
) -> MakeupSpec | None:
    """Grown women only; lipstick from nude to deep red."""
    if not (rng.random() < population.makeup and female and age >= ADULT):
        return None
    reds = ((0.62, 0.12, 0.16), (0.74, 0.30, 0.34), (0.50, 0.10, 0.22), (0.78, 0.42, 0.38), (0.66, 0.22, 0.36))
    shadows = ((0.32, 0.22, 0.20), (0.45, 0.30, 0.26), (0.28, 0.28, 0.34), (0.40, 0.26, 0.36))
    lips = np.asarray(reds[int(rng.integers(len(reds)))]) * (1 - 0.3 * skin.melanin)
    return MakeupSpec(
        lips=float(rng.uniform(0.2, 0.8)),
        lip_colour=_rgb(lips),
        eyes=float(rng.uniform(0.15, 0.9)),
        shadow_colour=shadows[int(rng.integers(len(shadows)))],
        cheeks=float(rng.uniform(0, 0.5)),
    )


def draw_iris(rng: np.random.Generator, population: PopulationConfig, skin: SkinSpec) -> IrisSpec:
    """Light eyes only with fair skin."""
    dark = ramp(skin.melanin, 0.15, 0.42)
    melanin = float(np.clip(rng.beta(1.1, 1.2) * (1 - dark) + rng.uniform(0.72, 1.0) * dark, 0, 1))
    deviation = population.gaze_deg
    yaw, pitch = np.clip(rng.normal(0, (deviation, deviation / 2)), (-14, -7), (14, 7))
    return IrisSpec(melanin=melanin, pupil=float(rng.uniform(0.32, 0.46)), gaze_deg=(float(yaw), float(pitch)))


def hair_table(population: PopulationConfig, male: bool, age: float, curl: float) -> HairTable:
    """Which table of styles applies to somebody who is not bald."""
    if curl > TIGHT_CURL:
        return population.hair_tight_men if male else population.hair_tight_women
    if age < ADULT:
        return population.hair_boys if male else population.hair_girls
    return population.hair_men if male else population.hair_women


def draw_hair(
    rng: np.random.Generator,
    population: PopulationConfig,
    male: bool,
    age: float,
    ancestry: tuple[float, float, float],
    skin: SkinSpec,
) -> HairSpec:
    """Style by sex, age, curl and hair loss; colour by ancestry, grey by age."""
    african, _, caucasian = ancestry
    curl = float(np.clip(0.85 * african + 0.3 * caucasian * rng.random() + rng.normal(0, 0.08), 0, 1))
    fate, going = rng.random(), float(rng.beta(1.5, 3.5))
    loss = float(np.clip(going * ramp(age, 25, 70) * 1.3, 0, 0.75)) if male else 0.1 * ramp(age, 50, 80)
    bald = male and age >= BEARDED and fate < (population.bald_old if age > 40 else population.bald_young)
    style = choose(rng, hair_table(population, male, age, curl))
    if bald:
        style = choose(rng, population.bald_styles)
        loss = float(rng.uniform(0.6, 1.0))
    melanin = 0.93 - 0.75 * caucasian**2 * float(rng.beta(1.1, 1.4)) + float(rng.normal(0, 0.04))
    red = rng.random() < population.red_hair and caucasian > 0.5
    redness = float(rng.uniform(0.6, 1.0) if red else rng.uniform(0, 0.4))
    if red:
        melanin = min(melanin, float(rng.uniform(0.25, 0.6)))
    grey = float(np.clip(ramp(age, 34, 74) * rng.uniform(0.55, 1.35) - 0.1, 0, 1))
    if not male and rng.random() < 0.4 * (1 - ramp(age, 60, 75)):
        grey *= 0.1
    hair = HairSpec(
        style=cast(HairStyle, style),
        length=float(rng.random()),
        curl=curl,
        melanin=float(np.clip(melanin + 0.1 * skin.melanin, 0.03, 1)),
        redness=redness,
        grey=grey,
        recession=loss,
        parting=float(rng.choice((-1, 1)) * rng.uniform(0.3, 0.8)) if rng.random() < 0.65 else 0.0,
    )
    # Last, so that at chance 0 everybody's hair is what it was before there was this one.
    if rng.random() < population.blond_hair and caucasian > 0.5 and not red:
        return hair.model_copy(update={"melanin": float(rng.uniform(0.05, 0.28)), "redness": min(redness, 0.3)})
    return hair


def draw_facial_hair(rng: np.random.Generator, population: PopulationConfig, male: bool, age: float) -> FacialHairSpec:
    """Men only."""
    worn = bool(rng.random() < population.facial_hair) and male and age >= BEARDED
    style = choose(rng, population.facial_hair_styles)
    return FacialHairSpec.model_validate({"style": style if worn else "none", "length": float(rng.random())})


def near_skin(colour: Rgb, melanin: float) -> bool:
    """Whether cloth of this colour would look like the wearer's skin: differences of hue count most."""
    r, g, b = (float(np.interp(melanin, (0, 0.2, 0.45, 0.65, 0.85, 1), tones)) for tones in SKIN_TONES)
    level = sum(colour) / 3 - (r + g + b) / 3
    warm, yellow = colour[0] - colour[1] - (r - g), colour[1] - colour[2] - (g - b)
    return bool(np.hypot(0.6 * level, 1.5 * np.hypot(warm, yellow)) < 0.21)


def cloth_colours(population: PopulationConfig, skin: SkinSpec) -> dict[str, float]:
    """Weights of the colours that do not look like this skin; of all if none is left."""
    stated = population.garment_colours.chances()
    kept = {n: w for n, w in stated.items() if not near_skin(GARMENT_COLOURS[n], skin.melanin)}
    return kept if sum(kept.values()) > 0 else stated


def pattern_table(population: PopulationConfig, style: str) -> Table:
    """Which table of patterns applies to a garment."""
    if style == "shirt":
        return population.patterns_shirt
    return population.patterns_outer if style in OUTER else population.patterns_jersey


def draw_garment(rng: np.random.Generator, population: PopulationConfig, skin: SkinSpec) -> GarmentSpec:
    """Style, colours that are not the skin's, and a pattern whose second colour shows."""
    style = choose(rng, population.garments)
    colours = cloth_colours(population, skin)
    name = pick(rng, colours)
    base = np.asarray(GARMENT_COLOURS[name])
    apart = {n: w for n, w in colours.items() if n != name and abs(sum(GARMENT_COLOURS[n]) - base.sum()) > 0.36}
    accent = GARMENT_COLOURS[pick(rng, apart)] if sum(apart.values()) > 0 else _rgb(0.6 * base)
    colour = np.clip(base * rng.uniform(0.92, 1.06) + rng.normal(0, 0.014, 3), 0.05, 0.82)
    record: dict[str, Any] = {
        "style": style,
        "colour_name": name,
        "colour": _rgb(colour),
        "accent": accent,
        "pattern": choose(rng, pattern_table(population, style)),
        "folds": float(rng.uniform(0.3, 1)),
        "ease": float(rng.uniform(0, 1)),
    }
    return GarmentSpec.model_validate(record)


def draw_glasses(rng: np.random.Generator, population: PopulationConfig) -> GlassesSpec | None:
    """Metal or plastic frames."""
    worn = bool(rng.random() < population.glasses)
    frames = ((0.03, 0.03, 0.035), (0.16, 0.09, 0.05), (0.55, 0.44, 0.24), (0.55, 0.56, 0.58), (0.1, 0.14, 0.3))
    record: dict[str, Any] = {
        "shape": choose(rng, population.glasses_shapes),
        "colour": frames[int(rng.integers(len(frames)))],
        "thickness": float(rng.random()),
        "width": float(rng.random()),
    }
    return GlassesSpec.model_validate(record) if worn else None


def draw_hat(rng: np.random.Generator, population: PopulationConfig, skin: SkinSpec) -> HatSpec | None:
    """A hat in one of the cloths' colours."""
    worn = bool(rng.random() < population.hat)
    name = pick(rng, cloth_colours(population, skin))
    record: dict[str, Any] = {
        "style": choose(rng, population.hats),
        "colour_name": name,
        "colour": GARMENT_COLOURS[name],
        "depth": float(rng.random()),
    }
    return HatSpec.model_validate(record) if worn else None


def draw_earrings(rng: np.random.Generator, population: PopulationConfig, male: bool) -> EarringSpec | None:
    """A pair."""
    worn = bool(rng.random() < (population.earrings_men if male else population.earrings_women))
    record: dict[str, Any] = {
        "style": choose(rng, population.earring_styles),
        "metal": "gold" if rng.random() < 0.6 else "silver",
        "size": float(rng.random()),
    }
    return EarringSpec.model_validate(record) if worn else None


def draw_expression(
    rng: np.random.Generator, population: PopulationConfig
) -> tuple[Expression, float, Expression | None, float]:
    """Name and intensity, and what is mixed in and by how much."""
    first, second = (choose(rng, population.expressions) for _ in range(2))
    intensity = float(rng.uniform(0.6, 1.0))
    mixed, share = rng.random() < population.mixture and second != first, float(rng.uniform(0.12, 0.33))
    if rng.random() < population.neutral:
        return "neutral", intensity, None, 0.0
    return cast(Expression, first), intensity, cast(Expression, second) if mixed else None, share if mixed else 0.0


def draw_pose(rng: np.random.Generator, population: PopulationConfig) -> PoseSpec:
    """A slight turn of the head."""
    yaw, pitch, roll = rng.normal(0, 1, 3) * population.head_pose_deg * np.array((1.0, 0.5, 0.5))
    return PoseSpec(
        yaw_deg=float(np.clip(yaw, -12, 12)),
        pitch_deg=float(np.clip(pitch, -7, 7)),
        roll_deg=float(np.clip(roll, -6, 6)),
    )


def draw_asymmetry(rng: np.random.Generator, population: PopulationConfig) -> tuple[tuple[str, float], ...]:
    """Every part leans a little to one side."""
    values = np.clip(rng.normal(0, population.asymmetry, len(ASYMMETRIES)), -0.6, 0.6)
    return tuple((name, float(value)) for name, value in zip(ASYMMETRIES, values, strict=True))


def draw_light(rng: np.random.Generator, population: PopulationConfig, skin: SkinSpec) -> LightSpec:
    """A rig, turned and tinted, as bright as whoever takes a picture of this skin would have it."""
    record: dict[str, Any] = {
        "rig": choose(rng, population.lights),
        "azimuth_deg": float(rng.uniform(-60, 60)),
        "warmth": float(np.clip(rng.normal(0, 0.35), -1, 1)),
        "strength": float(rng.uniform(0.88, 1.06) * (0.90 + 0.32 * ramp(skin.melanin, 0.25, 0.85))),
    }
    return LightSpec.model_validate(record)


def _rgb(colour: npt.NDArray[np.float64]) -> Rgb:
    r, g, b = (float(c) for c in colour)
    return r, g, b
