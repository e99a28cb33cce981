"""A run's models as a compact folder, and what reads it again."""

import json
import os
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny import tree_hashes

from pipeline.commands.export.models import COMPONENTS, export_models
from pipeline.config.sampling import MODELS_JSON
from pipeline.config.shape import contradiction
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.run.model_folder import ModelFolder, open_models
from pipeline.run.run import Run
from pipeline.stages.sampling.load import load_sampler
from rodin_models.checkpoint import load_state
from rodin_models.compact import KEPT_BELOW, KERNEL_FROM, eight, four

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")
NETWORKS = ("clip", "base", "upsampler", "latent", "frontal", "head", "refiner")


@pytest.fixture(scope="module")
def linear_run(made, tmp_path_factory):
    """The run with a base model that stands on a linear prediction."""
    run = made.copy_to(tmp_path_factory.mktemp("linear") / "run", "base", settings=("base.linear=true", "base.steps=2"))
    run.train("base")
    return run


@pytest.fixture(scope="module")
def plain_run(made, tmp_path_factory):
    """The run with one that does not."""
    run = made.copy_to(
        tmp_path_factory.mktemp("plain") / "run",
        "base",
        settings=("base.linear=false", "base.steps=2", "generate.frontal_steps=0", "generate.head_steps=0"),
    )
    run.train("base")
    return run


