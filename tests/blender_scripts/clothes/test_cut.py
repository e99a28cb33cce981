"""Cuts: one for each style of a spec, with necklines that stay at the neck."""

from typing import get_args

import numpy as np
import pytest

from blender_scripts.body.body import topology
from blender_scripts.clothes.cut import CUTS, INNER, UNDER_ZIP, neckline
from pipeline.contracts.appearance import GarmentStyle


def test_every_garment_of_a_spec_can_be_cut_and_what_is_worn_under_one_is_closed() -> None:
    assert set(CUTS) == set(get_args(GarmentStyle))
    assert not any(CUTS[style].is_open for style in (*INNER, UNDER_ZIP))


@pytest.mark.parametrize("style", get_args(GarmentStyle))
def test_the_neckline_never_reaches_the_shoulders(style: GarmentStyle) -> None:
    rest = topology(1).rest
    shoulders = (np.abs(rest[:, 0]) > 1.2) & (rest[:, 1] < 6)
    assert shoulders.any() and (neckline(CUTS[style], rest[shoulders]) < 0).all()
