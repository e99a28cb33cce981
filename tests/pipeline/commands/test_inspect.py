"""``inspect`` and ``clean`` of a run that was only rendered; tests/end_to_end has finished ones."""

import numpy as np
import pytest
from PIL import Image
from support.fake_blender import make_fake_blender

from pipeline.commands.clean import clean_run
from pipeline.commands.inspect import inspect_run, render_sheet
from pipeline.config.load import load_config
from pipeline.contracts.errors import RunLockedError
from pipeline.contracts.naming import RunLayout
from pipeline.io.run_lock import run_lock
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.render import render_shard
from pipeline.stages.work import WorkItem

SETTINGS = (
    "render.num_avatars=3",
    "render.shard_size=3",
    "render.held_out_every=3",
    "render.train_views=2",
    "render.held_out_views=1",
    "render.resolution=16",
    "decoder.avatars=2",
    "refiner.input_side=16",
    "refiner.scale=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Avatar 1 failed, avatar 2 is held out."""
    folder = tmp_path_factory.mktemp("inspected")
    config = load_config(preset="demo", settings=[*SETTINGS, f"render.python={make_fake_blender(folder, fail=(1,))}"])
    layout = RunLayout(folder / "run")
    render_shard(
        WorkItem(Run(layout, config), "render", stage_fingerprints(config)["render"], 0), lambda done, total: None
    )
    layout.config.write_text(config.to_toml())
    return Run(layout, config)


def inspected(run, **more):
    lines = []
    sound = inspect_run(run, echo=lines.append, **{"verify": False, "sheet": False, **more})
    return sound, "\n".join(lines)


def test_counts_cameras_and_failures(run):
    config = run.config
    sound, text = inspected(run)
    assert sound
    assert "2 avatars in 1 shards" in text and "1 held out: 2 training, 1 held-out views and a frontal one" in text
    distance = f"{config.render.distance:.2f}"
    assert f"4 of 16x16 pixels, field of view 30.0 degrees, distance {distance}..{distance}" in text
    assert "failed in render: a000001: asked to fail" in text and "the log" in text
    assert "rodin-pipe render --retry-failed (1)" in text
    assert "fit        missing     0/2" in text, "a fit of what failed to render is not awaited"
    assert text.endswith(f"next: rodin-pipe run --out {run.layout.root}")


def test_the_contact_sheet(run):
    layout = run.layout
    sheet = render_sheet(run)
    assert sheet.ndim == 3 and sheet.shape[1] >= 2 * 16 and sheet.std() > 0
    assert "contact sheet" in inspected(run, sheet=True)[1]
    assert (layout.report / "renders.png").is_file()


def test_a_published_shard_that_is_missing(run):
    layout = run.layout
    assert inspected(run, verify=True)[0]
    aside = layout.shard(0).rename(layout.root / "aside.tar")
    try:
        sound, text = inspected(run, verify=True)
    finally:
        aside.rename(layout.shard(0))
    assert not sound and "shard-00000.tar is missing" in text and "1 not as published" in text


def test_clean_is_refused_while_a_driver_works(run):
    layout = run.layout
    with run_lock(layout.lock), pytest.raises(RunLockedError):
        clean_run(layout, dry_run=False, echo=lambda line: None)


def test_clean_finds_nothing_in_a_clean_run(run):
    lines = []
    clean_run(run.layout, dry_run=False, echo=lines.append)
    assert lines == ["no dead attempts", f"next: rodin-pipe inspect --out {run.layout.root}"]


def test_attributes_are_counted_and_drawn(run):
    layout = run.layout
    _, text = inspected(run, attributes=True)
    assert "garment (3)" in text and "stated" in text and "glasses (3)" in text
    with Image.open(layout.report / "attributes.png") as chart:
        assert chart.width > 600 and np.asarray(chart).std() > 5
