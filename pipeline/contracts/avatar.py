"""One avatar as plain data. How it is drawn is in ``people.draw``, what is said of it in ``people.caption``."""

from typing import Self

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
from pipeline.contracts.record import Record


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
