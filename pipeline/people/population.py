"""The population as one table: every attribute's name, range and stated probability.

Probabilities are shares of the group that the field names; tables of styles hold weights, which are normalised, so
``--set render.population.garments.hoodie=3`` makes hoodies likelier and 0 makes them vanish. A style's name is its
field's, with spaces. How the attributes hang together (grey with age, melanin with ancestry) is in ``attributes``.
"""

from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, model_validator

from pipeline.contracts.record import Record

Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]

_SPELLED: Final = {"v_neck": "v-neck", "cat_eye": "cat-eye"}


class Table(Record):
    """Weights of alternatives."""

    model_config = ConfigDict(validate_default=True)

    def chances(self) -> dict[str, float]:
        """Probability of each alternative, by its name in specs."""
        weights = self.model_dump()
        total = sum(weights.values())
        return {_SPELLED.get(name, name.replace("_", " ")): weight / total for name, weight in weights.items()}

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if sum(self.model_dump().values()) <= 0:
            raise ValueError(f"all weights of {type(self).__name__} are 0: nothing is left to draw")
        return self


class AgeTable(Table):
    """Groups of age; within a group every year is equally likely."""

    child: Weight = 8
    """From ``youngest`` to 16."""
    young: Weight = 36
    """16 to 35."""
    middle: Weight = 36
    """35 to 60."""
    old: Weight = 20
    """60 to ``oldest``."""


class AncestryTable(Table):
    """The main one; a little of the others is mixed in."""

    african: Weight = 1
    asian: Weight = 1
    caucasian: Weight = 1


class HairTable(Table):
    """Styles of a group of people who are not bald."""

    buzz: Weight = 0
    crop: Weight = 0
    side_part: Weight = 0
    swept_back: Weight = 0
    fringe: Weight = 0
    bob: Weight = 0
    long_straight: Weight = 0
    wavy: Weight = 0
    curly: Weight = 0
    afro: Weight = 0
    ponytail: Weight = 0
    pigtails: Weight = 0
    bun: Weight = 0
    braids: Weight = 0


class MenHair(HairTable):
    """Men whose hair is not tightly curled."""

    buzz: Weight = 14
    crop: Weight = 25
    side_part: Weight = 19
    swept_back: Weight = 12
    fringe: Weight = 4
    long_straight: Weight = 4
    wavy: Weight = 4
    curly: Weight = 10
    ponytail: Weight = 3
    bun: Weight = 3


class WomenHair(HairTable):
    """Women whose hair is not tightly curled."""

    crop: Weight = 6
    side_part: Weight = 4
    swept_back: Weight = 2
    fringe: Weight = 12
    bob: Weight = 15
    long_straight: Weight = 15
    wavy: Weight = 14
    curly: Weight = 9
    ponytail: Weight = 11
    bun: Weight = 8
    braids: Weight = 4


class TightMenHair(HairTable):
    """Men and boys with tight curls."""

    buzz: Weight = 42
    crop: Weight = 8
    afro: Weight = 26
    curly: Weight = 10
    braids: Weight = 14


class TightWomenHair(HairTable):
    """Women and girls with tight curls."""

    buzz: Weight = 5
    afro: Weight = 30
    curly: Weight = 15
    braids: Weight = 25
    bun: Weight = 14
    ponytail: Weight = 11


class BoysHair(HairTable):
    """Boys whose hair is not tightly curled."""

    buzz: Weight = 10
    crop: Weight = 40
    side_part: Weight = 15
    fringe: Weight = 20
    curly: Weight = 15


class GirlsHair(HairTable):
    """Girls whose hair is not tightly curled."""

    fringe: Weight = 20
    bob: Weight = 8
    long_straight: Weight = 20
    wavy: Weight = 12
    ponytail: Weight = 18
    pigtails: Weight = 14
    braids: Weight = 8


class BaldTable(Table):
    """What the bald have."""

    bald: Weight = 50
    balding: Weight = 50
    """A ring of hair is left."""


class FacialHairTable(Table):
    """Styles of men who have any."""

    stubble: Weight = 26
    moustache: Weight = 8
    handlebar: Weight = 4
    goatee: Weight = 10
    van_dyke: Weight = 8
    chin_curtain: Weight = 6
    sideburns: Weight = 5
    short: Weight = 18
    full: Weight = 15


class GarmentTable(Table):
    """Garments."""

    tee: Weight = 17
    v_neck: Weight = 10
    tank: Weight = 6
    polo: Weight = 10
    shirt: Weight = 14
    turtleneck: Weight = 10
    jumper: Weight = 12
    hoodie: Weight = 11
    jacket: Weight = 10


class PatternTable(Table):
    """Patterns of cloth."""

    plain: Weight = 0
    stripes: Weight = 0
    checks: Weight = 0
    melange: Weight = 0


class JerseyPatterns(PatternTable):
    """Of tees, v-necks, tanks, polos, turtlenecks and jumpers."""

    plain: Weight = 62
    stripes: Weight = 18
    checks: Weight = 3
    melange: Weight = 17


class ShirtPatterns(PatternTable):
    """Of shirts."""

    plain: Weight = 55
    stripes: Weight = 15
    checks: Weight = 26
    melange: Weight = 4


