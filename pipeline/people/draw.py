"""One avatar is drawn from (run seed, index, population).

The draw is correlated rather than independent: age brings grey, wrinkles, hair loss and fuller ears and nose; sex
brings beards, brows and jaws; ancestry brings melanin, iris, hair curl and some proportions.
"""

from typing import Final

import numpy as np

from pipeline.contracts.appearance import BrowSpec
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for, seed_for
from pipeline.people import attributes as draw
from pipeline.people.caption import described
from pipeline.people.chance import ramp
from pipeline.people.face import draw_face
from pipeline.people.population import PopulationConfig

DEFAULT_POPULATION: Final = PopulationConfig()


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
        face=draw_face(rng("face"), male, age, ancestry, weight),
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
    return described(spec)
