"""One avatar as plain data, and how it is drawn from (run seed, index).

The draw is correlated rather than independent: age brings grey, wrinkles, hair loss and fuller ears and nose; sex
brings beards, brows and jaws; ancestry brings melanin, iris, hair curl and some proportions.
"""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.contracts.appearance import (
    FACE_AXES,
    BrowSpec,
    Expression,
    FacialHairSpec,
    GarmentSpec,
    GlassesSpec,
    HairSpec,
    IrisSpec,
    LightSpec,
    SkinSpec,
)
from pipeline.contracts.caption import caption_of
from pipeline.contracts.population import (
    draw_ancestry,
    draw_face,
    draw_facial_hair,
    draw_garment,
    draw_glasses,
    draw_hair,
    draw_iris,
    draw_skin,
    pick,
    ramp,
)
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.record import Record


class AvatarSpec(Record):
    """Everything that makes one avatar; the same spec gives the same pixels."""

    age_years: float = Field(ge=16, le=90)
    gender: float = Field(ge=0, le=1)
    """0 female, 1 male, as the shape's macro parameter."""
    ancestry: tuple[float, float, float]
    """Mixture of the African, Asian and Caucasian macro shapes; sums to 1."""
    weight: float = Field(ge=0, le=1)
    muscle: float = Field(ge=0, le=1)
    face: tuple[tuple[str, float], ...]
    """(key of ``FACE_AXES``, -1..1)."""
    expression: Expression
    expression_intensity: float = Field(ge=0, le=1)
    skin: SkinSpec
    iris: IrisSpec
    hair: HairSpec
    brows: BrowSpec
    facial_hair: FacialHairSpec
    garment: GarmentSpec
    glasses: GlassesSpec | None
    light: LightSpec
    seed: int = Field(ge=0, lt=2**63)
    """Of what is scattered while the avatar is built: strands, folds, freckles."""
    sub_seed: int = Field(0, ge=0)
    """How many draws of this avatar were rejected before this one."""
    caption: str = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if min(self.ancestry) < 0 or abs(sum(self.ancestry) - 1) > 1e-6:
            raise ValueError(f"ancestry {self.ancestry} is no mixture: parts must be at least 0 and sum to 1")
        for name, value in self.face:
            if name not in FACE_AXES:
                raise ValueError(f"unknown face parameter {name!r}; known: {', '.join(FACE_AXES)}")
            if not -1 <= value <= 1:
                raise ValueError(f"face parameter {name} is {value}, outside -1..1")
        return self


def draw_avatar(run_seed: int, index: int, sub_seed: int = 0) -> AvatarSpec:
    """Avatar ``index`` of the run: a function of its arguments alone. Each ``sub_seed`` is another draw."""
    rng = generator_for(run_seed, index, f"avatar/{sub_seed}" if sub_seed else "avatar")
    male = bool(rng.random() < 0.5)
    age = float(np.clip(18 + 66 * rng.beta(1.25, 1.7), 18, 84))
    gender = float(np.clip(rng.normal(0.92 if male else 0.05, 0.05), 0, 1))
    ancestry = draw_ancestry(rng)
    weight = float(np.clip(rng.normal(0.5 + 0.06 * ramp(age, 25, 50), 0.13), 0.22, 0.86))
    muscle = float(np.clip(rng.normal(0.56 if male else 0.46, 0.09) - 0.1 * ramp(age, 55, 80), 0.25, 0.8))
    skin = draw_skin(rng, ancestry, age)
    hair = draw_hair(rng, male, age, ancestry, skin)
    expression: Expression = pick(
        rng,
        {"neutral": 36, "smile": 30, "laugh": 8, "sad": 6, "angry": 6, "surprised": 6, "thoughtful": 8},
    )
    spec = AvatarSpec(
        age_years=age,
        gender=gender,
        ancestry=ancestry,
        weight=weight,
        muscle=muscle,
        face=draw_face(rng, male, age, ancestry, weight),
        expression=expression,
        expression_intensity=float(rng.uniform(0.5, 1.0)),
        skin=skin,
        iris=draw_iris(rng, skin),
        hair=hair,
        brows=BrowSpec(
            thickness=float(np.clip(rng.normal(0.6 if male else 0.24, 0.13), 0, 1)),
            density=float(np.clip(rng.normal(0.62, 0.16) - 0.15 * ramp(age, 55, 80), 0.2, 1)),
            arch=float(np.clip(rng.normal(0.35 if male else 0.6, 0.18), 0, 1)),
        ),
        facial_hair=draw_facial_hair(rng, male, age, ancestry),
        garment=draw_garment(rng, male),
        glasses=draw_glasses(rng),
        light=LightSpec(
            rig=pick(rng, {"softbox": 32, "window": 26, "overcast": 26, "evening": 16}),
            azimuth_deg=float(rng.uniform(-60, 60)),
            warmth=float(np.clip(rng.normal(0, 0.35), -1, 1)),
            strength=float(rng.uniform(0.88, 1.12)),
        ),
        seed=int(rng.integers(2**63)),
        sub_seed=sub_seed,
        caption="?",
    )
    return spec.model_copy(update={"caption": caption_of(spec)})
