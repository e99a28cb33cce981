"""A folder with a decoder and models is a run, or one that says of itself what it holds."""

import hashlib
import json
from dataclasses import replace

import pytest
from support.tiny import tiny_config

from pipeline.config.load import sampling_with
from pipeline.config.sampling import MODELS_JSON, FileFacts, ModelsRecord
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.run import model_folder
from pipeline.run.model_folder import content_of, open_models, open_released

CONTENT = b"weights"


@pytest.fixture
def folder(tmp_path):
    """One with a file that stands for weights."""
    path = tmp_path / "models" / "base" / "weights" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    record = ModelsRecord(
        schema_version=SCHEMA_VERSION,
        sampling=tiny_config("blender").sampling(),
        files={
            "models/base/weights/state.json": FileFacts(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
        },
        settings={"base.unet.width": 8},
    )
    (tmp_path / MODELS_JSON).write_text(record.to_json())
    return tmp_path


def test_what_it_says_is_read_back(folder):
    models = open_models(folder)
    assert models.layout.root == folder and models.record is not None
    config = tiny_config("blender")
    assert models.sampling == config.sampling()
    assert models.sampling.generate == config.generate and models.sampling.planes == config.plane_spec()
    assert models.sampling.distance == config.render.distance and models.sampling.fov_deg == config.render.fov_deg


def test_a_run_is_one(tmp_path):
    config = tiny_config("blender")
    (tmp_path / "run.toml").write_text(config.to_toml())
    models = open_models(tmp_path, ["generate.views=7"])
    assert models.record is None and models.sampling.generate.views == 7
    assert models.sampling.seed == config.seed


def test_generate_settings_lie_over_its_own(folder):
    own = open_models(folder).sampling
    assert open_models(folder, ["generate.views=7", "generate.guidance=1.5"]).sampling == own.model_copy(
        update={"generate": own.generate.model_copy(update={"views": 7, "guidance": 1.5})}
    )
    assert sampling_with(own, ()) is own


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fit.steps=3", "without a run there are only settings of generate"),
        ("generate.viewz=3", "did you mean 'generate.views'"),
        ("generate.views=x", "configuration key generate.views"),
        ("generate.views", "is not of the form"),
    ],
)
def test_settings_that_are_none(folder, setting, words):
    with pytest.raises(ConfigError, match=words):
        open_models(folder, [setting])


def cut(folder, file):
    file.write_bytes(CONTENT[:-1])
    return "has 6 bytes instead of 7"


def change(folder, file):
    file.write_bytes(CONTENT.upper())
    return "is damaged"


def lose(folder, file):
    file.unlink()
    return "state.json is missing"


def other_version(folder, file):
    path = folder / MODELS_JSON
    path.write_text(path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    return "schema version 99"


def no_json(folder, file):
    (folder / MODELS_JSON).write_text("{")
    return "is no JSON"


def foreign(folder, file):
    (folder / MODELS_JSON).write_text('{"models": ["a"]}')
    return "is no valid ModelsRecord"


def elsewhere(folder, file):
    path = folder / MODELS_JSON
    tree = json.loads(path.read_text())
    tree["files"] = {"../secret": tree["files"].popitem()[1]}
    path.write_text(json.dumps(tree))
    return "outside of its folder"


def empty(folder, file):
    (folder / MODELS_JSON).unlink()
    return "holds no models"


@pytest.mark.parametrize("damage", [cut, change, lose, other_version, no_json, foreign, elsewhere, empty])
def test_a_damaged_or_foreign_folder_is_one_line(folder, damage):
    words = damage(folder, folder / "models" / "base" / "weights" / "state.json")
    with pytest.raises(DataError, match=words) as raised:
        open_models(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


def test_the_hash_of_the_content_follows_every_file(folder):
    models = open_models(folder)
    (name,) = models.record.files

    def of(**files):
        return content_of(replace(models, record=models.record.model_copy(update={"files": files})))

    facts, other = models.record.files[name], FileFacts(size=7, sha256="0" * 64)
    assert len({of(a=facts), of(a=other), of(b=facts), of(a=facts, b=other)}) == 4
    assert of(a=facts, b=other) == of(b=other, a=facts)
    assert content_of(models) == content_of(open_models(folder))


def test_an_installation_without_weights_says_so(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(model_folder, "released_folder", lambda: tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no released weights .*--out RUN .*--model FOLDER"):
        open_released()
    monkeypatch.setattr(model_folder, "released_folder", lambda: folder)
    assert open_released().layout.root == folder
