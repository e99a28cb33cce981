"""Masks as people store them."""

import numpy as np
import pytest

from pipeline.capture.mask import Coverage, looks_inverted, read_mask
from pipeline.contracts.errors import DataError
from pipeline.picture_file import Picture

TRUE = np.zeros((24, 30), np.uint8)
TRUE[6:16, 8:20] = 255
TRUE[6, 8:20] = 100
HARD = np.where(TRUE > 0, 255, 0).astype(np.uint8)


def grey(levels, alpha=None):
    return Picture(np.repeat(np.asarray(levels, np.uint8)[..., None], 3, 2), alpha)


def read(picture):
    return read_mask(picture, 8, "m.png")


def coloured(levels, colour):
    return Picture((np.asarray(levels)[..., None] > 0) * np.array(colour, np.uint8), None)


def test_masks_of_every_kind_say_the_same():
    assert (read(grey(TRUE)) == TRUE).all()
    noisy = np.where(TRUE == 0, 5, np.where(TRUE == 255, 249, TRUE))
    assert (read(grey(noisy)) == TRUE).all(), "as JPEG keeps them"
    for level in (1, 7, 128, 255):
        assert (read(grey(np.where(TRUE > 0, level, 0))) == HARD).all()
    assert (read(coloured(TRUE, (128, 0, 0))) == HARD).all(), "a palette of two colours"
    picture = np.random.default_rng(0).integers(0, 255, (24, 30, 3)).astype(np.uint8)
    assert (read(Picture(picture, TRUE)) == TRUE).all(), "a cut-out"
    assert (read(grey(np.full(TRUE.shape, 255), TRUE)) == TRUE).all(), "a white picture with alpha"
    assert (read(grey(TRUE, np.full(TRUE.shape, 255, np.uint8))) == TRUE).all(), "alpha that says nothing"
    assert not read(grey(np.zeros((4, 4)))).any() and (read(grey(np.ones((4, 4)))) == 255).all()


def test_what_is_no_mask_is_refused():
    generator = np.random.default_rng(0)
    ids = np.where(TRUE > 0, 3, 0)
    ids[10:12] = 5
    for picture, told in (
        (Picture(generator.integers(0, 255, (24, 30, 3)).astype(np.uint8), None), "colours, a picture"),
        (grey(ids), "levels from 0 to 5 only"),
        (grey(np.where(TRUE > 0, np.linspace(60, 180, 30)[None], 0)), "is grey in whole areas"),
        (grey(255 - HARD, HARD // 2 + 100), "says two things"),
    ):
        with pytest.raises(DataError, match=told):
            read(picture)


def test_masks_the_other_way_round_are_seen_in_all_of_them():
    def coverages(*masks):
        return [Coverage.of("m", mask) for mask in masks]

    assert looks_inverted(coverages(~HARD, ~HARD, HARD)) and not looks_inverted(coverages(HARD, HARD, ~HARD))
    close = np.full((24, 30), 255, np.uint8)
    close[:4, :4] = 0
    assert not looks_inverted(coverages(close, close)), "an object that fills the picture but for a corner"
    assert not looks_inverted(coverages(np.full((24, 30), 255, np.uint8)))
