"""An object of one's own, ingested and fitted with a decoder of its own, without Ray."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.captures import write_capture
from support.commands import rodin_passes
from support.tiny import tree_hashes

from pipeline.commands.gallery import Gallery
from pipeline.config.load import load_config
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.planes import OwnFitReport
from pipeline.images import over_white
from pipeline.io.ledger import read_ledger
from pipeline.io.plane_store import planes_sha256
from pipeline.io.shards import read_avatar
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.fit import own as module
from pipeline.stages.fit.own import fit_own, turntable_cameras
from pipeline.stages.work import WorkItem
from rodin_models.checkpoint import load_state

pytestmark = pytest.mark.seconds

SETTINGS = (
    "device=cpu",
    "planes.resolution=32",
    "planes.base_resolution=16",
    "planes.channels=8",
    "decoder.hidden=32",
    "decoder.colour_hidden=16",
    "fit.rays=512",
    "fit.hull_resolution=32",
    "own.steps=150",
    "own.turntable_views=4",
    "own.checkpoint_every=50",
    "own.held_out_views=2",
)


def silent(done, total):
    """A progress that nobody watches."""


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    capture = write_capture(folder / "egg", train=12)
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    rodin_passes("ingest", capture, "--out", folder / "run", *options)
    return RunLayout(folder / "run")


def item_of(layout, *settings):
    config = load_config(run_toml=layout.config, settings=settings)
    return WorkItem(Run(layout, config), "own", stage_fingerprints(config)["own"], 0)


class Watcher:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.numbers = []
        self.found = None
        self.told = []

    def __call__(self, done, total):
        self.told.append(done)

    def report(self, metrics):
        self.numbers.append(metrics)

    def goes_on_from(self, done, total):
        self.found = (done, total)


@pytest.fixture(scope="module")
def watcher():
    return Watcher()


@pytest.fixture(scope="module")
def fitted(ingested, watcher):
    return ingested, fit_own(item_of(ingested), watcher)


def test_whoever_watches_sees_held_out_views_come(fitted, watcher):
    _, report = fitted
    shown = [numbers["dB on 2 held-out views"] for numbers in watcher.numbers]
    assert len(shown) == 3, "at every checkpoint"
    assert shown[0] < shown[-1] == pytest.approx(report.fit.psnr_db, abs=0.05), "the same two views, in float32"


def test_the_object_is_learned_and_shown(fitted):
    layout, report = fitted
    assert report.failure is None and report.fit.steps == 150
    # A blank white picture of an object that covers a sixth of it is at about 14 dB.
    assert report.fit.psnr_db > 24 and report.fit.ssim > 0.9
    assert [view.view for view in report.views] == [12, 13], "two of three held-out views, as own.held_out_views says"
    assert report.fit.psnr_db == pytest.approx(np.mean([view.psnr_db for view in report.views]))
    folder = layout.own / "a000000"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["psnr_db"] == report.fit.psnr_db and metrics["held_out_views"][1]["ssim"] == report.views[1].ssim
    names = {"metrics.json", "state.json", "state.safetensors", "turntable.mp4", "turntable.png", "views.png"}
    assert {path.name.replace(".gif", ".mp4") for path in folder.iterdir()} == names
    assert {f"own/a000000/{path.name}" for path in folder.iterdir()} == set(report.outputs)
    for name in ("turntable.png", "views.png"):
        with Image.open(folder / name) as image:
            assert image.size[0] > 150


def test_planes_and_decoder_are_whole(fitted):
    layout, report = fitted
    state = load_state(layout.own / "a000000")
    assert state["planes"].dtype == torch.float16 and state["planes"].shape == (3, 8, 32, 32)
    assert planes_sha256(state["planes"].numpy()) == report.fit.planes_sha256
    assert state["settings"]["channels"] == 8 and "density.weight" in state["decoder"]


def test_it_can_be_looked_at_without_a_shared_decoder(fitted):
    layout, report = fitted
    gallery = Gallery.open(item_of(layout).run)
    assert gallery.decoder is None and gallery.names() == ("own/a000000",)
    assert len(gallery.training_views("own/a000000")) == 12
    exhibit = gallery.exhibit("own/a000000")
    sample = read_avatar(layout.shard(0), 0)[report.views[0].view]
    picture, _ = gallery.picture(exhibit, sample.record.camera)
    error = (picture.astype(float) - over_white(sample.rgba)) / 255
    # Rounded to 8 bits and rendered with as many samples as it was measured with.
    assert -10 * np.log10((error**2).mean()) == pytest.approx(report.views[0].psnr_db, abs=0.2)
    for name, told in (("own/a000001", "--own-decoder"), ("a000000", "fitted are none")):
        with pytest.raises(DataError, match=told):
            gallery.exhibit(name)


def test_a_current_fit_is_not_done_again(fitted, monkeypatch):
    layout, report = fitted
    monkeypatch.setattr(module, "_fit", None)
    assert fit_own(item_of(layout), silent) == report
    assert item_of(layout).run.own_reports() == {0: report}
    with pytest.raises(TypeError):
        fit_own(item_of(layout, "own.steps=151"), silent)
    assert item_of(layout, "planes.base_resolution=8").fingerprint == report.fingerprint, "it has no base planes"


def test_an_interrupted_fit_goes_on_to_the_same_planes(fitted, tmp_path):
    layout, report = fitted
    other = RunLayout(shutil.copytree(layout.root, tmp_path / "run"))
    shutil.rmtree(other.root / "ledger" / "own")
    shutil.rmtree(other.own)

    class Killed(Exception):
        pass

    def dies(done, total):
        if done > 120:
            raise Killed

    with pytest.raises(Killed):
        fit_own(item_of(other), dies)
    assert not other.own.exists() and not other.ledger("own", "a000000").exists()
    watcher = Watcher()
    again = fit_own(item_of(other), watcher)
    assert watcher.found == (100, 150), "from the last checkpoint"
    assert watcher.told[0] == 101
    assert again.fit.planes_sha256 == report.fit.planes_sha256
    assert {k: v for k, v in again.outputs.items() if "metrics" not in k and "turntable.mp4" not in k} == {
        k: v for k, v in report.outputs.items() if "metrics" not in k and "turntable.mp4" not in k
    }
    assert not list((other.work / "own").iterdir()), "nothing is left in work"


def test_a_fit_that_diverges_is_a_failure_that_can_be_tried_again(ingested, tmp_path, monkeypatch):
    layout = RunLayout(shutil.copytree(ingested.root, tmp_path / "run"))
    shutil.rmtree(layout.root / "ledger" / "own", ignore_errors=True)
    shutil.rmtree(layout.own, ignore_errors=True)
    item = item_of(layout, "own.steps=2")
    with monkeypatch.context() as patch:
        patch.setattr(module.JointFit, "planes", property(lambda self: torch.full((1, 3, 8, 32, 32), torch.nan)))
        report = fit_own(item, silent)
        assert report.fit is None and "diverged" in report.failure.reason and not report.outputs
        assert fit_own(item, silent) == report
    assert not layout.own.exists()
    assert fit_own(item, silent) == report, "it stays a failure"
    assert fit_own(replace(item, retry_failed=True), silent).failure is None
    assert read_ledger(layout.ledger("own", "a000000"), OwnFitReport).fit.steps == 2


def test_the_turntable_goes_round_where_the_photographs_were_taken():
    photographs = [
        Camera.look_at(orbit_position(90.0 * i, 20.0, 3.0 + 0.1 * i), np.zeros(3), fov_deg=40, width=60, height=30)
        for i in range(4)
    ]
    cameras = turntable_cameras(photographs, 6, 24)
    positions = np.stack([camera.matrix()[:3, 3] for camera in cameras])
    assert np.allclose(np.linalg.norm(positions, axis=1), 3.15)
    assert np.allclose(np.degrees(np.arcsin(positions[:, 1] / 3.15)), 20.0)
    assert all((c.width, c.height) == (24, 24) for c in cameras)
    # As high as the photographs: half of 30 pixels at their focal length is half of 24 here.
    assert cameras[0].fx / 12 == pytest.approx(photographs[0].fx / 15)


def test_nothing_but_its_own_folders_is_written(fitted):
    layout, _ = fitted
    tops = {path.split("/")[0] for path in tree_hashes(layout.root)}
    assert tops == {"run.toml", ".lock", "renders", "ledger", "own"}