@pytest.fixture(scope="module")
def exported(linear_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "models"
    said = export_models(linear_run.run, folder)
    assert said.startswith(f"{folder}: ") and "eigen-planes of base" in said
    return folder


def tensors(tree, path=""):
    """Every tensor of a tree, by path."""
    if isinstance(tree, dict):
        return {name: t for key, value in tree.items() for name, t in tensors(value, f"{path}/{key}").items()}
    return {path: tree} if isinstance(tree, torch.Tensor) else {}


def test_it_is_safetensors_and_json_and_a_card(exported):
    assert {path.suffix for path in exported.rglob("*") if path.is_file()} == {".safetensors", ".json", ".md"}
    assert sorted(path.name for path in exported.iterdir()) == ["README.md", "decoder", "models", MODELS_JSON]


def test_a_wheel_would_hold_every_file(exported):
    """By the patterns of pyproject for the folder where released weights lie."""
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["rodin_models.released"]
    packed = {path for pattern in patterns for path in exported.glob(pattern)}
    assert packed == {path for path in exported.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["decoder", *NETWORKS[1:]])
def test_weights_come_back_in_float32_and_near(linear_run, exported, name):
    before, after = (
        layout.decoder if name == "decoder" else layout.model(name) / "weights"
        for layout in (linear_run.layout, RunLayout(exported))
    )
    old, new = tensors(load_state(before)), tensors(load_state(after))
    assert list(old) == list(new)
    packed = 0
    for path, tensor in old.items():
        back = new[path]
        assert back.dtype == tensor.dtype and back.shape == tensor.shape
        error = (back - tensor).abs()
        if path.endswith(COMPONENTS):
            assert torch.equal(back, four(tensor).full()) and error.any()
        elif path.startswith("/decoder/"):
            assert not error.any(), "planes were fitted under it"
        elif path.endswith(".weight") and tensor.dim() > 1 and tensor.numel() >= KERNEL_FROM:
            assert torch.equal(back, eight(tensor).full()) and error.any()
        else:
            assert (error <= 2**-11 * tensor.abs() + 2**-25).all(), path
        packed += bool(error.any())
    large = any(tensor.numel() >= KEPT_BELOW for tensor in old.values())
    assert bool(packed) == large == (name != "latent"), "the tiny latent model has no large layer"
    sizes = [(folder / "state.safetensors").stat().st_size for folder in (before, after)]
    assert (sizes[1] < sizes[0]) == large


def test_samples_are_nearly_those_of_the_run(linear_run, exported):
    def drawn(models):
        sampler = load_sampler(models, CPU)
        generator = torch.Generator().manual_seed(0)
        latents = sampler.latents(2, None, generator)
        return latents, sampler.planes(latents, generator).float()

    own, theirs = drawn(ModelFolder.of_run(linear_run.run)), drawn(open_models(exported))
    assert theirs[0].shape == own[0].shape and torch.nn.functional.cosine_similarity(theirs[0], own[0]).min() > 0.999
    spread = own[1].std()
    assert (theirs[1] - own[1]).square().mean().sqrt() < 0.1 * spread


def test_what_sampling_must_know_comes_along(linear_run, exported):
    models = open_models(exported)
    config = linear_run.config
    assert models.sampling == config.sampling().model_copy(update={"device": "auto", "threads": 0})
    assert models.record.settings["base.unet.multipliers"] == [1, 2]
    assert contradiction(config, models.record.settings) == ""
    assert {file.sha256 for file in models.record.files.values()} <= set(tree_hashes(exported).values())
    named = set(models.record.files) | {MODELS_JSON, "README.md"}
    assert named == set(tree_hashes(exported)), "every file"


def test_the_card_says_what_the_ledgers_say(linear_run, exported):
    card = (exported / "README.md").read_text()
    assert "5 synthetic people of seed 0 to learn from, and 1 more held out" in card
    assert "32 pixels" in card and "6 views to fit" in card
    report = linear_run.run.stage_report("base")
    assert f"{report.metrics['parameters'] / 1e6:.2f} M parameters, 2 steps of 2, rate 0.001" in card
    assert report.processor in card and "CC0" in card and "Apache-2.0" in card
    table = dict(re.findall(r"^\| (.+?) \| ([\d.]+ [KM]?i?B) \|$", card, re.MULTILINE))
    assert set(table) == {"decoder", *NETWORKS, "eigen-planes of base", "all"}


def test_as_many_eigen_planes_as_a_budget_holds(linear_run, tmp_path):
    components = load_state(linear_run.layout.model("base") / "weights")["linear"]["model"][COMPONENTS]
    each = components[0].numel() // 2 + 4 * components.shape[1] * components.shape[2]
    export_models(linear_run.run, tmp_path / "few", linear_bytes=2 * each + 3)
    linear = load_state(RunLayout(tmp_path / "few").model("base") / "weights")["linear"]
    assert len(components) > 2 and len(linear["model"][COMPONENTS]) == 2 == linear["settings"]["components"]
    assert len(linear["model"]["eigen.spread"]) == 2 == linear["model"]["weight"].shape[1]
    latents = torch.randn(2, linear["settings"]["latent_dim"])
    assert load_sampler(open_models(tmp_path / "few"), CPU).linear.predict(latents).isfinite().all()
    with pytest.raises(DataError, match=r"model base: an eigen-plane takes .* and --linear-mib leaves"):
        export_models(linear_run.run, tmp_path / "none", linear_bytes=each - 1)
    assert not (tmp_path / "none").exists()


def test_too_many_bytes_are_told_by_part_and_nothing_is_written(linear_run, tmp_path):
    with pytest.raises(DataError, match=r"take .* [KM]iB, more than 9\.77 KiB: decoder .*, clip .*, base .*, refiner"):
        export_models(linear_run.run, tmp_path / "models", most_bytes=10_000)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_folder_is_replaced_and_other_files_stay(plain_run, linear_run, tmp_path):
    folder = tmp_path / "released"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    export_models(plain_run.run, folder)
    assert "linear" not in load_state(RunLayout(folder).model("base") / "weights")
    (folder / "models" / "gone").mkdir()
    export_models(linear_run.run, folder)
    assert "linear" in load_state(RunLayout(folder).model("base") / "weights")
    assert (folder / "__init__.py").exists() and not (folder / "models" / "gone").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_the_same_run_gives_the_same_bytes(linear_run, exported, tmp_path):
    export_models(linear_run.run, tmp_path / "again")
    assert tree_hashes(tmp_path / "again") == tree_hashes(exported)


def test_every_file_has_the_mode_that_umask_says(linear_run, tmp_path):
    before = os.umask(0o027)
    try:
        export_models(linear_run.run, tmp_path / "shared")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert len(files) > 12 and {path.stat().st_mode & 0o777 for path in files} == {0o640}


def test_a_folder_of_something_else_is_left_alone(linear_run, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(DataError, match=r"holds thesis\.tex and no models\.json"):
        export_models(linear_run.run, tmp_path)
    with pytest.raises(DataError, match="is a file"):
        export_models(linear_run.run, tmp_path / "thesis.tex")
    with pytest.raises(ResourceError, match="cannot be written"):
        export_models(linear_run.run, tmp_path / "thesis.tex" / "models")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_that_is_not_trained_yet(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "latent")
    with pytest.raises(DataError, match=r"model latent of .* is not trained: run rodin-pipe train"):
        export_models(run.run, tmp_path / "models")


def test_damaged_weights_of_the_run(made, tmp_path):
    run = made.copy_to(tmp_path / "run")
    path = run.layout.model("base") / "weights" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"model base: .* holds no whole state.*--redo base"):
        export_models(run.run, tmp_path / "models")


def test_a_model_that_is_lost_is_named(exported, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(exported, folder)
    models = open_models(folder)
    shutil.rmtree(models.layout.model("upsampler"))
    with pytest.raises(DataError, match="holds no upsampler: copy or download"):
        load_sampler(models, CPU)


def test_steps_that_a_model_cannot_take(exported):
    with pytest.raises(Exception, match=r"generate\.base_steps 7 must divide the 1000 steps of model base"):
        load_sampler(open_models(exported, ["generate.base_steps=7"]), CPU)


def test_shapes_that_contradict_are_named(made, exported):
    given = json.loads((exported / MODELS_JSON).read_text())["settings"]
    unet = made.config.base.unet.model_copy(update={"width": 16})
    other = made.config.model_copy(update={"base": made.config.base.model_copy(update={"unet": unet, "linear": True})})
    assert contradiction(other, given) == "base.unet.width is 16, and theirs is 8"
    assert contradiction(replace(Run(made.layout, other)).config, given | {"base.unet.width": 16}) == ""
    trained_otherwise = unet.model_copy(update={"width": 8, "dropout": 0.4})
    other = other.model_copy(update={"base": other.base.model_copy(update={"unet": trained_otherwise, "steps": 9})})
    assert contradiction(other, given) == ""
