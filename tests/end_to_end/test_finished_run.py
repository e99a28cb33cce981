"""What a run leaves, what can be generated from it, and what ``inspect`` and ``clean`` make of it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import rodin, rodin_passes
from support.tiny import HELD_OUT, NUM_AVATARS, recorded_jobs

from pipeline.contracts.naming import format_avatar
from pipeline.contracts.report.page import ReportData
from pipeline.contracts.stage import DriverReport
from pipeline.io.ledger import read_ledgers
from pipeline.io.plane_store import PlaneStore
from pipeline.run.run import Run
from pipeline.run.stage_table import stages_of

pytestmark = pytest.mark.ray


def flip(path, offset=-1):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_every_stage_is_done_and_timed(finished):
    for stage in stages_of("run"):
        assert re.search(rf"^{stage} +\d+\.\d ", finished.output, re.MULTILINE), finished.output
    assert "ray start" in finished.output and "ray stop" in finished.output
    assert str(finished.layout.report / "index.html") in finished.output
    assert sorted(Run(finished.layout, finished.config).render_sources()) == list(range(NUM_AVATARS))
    assert sorted(Run(finished.layout, finished.config).plane_sources()) == list(range(NUM_AVATARS))
    assert sorted(recorded_jobs(finished.blender)) == [(0, 1), (2, 3), (4, 5)]
    (report,) = (
        r for name, r in read_ledgers(finished.layout.root / "ledger/driver", DriverReport).items() if name != "ray"
    )
    assert set(report.stages) == set(stages_of("run")) and not report.failed_tasks
    assert report.ray_start_s > 0 and report.cpus == 2


def test_a_fit_begins_before_the_last_render_ends(finished):
    # The last shard's Blender waits for the first fit, so with no overlap both would wait until it gives up.
    renders, fits = (
        Run(finished.layout, finished.config).render_reports(),
        Run(finished.layout, finished.config).fit_reports(),
    )
    assert len(renders) == len(fits) == 3
    assert fits[0].started_at < renders[2].finished_at
    assert renders[2].finished_at - renders[2].started_at < 90, "it gave up waiting"


def test_the_report_shows_what_is_there(finished):
    page = finished.layout.report / "index.html"
    references = re.findall(r'(?:src|href|poster)="([^"#]+)"', page.read_text())
    files = [name for name in references if not name.startswith(("data:", "http"))]
    assert len(files) > NUM_AVATARS
    for name in files:
        assert (page.parent / name).is_file(), name
    data = ReportData.from_json((finished.layout.report / "metrics.json").read_bytes())
    assert data.num_avatars == NUM_AVATARS and data.num_held_out == len(HELD_OUT)
    assert len(data.fits) == NUM_AVATARS
    assert {avatar.source for avatar in data.generated} == {"noise", "portrait", "edit", "text"}
    assert [row.num_generated for row in data.distances] == [2, 2]
    assert all(row.fid is None and row.fid_withheld for row in data.distances), "2 images, 8 features"


def test_no_model_learned_from_a_held_out_avatar(finished):
    for stage in ("clip", "base", "upsampler", "latent", "refiner"):
        learned = set(Run(finished.layout, finished.config).stage_report(stage).avatars)
        assert len(learned) == NUM_AVATARS - len(HELD_OUT) and not learned.intersection(HELD_OUT), stage


def test_the_same_command_finds_nothing_to_do(finished):
    plan = rodin_passes("run", "--out", finished.layout.root, "--dry-run")
    for stage in stages_of("run"):
        assert re.search(rf"^{stage} +done ", plan, re.MULTILINE), plan


@pytest.mark.parametrize(
    ("request_", "num", "source"),
    [
        (("--num", "2"), 2, "noise"),
        (("--text", "an old woman with grey hair"), 4, "text"),
        (("--portrait", "PORTRAIT"), 1, "portrait"),
        (("--portrait", "PORTRAIT", "--edit", "with glasses"), 1, "edit"),
    ],
    ids=("noise", "text", "portrait", "edit"),
)
def test_generate(finished, tmp_path, request_, num, source):
    portrait = tmp_path / "face.png"
    picture = Image.new("RGB", (40, 50), "white")
    picture.paste("brown", (10, 20, 30, 50))
    picture.save(portrait)
    words = [str(portrait) if word == "PORTRAIT" else word for word in request_]
    rodin_passes("generate", "--out", finished.layout.root, *words, "--name", f"test-{source}", "--seed", "3")
    written = finished.layout.samples / f"test-{source}"
    folders = sorted(path for path in written.iterdir() if path.is_dir())
    assert len(folders) == num and (written / "sheet.png").exists() == (num > 1)
    planes = [np.load(folder / "planes.npy", allow_pickle=False) for folder in folders]
    for folder, array in zip(folders, planes, strict=True):
        assert array.shape == (3, 4, 16, 16) and array.dtype == np.float16 and np.isfinite(array).all()
        assert len(list(folder.glob("turntable.*"))) == 1
        with Image.open(folder / "strip.png") as strip:
            assert strip.width > strip.height == 16
        assert json.loads((folder / "avatar.json").read_text())["source"] == source
    assert len({array.tobytes() for array in planes}) == num, "avatars of one request differ"


def test_every_file_that_the_run_generated_is_in_its_ledger(finished):
    samples = finished.layout.samples
    files = {path for kind in ("noise", "portrait", "edit", "text") for path in (samples / kind).rglob("*.*")}
    assert {path.name for path in files} >= {"planes.npy", "latent.npy", "strip.png", "avatar.json"}
    files |= set(samples.glob("portrait-*.png"))
    report = Run(finished.layout, finished.config).stage_report("generate")
    assert set(report.outputs) == {str(path.relative_to(finished.layout.root)) for path in files if path.is_file()}


def test_inspect_describes_the_run(finished):
    text = rodin_passes("inspect", "--out", finished.layout.root)
    assert f"{NUM_AVATARS} avatars in 3 shards" in text and "1 held out" in text
    assert "9 of 32x32 pixels, field of view 30.0 degrees" in text
    assert "stale" not in text and "failed" not in text
    assert (finished.layout.report / "renders.png").is_file()


def damage_tar(layout):
    flip(layout.shard(1), 700)
    return "shard-00001.tar"


def damage_planes(layout):
    flip(layout.planes / "planes" / "c.3.0.0.0.0")
    return format_avatar(3)


def damage_base_planes(layout):
    flip(layout.planes / "base_planes" / "c.4.0.0.0.0")
    return format_avatar(4)


def damage_weights(layout):
    flip(layout.model("base") / "weights" / "state.safetensors")
    return "models/base/weights/state.safetensors"


def damage_decoder(layout):
    flip(layout.decoder / "state.safetensors")
    return "decoder"


def lose_planes(layout):
    (layout.planes / "planes" / "c.2.0.0.0.0").unlink()
    return format_avatar(2)


@pytest.mark.parametrize(
    "damage", [damage_tar, damage_planes, damage_base_planes, damage_weights, damage_decoder, lose_planes]
)
def test_verify_finds_what_is_not_as_published(copied, damage):
    name = damage(copied)
    result = rodin("inspect", "--out", copied.root, "--verify", "--no-sheet")
    assert result.exit_code == 1, result.output
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("NOT AS PUBLISHED"))
    assert name in line


def test_verify_passes_what_is_as_published(finished):
    assert "0 not as published" in rodin_passes("inspect", "--out", finished.layout.root, "--verify", "--no-sheet")


def test_clean_removes_dead_attempts_and_keeps_what_they_finished(copied):
    attempt = copied.attempts("render", "shard-00009") / "0123456789abcdef" / "dead"
    for name in ("a000018", "a000019.partial"):
        (attempt / name).mkdir(parents=True)
    (attempt / "a000018" / "avatar.json").write_text("{}")
    (copied.planes / "planes" / "c.0.0.0.0.0.abc.partial").write_bytes(b"half")
    assert "would remove" in rodin_passes("clean", "--out", copied.root, "--dry-run")
    assert attempt.exists()
    rodin_passes("clean", "--out", copied.root)
    assert not attempt.exists() and not list(copied.root.rglob("*.partial"))
    assert (copied.parts("render", 9) / "0123456789abcdef" / "a000018" / "avatar.json").exists()
    assert PlaneStore.open(copied.planes).num_avatars == NUM_AVATARS
    rodin_passes("inspect", "--out", copied.root, "--verify", "--no-sheet")


def test_nothing_of_the_run_is_executable_when_loaded(finished):
    suffixes = {path.suffix for path in Path(finished.layout.root).rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt"}
