"""One avatar as plain data, and how it is drawn from (run seed, index, population).

The draw is correlated rather than independent: age brings grey, wrinkles, hair loss and fuller ears and nose; sex
brings beards, brows and jaws; ancestry brings melanin, iris, hair curl and some proportions.
"""

from typing import Final, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.contracts.appearance import (
    ASYMMETRIES,
    FACE_AXES,
    BrowSpec,
    EarringSpec,
    Expression,
    FacialHairSpec,
    GarmentSpec,
    GlassesSpec,
    HairSpec,
    HatSpec,
    IrisSpec,
    LightSpec,
    MakeupSpec,
    PoseSpec,
    SkinSpec,
)
from pipeline.contracts.randomness import generator_for, seed_for
from pipeline.contracts.record import Record
from pipeline.people import attributes as draw
from pipeline.people.attributes import ramp
from pipeline.people.caption import captions_of, short_caption_of
from pipeline.people.population import PopulationConfig

DEFAULT_POPULATION: Final = PopulationConfig()


class AvatarSpec(Record):
    """Everything that makes one avatar; the same spec gives the same pixels."""

    age_years: float = Field(ge=5, le=90)
    gender: float = Field(ge=0, le=1)
    """0 female, 1 male, as the shape's macro parameter."""
    ancestry: tuple[float, float, float]
    """Mixture of the African, Asian and Caucasian macro shapes; sums to 1."""
    weight: float = Field(ge=0, le=1)
    muscle: float = Field(ge=0, le=1)
    face: tuple[tuple[str, float], ...]
    """(key of ``FACE_AXES``, -1..1)."""
    asymmetry: tuple[tuple[str, float], ...]
    """(one of ``ASYMMETRIES``, -1..1)."""
    expression: Expression
    expression_intensity: float = Field(ge=0, le=1)
    second_expression: Expression | None
    """Mixed into the first by ``second_share``."""
    second_share: float = Field(ge=0, le=0.5)
    pose: PoseSpec
    skin: SkinSpec
    makeup: MakeupSpec | None
    iris: IrisSpec
    hair: HairSpec
    brows: BrowSpec
    facial_hair: FacialHairSpec
    garment: GarmentSpec
    glasses: GlassesSpec | None
    hat: HatSpec | None
    earrings: EarringSpec | None
    light: LightSpec
    seed: int = Field(ge=0, lt=2**63)
    """Of what is scattered while the avatar is built: strands, folds, freckles; and of the caption's phrasing."""
    sub_seed: int = Field(0, ge=0)
    """How many draws of this avatar were rejected before this one."""
    caption: str = Field(min_length=1)
    caption_short: str = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if min(self.ancestry) < 0 or abs(sum(self.ancestry) - 1) > 1e-6:
            raise ValueError(f"ancestry {self.ancestry} is no mixture: parts must be at least 0 and sum to 1")
        for name, value in self.face:
            if name not in FACE_AXES:
                raise ValueError(f"unknown face parameter {name!r}; known: {', '.join(FACE_AXES)}")
            if not -1 <= value <= 1:
                raise ValueError(f"face parameter {name} is {value}, outside -1..1")
        for name, value in self.asymmetry:
            if name not in ASYMMETRIES or not -1 <= value <= 1:
                raise ValueError(f"asymmetry {name!r} = {value}: known are {', '.join(ASYMMETRIES)}, each -1..1")
        return self

    def described(self) -> Self:
        """The same avatar with captions that fit it."""
        captions = captions_of(self)
        caption = captions[self.seed % len(captions)]
        return self.model_copy(update={"caption": caption, "caption_short": short_caption_of(self)})

    def phrasings(self) -> tuple[str, ...]:
        """Captions that a model may learn from: every phrasing; of a caption that was given, that one."""
        captions = captions_of(self)
        return (*(captions if self.caption in captions else (self.caption,)), self.caption_short)


def draw_avatar(
    run_seed: int, index: int, population: PopulationConfig = DEFAULT_POPULATION, sub_seed: int = 0
) -> AvatarSpec:
    """Avatar ``index`` of the run: a function of its arguments alone, each attribute with a generator of its own.

    Each ``sub_seed`` is another draw: what is rendered when a draw before it was rejected.
    """
    draw_name = f"avatar/{sub_seed}" if sub_seed else "avatar"

    def rng(attribute: str) -> np.random.Generator:
        return generator_for(run_seed, index, f"{draw_name}/{attribute}")

    male = bool(rng("sex").random() >= population.female)
    age = draw.draw_age(rng("age"), population)
    build = rng("build")
    gender = float(np.clip(build.normal(0.94 if male else 0.03, 0.04), 0, 1))
    weight = float(np.clip(build.normal(0.5 + 0.06 * ramp(age, 25, 50), 0.13), 0.22, 0.86))
    muscle = float(np.clip(build.normal(0.56 if male else 0.46, 0.09) - 0.1 * ramp(age, 55, 80), 0.25, 0.8))
    ancestry = draw.draw_ancestry(rng("ancestry"), population)
    skin = draw.draw_skin(rng("skin"), ancestry, age)
    expression, intensity, second, share = draw.draw_expression(rng("expression"), population)
    brows = rng("brows")
    spec = AvatarSpec(
        age_years=age,
        gender=gender,
        ancestry=ancestry,
        weight=weight,
        muscle=muscle,
        face=draw.draw_face(rng("face"), male, age, ancestry, weight),
        asymmetry=draw.draw_asymmetry(rng("asymmetry"), population),
        expression=expression,
        expression_intensity=intensity,
        second_expression=second,
        second_share=share,
        pose=draw.draw_pose(rng("pose"), population),
        skin=skin,
        makeup=draw.draw_makeup(rng("make-up"), population, not male, age, skin),
        iris=draw.draw_iris(rng("iris"), population, skin),
        hair=draw.draw_hair(rng("hair"), population, male, age, ancestry, skin),
        brows=BrowSpec(
            thickness=float(np.clip(brows.normal(0.56 if male else 0.26, 0.13) - 0.12 * ramp(age, 16, 8), 0, 1)),
            density=float(
                np.clip(brows.normal(0.62, 0.16) - 0.15 * ramp(age, 55, 80) - 0.2 * ramp(age, 14, 7), 0.2, 1)
            ),
            arch=float(np.clip(brows.normal(0.35 if male else 0.6, 0.18), 0, 1)),
        ),
        facial_hair=draw.draw_facial_hair(rng("facial hair"), population, male, age),
        garment=draw.draw_garment(rng("garment"), population, skin),
        glasses=draw.draw_glasses(rng("glasses"), population),
        hat=draw.draw_hat(rng("hat"), population, skin),
        earrings=draw.draw_earrings(rng("earrings"), population, male),
        light=draw.draw_light(rng("light"), population, skin),
        seed=seed_for(run_seed, index, f"{draw_name}/seed"),
        sub_seed=sub_seed,
        caption="?",
        caption_short="?",
    )
    return spec.described()
