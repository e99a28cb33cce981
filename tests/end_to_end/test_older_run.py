"""A run that an older version made is current, reads the same and is gone on with: see tests/data/README.md."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from support.commands import rodin_passes
from support.tiny import tree_hashes

import pipeline.run.run as run_module
from pipeline.commands.inspect import inspect_run
from pipeline.commands.visit import visit_run
from pipeline.config.load import read_run_toml
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.contracts.stage import DriverReport
from pipeline.driver.request import Visit
from pipeline.driver.summary import describe_result
from pipeline.driver.survey import survey
from pipeline.driver.visit import VisitResult
from pipeline.io.shards import read_avatar
from pipeline.machine import package_versions, processor_name
from pipeline.people.draw import draw_avatar
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.run.stage_table import single_stages, stages_of
from rodin_models.checkpoint import load_state, settings_from_dict
from rodin_models.diffusion.base import BaseModel, BaseSettings
from rodin_models.diffusion.latent import LatentModel, LatentSettings
from rodin_models.diffusion.upsampler import UpsamplerModel, UpsamplerSettings
from rodin_models.image.clip_file import load_clip

RUN = Path(__file__).parents[1] / "data" / "run_of_0_1_0.tar.xz"


@pytest.fixture
def older(tmp_path):
    """The run, unpacked. For samples and report, which the archive leaves out, something as old stands in."""
    with tarfile.open(RUN) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.3 and before have none
        archive.extractall(tmp_path)
    layout = RunLayout(tmp_path / "run")
    for stage in ("generate", "evaluate"):
        ledger = layout.ledger(stage, stage)
        tree = json.loads(ledger.read_text())
        for name in tree["outputs"]:
            path = layout.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("left out")
            os.utime(path, (0, 0))
        ledger.write_text(json.dumps(tree | {"sizes": dict.fromkeys(tree["outputs"], len("left out"))}))
    return layout


def test_nothing_of_it_is_stale(older):
    config = read_run_toml(older.config)
    states = survey(Run(older, config), stage_fingerprints(config))
    assert {stage: state.stale for stage, state in states.items() if state.stale} == {}
    missing = {stage for stage, state in states.items() if state.word == "missing"}
    assert missing == {"own", "frontal", "head", "refiner"}, "nobody made the first three, and the other is left out"
    lines = rodin_passes("inspect", "--out", older.root, "--no-sheet").splitlines()
    assert not [line for line in lines[1:] if "stale" in line.replace(str(older.root), "")]


def test_its_fingerprints_are_those_of_now(older):
    now = stage_fingerprints(read_run_toml(older.config))
    ledgers = sorted((older.root / "ledger").glob("*/*.json"))
    assert len(ledgers) == 12
    for ledger in ledgers:
        assert json.loads(ledger.read_text())["fingerprint"] == now[ledger.parent.name], ledger


def test_a_visit_reads_each_ledger_once(older, monkeypatch):
    config, read = read_run_toml(older.config), []
    for name in ("read_ledger", "read_ledgers"):
        reader = getattr(run_module, name)
        monkeypatch.setattr(run_module, name, lambda path, kind, reader=reader: read.append(path) or reader(path, kind))
    entries = run_module.read_entries

    def read_entries(folder, shards, kind):
        read.extend(folder / f"{shard}.json" for shard in shards)
        return entries(folder, shards, kind)

    monkeypatch.setattr(run_module, "read_entries", read_entries)
    shards = [older.ledger(stage, format_shard(shard)) for stage in ("render", "fit") for shard in (0, 1)]
    whole = [older.ledger(stage, stage) for stage in ("decoder", *single_stages())]
    each = sorted((*shards, *whole, older.ledgers("own")))
    visit_run("run", stages_of("run"), older.root, dry_run=True, echo=lambda line: None)
    assert sorted(read) == each and len(each) >= 14

    read.clear()
    visit = Visit(Run(older, config), (*stages_of("run"), "own"), "run")
    after = visit.run.snapshot()
    report = DriverReport(
        command="run",
        started_at=0.0,
        finished_at=1.0,
        ray_start_s=0.0,
        ray_stop_s=0.0,
        stages={},
        failed_tasks={},
        cpus=1.0,
        gpus=0.0,
    )
    states = survey(after, stage_fingerprints(config))
    assert "   0/3" in describe_result(visit, VisitResult(report, {}, states, after))
    assert sorted(read) == each

    read.clear()
    assert inspect_run(Run(older, config), verify=False, sheet=False, echo=lambda line: None)
    assert sorted(read) == each


def test_its_people_are_drawn_as_they_were(older):
    config = read_run_toml(older.config)
    specs = list(Run(older, config).specs().values())
    assert len(specs) == config.render.num_avatars == 3
    for avatar, spec in enumerate(specs):
        assert draw_avatar(config.seed, avatar, config.render.population, spec.sub_seed) == spec


@pytest.mark.seconds
def test_its_models_are_read_whatever_their_settings_were_called(older):
    config = read_run_toml(older.config)
    kinds = {"base": (BaseModel, BaseSettings), "upsampler": (UpsamplerModel, UpsamplerSettings)}
    for name, (make, kind) in (kinds | {"latent": (LatentModel, LatentSettings)}).items():
        tree = load_state(older.model(name) / "weights")
        model = make(settings_from_dict(kind, tree["settings"]), torch.Generator())
        model.load_state_dict(tree["model"])
        assert model.settings.diffusion.timesteps == getattr(config, name).diffusion.timesteps
    clip, _, settings = load_clip(older.model("clip") / "weights")
    assert (settings.patch_size, settings.latent_dim) == (config.clip.patch_size, clip.dim)


@pytest.mark.slow
@pytest.mark.ray
def test_it_is_trained_on(older):
    before = tree_hashes(older.renders) | tree_hashes(older.planes) | tree_hashes(older.model("base"))
    rodin_passes("train", "refiner", "--out", older.root, cpus=1)
    assert (older.model("refiner") / "weights" / "state.safetensors").is_file()
    assert before == tree_hashes(older.renders) | tree_hashes(older.planes) | tree_hashes(older.model("base"))


@pytest.mark.blender
@pytest.mark.ray
@pytest.mark.slow
def test_its_people_are_photographed_as_they_were(older, tmp_path):
    config = read_run_toml(older.config)
    before = Run(older, config).render_reports()[1]
    kept = Path(shutil.move(older.shard(1), tmp_path / "before.tar"))
    older.ledger("render", "shard-00001").unlink()
    # A frame may take minutes beside other work.
    rodin_passes("render", "--out", older.root, "--set", "render.timeout_s=1800.0")
    again = Run(older, config).render_reports()[1]
    same_machine = before.processor == processor_name() and before.versions.items() <= again.versions.items()
    assert package_versions(("bpy",))["bpy"] == before.versions["bpy"], "another Blender makes other pixels"
    if same_machine:
        assert older.shard(1).read_bytes() == kept.read_bytes()
        assert again.avatar_sha256 == before.avatar_sha256
    for now, then in zip(read_avatar(older.shard(1), 2), read_avatar(kept, 2), strict=True):
        landmarks, old_landmarks = now.record.landmarks, then.record.landmarks
        assert now.record.model_copy(update={"landmarks": None}) == then.record.model_copy(update={"landmarks": None})
        np.testing.assert_allclose(landmarks.points_world, old_landmarks.points_world, atol=1e-4)
        # Another processor sums in another order: a few noisy pixels may differ, and no outline.
        assert np.abs(now.rgba.astype(int) - then.rgba.astype(int)).mean() < 1.0
        assert (now.segmentation != then.segmentation).mean() < 0.02