class OuterPatterns(PatternTable):
    """Of hoodies and jackets."""

    plain: Weight = 74
    stripes: Weight = 3
    checks: Weight = 3
    melange: Weight = 20


class ColourTable(Table):
    """Colours of garments, where none is near the wearer's skin (``attributes.near_skin``)."""

    white: Weight = 11
    cream: Weight = 4
    black: Weight = 14
    dark_grey: Weight = 9
    grey: Weight = 10
    navy: Weight = 12
    blue: Weight = 6
    light_blue: Weight = 6
    teal: Weight = 3
    green: Weight = 4
    olive: Weight = 5
    yellow: Weight = 2
    orange: Weight = 1
    red: Weight = 4
    burgundy: Weight = 4
    pink: Weight = 2
    purple: Weight = 2
    brown: Weight = 3
    beige: Weight = 3


class GlassesTable(Table):
    """Shapes of glasses."""

    round: Weight = 25
    square: Weight = 30
    oval: Weight = 20
    aviator: Weight = 13
    cat_eye: Weight = 12


class HatTable(Table):
    """Hats."""

    beanie: Weight = 35
    cap: Weight = 30
    bucket_hat: Weight = 20
    beret: Weight = 15


class EarringTable(Table):
    """Earrings."""

    stud: Weight = 40
    hoop: Weight = 35
    drop: Weight = 25


class ExpressionTable(Table):
    """Expressions of those who are not neutral."""

    faint_smile: Weight = 9
    smile: Weight = 12
    grin: Weight = 8
    laugh: Weight = 6
    smirk: Weight = 4
    sad: Weight = 4
    grieved: Weight = 2
    angry: Weight = 3
    furious: Weight = 2
    surprised: Weight = 4
    amazed: Weight = 3
    afraid: Weight = 2
    disgusted: Weight = 2
    contempt: Weight = 2
    thoughtful: Weight = 5
    sceptical: Weight = 3
    worried: Weight = 3
    tired: Weight = 3
    sleepy: Weight = 1
    pout: Weight = 2
    kiss: Weight = 1
    wink: Weight = 2
    squint: Weight = 3
    determined: Weight = 3
    shout: Weight = 2
    pained: Weight = 2


class LightTable(Table):
    """Light rigs."""

    softbox: Weight = 20
    window: Weight = 16
    overcast: Weight = 16
    evening: Weight = 12
    rim: Weight = 8
    clamshell: Weight = 10
    shade: Weight = 9
    room: Weight = 9


class PopulationConfig(Record):
    """Who is drawn, and with what chances."""

    youngest: float = Field(5.0, ge=5, lt=16)
    """Years."""
    oldest: float = Field(85.0, gt=60, le=90)
    """Years."""
    ages: AgeTable = AgeTable()
    female: Probability = 0.5
    ancestries: AncestryTable = AncestryTable()

    bald_young: Probability = 0.05
    """Of men of 18 to 40."""
    bald_old: Probability = 0.36
    """Of men over 40."""
    bald_styles: BaldTable = BaldTable()
    hair_men: MenHair = MenHair()
    hair_women: WomenHair = WomenHair()
    hair_tight_men: TightMenHair = TightMenHair()
    hair_tight_women: TightWomenHair = TightWomenHair()
    hair_boys: BoysHair = BoysHair()
    hair_girls: GirlsHair = GirlsHair()
    red_hair: Probability = 0.12
    """Of those of mainly Caucasian ancestry."""
    blond_hair: Probability = 0.0
    """Of the same, where it is not red, above the few who are blond anyway."""

    facial_hair: Probability = 0.52
    """Of men of 18 and more."""
    facial_hair_styles: FacialHairTable = FacialHairTable()

    glasses: Probability = 0.25
    glasses_shapes: GlassesTable = GlassesTable()
    hat: Probability = 0.10
    hats: HatTable = HatTable()
    earrings_women: Probability = 0.4
    """Of women and girls."""
    earrings_men: Probability = 0.06
    """Of men and boys."""
    earring_styles: EarringTable = EarringTable()
    makeup: Probability = 0.4
    """Of women of 16 and more."""
    garments: GarmentTable = GarmentTable()
    patterns_jersey: JerseyPatterns = JerseyPatterns()
    patterns_shirt: ShirtPatterns = ShirtPatterns()
    patterns_outer: OuterPatterns = OuterPatterns()
    garment_colours: ColourTable = ColourTable()

    neutral: Probability = 0.34
    expressions: ExpressionTable = ExpressionTable()
    mixture: Probability = 0.25
    """Of those who are not neutral: a second expression is mixed in, by a third at most."""
    head_pose_deg: float = Field(4.0, ge=0, le=10)
    """Standard deviation of the head's turn to a side; nodding and tilting have half of it."""
    gaze_deg: float = Field(4.0, ge=0, le=12)
    """Standard deviation of the eyes' turn to a side; up and down have half of it."""
    asymmetry: float = Field(0.22, ge=0, le=0.5)
    """Standard deviation of each asymmetric part."""

    lights: LightTable = LightTable()
