"""What a style says of itself: where hair and beards grow, and how long they hang."""

import math
from typing import get_args

import numpy as np
import pytest

from blender_scripts.body.body import build_body
from blender_scripts.clothes.cut import CUTS, Hood
from blender_scripts.hair.facial import BEARDS, Place, beard_density, beard_region
from blender_scripts.hair.scalp import scalp_density, scalp_field
from blender_scripts.hair.style import STYLES, Head
from pipeline.contracts.appearance import FacialHairSpec, FacialHairStyle, HairStyle
from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.draw import draw_avatar

SPEC = draw_avatar(0, 11)
BODY = build_body(SPEC)
REST = BODY.topology.rest


def styled(style: HairStyle, recession: float = 0.0) -> AvatarSpec:
    return SPEC.model_copy(
        update={"hair": SPEC.hair.model_copy(update={"style": style, "recession": recession, "length": 0.9})}
    )


def bearded(style: FacialHairStyle, length: float = 0.5) -> AvatarSpec:
    changes = {"facial_hair": FacialHairSpec(style=style, length=length), "gender": 1.0, "age_years": 40.0}
    return SPEC.model_copy(update=changes)


def test_long_hair_ends_in_a_hood() -> None:
    roots = REST[:, 1] > 7.8
    free, hooded = Head.of(BODY), Head.of(BODY, CUTS["hoodie"].hair_below_chin_m)
    assert free.lowest == -math.inf and hooded.lowest == pytest.approx(hooded.chin - 0.05)
    lengths = [
        STYLES["long straight"].length(styled("long straight"), head, BODY.vertices[roots], REST[roots])
        for head in (free, hooded)
    ]
    assert (lengths[1] < lengths[0] - 0.02).all()
    hoods = {name for name, cut in CUTS.items() if isinstance(cut.trim, Hood)}
    assert hoods == {name for name, cut in CUTS.items() if cut.hair_below_chin_m < math.inf} != set()


def test_an_afro_recedes_less() -> None:
    def lost(style: HairStyle) -> np.ndarray:
        calm, receded = (scalp_field(styled(style, recession), BODY) for recession in (0.0, 1.0))
        # Nearer the line it is ragged too.
        return (calm - receded)[(calm < -0.65) & (calm > -1)]

    assert lost("crop").max() > 0.3
    np.testing.assert_allclose(lost("afro"), 0.35 * lost("crop"), atol=1e-12)


def test_hair_is_dense_all_over_or_in_a_ring_or_not_there() -> None:
    crown = (REST[:, 1] > 8.2) & (np.abs(REST[:, 0]) < 0.3)
    crop, ring, bald = (scalp_density(styled(style), BODY) for style in ("crop", "balding", "bald"))
    assert crop[crown].min() > 0.8 and ring[crown].max() == 0 < ring.max() and 0 < bald.max() <= 0.1
    # Shorn hair thins out over a wider edge.
    assert scalp_density(styled("buzz"), BODY).sum() < crop.sum()


def test_facial_hair_grows_where_its_style_says() -> None:
    lips = BODY.topology.masks["lips"]
    shares = {place: beard_region((place,), REST, lips) for place in get_args(Place)}
    assert all(share.max() > 0.5 and share.min() >= 0 for share in shares.values())
    assert {place for beard in BEARDS.values() for place in beard.grows} == set(shares)
    for style, beard in BEARDS.items():
        whole = beard_region(beard.grows, REST, lips)
        np.testing.assert_array_equal(whole, np.maximum.reduce([shares[place] for place in beard.grows]), style)


def test_what_is_shaved_shows_a_little_and_stubble_more_with_its_length() -> None:
    shaved, short, long, full, fuller = (
        beard_density(bearded(style, length), BODY).max()
        for style, length in (("none", 0.5), ("stubble", 0.0), ("stubble", 1.0), ("full", 0.0), ("full", 1.0))
    )
    assert 0 < shaved < short == pytest.approx(0.34) and long == pytest.approx(0.54) and full == fuller
    assert set(BEARDS) | {"none"} == set(get_args(FacialHairStyle))
