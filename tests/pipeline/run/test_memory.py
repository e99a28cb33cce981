"""The stated memory of the fits: what it grows with, and what is said when it is not there."""

import pytest

from pipeline.config.load import load_config
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.units import bytes_text
from pipeline.run.memory import (
    BASE,
    decoder_bytes,
    decoder_terms,
    fit_bytes,
    fit_terms,
    own_bytes,
)
from pipeline.run.memory_check import require_memory, side_by_side


def config(*settings):
    return load_config(preset="desk", settings=settings)


def test_a_fit_by_hand():
    """Photographs alone: 200 views of 512 x 512 while the hull is carved, 21 bytes a pixel with depth, 17 without."""
    large = ("render.train_views=200", "render.resolution=512", "fit.render_samples=1", "render.held_out_views=1")
    pixels, grids = 200 * 512**2, 20 * 256**3
    assert fit_bytes(config(*large)) == BASE + 21 * pixels + grids
    assert fit_bytes(config(*large, "fit.depth=false")) == BASE + 17 * pixels + grids
    assert fit_bytes(config(*large, "render.passes.depth=false")) == BASE + 17 * pixels + grids
    assert fit_bytes(config(*large), batch=3) == BASE + 3 * (21 * pixels + grids)


def test_a_joint_fit_keeps_the_planes_of_its_own_avatars_and_the_photographs_of_a_few():
    pixels, planes, cells = 60 * 256**2, 3 * 128**2 * 32 * 4, 256**3

    def taken(*settings):
        return decoder_bytes(config("fit.render_samples=1", "decoder.avatars_in_memory=2", *settings))

    one_more = taken("decoder.avatars=17") - taken("decoder.avatars=16")
    assert one_more == 4 * planes + 6 * cells
    assert taken("decoder.avatars=16", "decoder.workers=4") == taken("decoder.avatars=4", "decoder.min_avatars=4")
    one_more = taken("decoder.avatars_in_memory=3") - taken("decoder.avatars_in_memory=2")
    assert one_more == 8 * pixels
    assert taken("decoder.avatars_in_memory=99") == taken("decoder.avatars_in_memory=16"), "there are no more"
    assert own_bytes(config()) < decoder_bytes(config())


@pytest.mark.parametrize(
    ("stage", "settings", "remedy"),
    [
        ("fit", ("fit.render_samples=4096",), "or lower fit.render_samples 4096"),
        ("fit", ("fit.rays=200_000",), "lower fit.rays 200000"),
        ("fit", ("planes.resolution=2048",), "lower planes.resolution 2048"),
        ("fit", ("fit.hull_resolution=1024",), "lower fit.hull_resolution 1024"),
        (
            "fit",
            ("render.resolution=2048", "render.train_views=80"),
            "render fewer or smaller views (render.train_views, render.resolution)",
        ),
        ("decoder", ("render.resolution=2048",), "lower decoder.avatars_in_memory 8"),
        ("decoder", ("planes.resolution=1024",), "lower decoder.avatars 16"),
    ],
)
def test_what_is_missing_is_said_in_one_line_with_what_to_lower(stage, settings, remedy):
    asked = config(*settings)
    needed = fit_bytes(asked) if stage == "fit" else decoder_bytes(asked)
    require_memory(stage, asked, needed)
    with pytest.raises(ResourceError) as caught:
        require_memory(stage, asked, needed - 1)
    text = str(caught.value)
    assert f"{bytes_text(needed)} of memory" in text and remedy in text and "\n" not in text
    terms = fit_terms(asked) if stage == "fit" else decoder_terms(asked)
    assert sum(terms.values()) == needed


def test_processes_side_by_side_need_as_much_together():
    asked = config("fit.threads=2")
    assert side_by_side("fit", asked, 1) == 1 and side_by_side("fit", asked, 8) == 4
    assert side_by_side("fit", config("render.num_avatars=21", "fit.threads=1"), 64) == 3, "three shards of ten"
    assert side_by_side("decoder", config("decoder.workers=4"), 2) == 4
    needed = 4 * fit_bytes(asked)
    require_memory("fit", asked, needed, processes=4)
    with pytest.raises(ResourceError, match=r"4 processes .* raise fit\.threads 2, so that fewer run side by side, or"):
        require_memory("fit", asked, needed - 1, where="on this machine", processes=4)
