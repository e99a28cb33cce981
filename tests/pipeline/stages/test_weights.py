"""States that are cut off, damaged or another program's are one line; so are models of other sizes."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from pipeline.contracts.errors import DataError
from pipeline.run.model_folder import ModelFolder
from pipeline.stages.sampling.load import load_sampler
from pipeline.stages.weights import build_model, read_state
from rodin_models.checkpoint import TENSORS, TREE, save_state
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.image.clip_file import load_clip

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    save_state(tmp_path, {"settings": {"channels": 2}, "model": {"weight": torch.arange(40.0), "bias": torch.ones(3)}})
    return tmp_path


def shortened(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def refused(folder, keys=("settings", "model")):
    with pytest.raises(DataError) as caught:
        read_state(folder, keys, what="model base", remedy="train it again")
    line = str(caught.value)
    assert line.startswith("model base: ") and line.endswith("; train it again") and "\n" not in line
    return line


@pytest.mark.parametrize("name", [TENSORS, TREE])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_what_is_cut_off(folder, name, share):
    shortened(folder / name, share)
    assert "holds no whole state" in refused(folder)


@pytest.mark.parametrize("name", [TENSORS, TREE])
def test_what_is_gone(folder, name):
    (folder / name).unlink()
    assert "holds no whole state" in refused(folder)


@pytest.mark.parametrize(
    "document", [{}, [], {"format": 7}, {"format": 1}, {"format": 1, "tree": {"dict": 3}}, 3, None]
)
def test_what_is_another_programs(folder, document):
    (folder / TREE).write_text(json.dumps(document))
    refused(folder)


def test_tensors_of_another_state(folder):
    save_file({"model/other": torch.ones(2)}, folder / TENSORS)
    assert "does not go with state.safetensors" in refused(folder)


def test_a_state_without_what_is_asked_for(folder):
    assert read_state(folder, ("settings", "model"), what="", remedy="")["settings"] == {"channels": 2}
    assert "does not hold decoder, mean_planes" in refused(folder, ("settings", "mean_planes", "decoder"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree["settings"].update(channels=5), "size mismatch"),
        (lambda tree: tree["settings"].update(tentacles=8), "DecoderSettings has no tentacles"),
        (lambda tree: tree["model"].popitem(), "Missing key"),
        (lambda tree: tree.update(settings=None), "settings_from_dict"),
    ],
)
def test_settings_and_weights_that_do_not_go_together(change, said):
    settings = DecoderSettings(channels=4, hidden=8, colour_hidden=8)
    tree = {"settings": asdict(settings), "model": dict(Decoder(settings, torch.Generator()).state_dict())}
    told = {"what": "the decoder", "remedy": "fit it again"}
    assert build_model(tree, DecoderSettings, Decoder, **told).settings == settings
    change(tree)
    with pytest.raises(DataError, match=f"the decoder is of no model .*{said}.*; fit it again") as caught:
        build_model(tree, DecoderSettings, Decoder, **told)
    assert "\n" not in str(caught.value)


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channels": 8}, "has channels 4, and 8 is what goes with the others"),
        ({"resolution": 32}, "model upsampler .* has planes' side 16, and 32 "),
        ({"base_resolution": 4}, "model base .* has planes' side 8, and 4 "),
    ],
)
def test_models_of_other_planes_than_the_rest(made, changed, said):
    models = ModelFolder.of_run(made.run)
    load_sampler(models, CPU)
    planes = models.sampling.planes.model_copy(update=changed)
    with pytest.raises(DataError, match=said):
        load_sampler(replace(models, sampling=models.sampling.model_copy(update={"planes": planes})), CPU)


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("clip.safetensors", lambda path: shortened(path, 0.5)),
        ("clip.json", lambda path: shortened(path, 0.5)),
        ("tokenizer.json", lambda path: shortened(path, 0.5)),
        ("clip.json", lambda path: path.write_text("{}")),
        ("clip.safetensors", lambda path: save_file({"x": torch.ones(1)}, path)),
    ],
)
def test_an_encoder_that_is_cut_off_or_foreign(made, tmp_path, file, damage):
    run = made.copy_to(tmp_path / "run")
    folder = run.layout.model("clip") / "weights"
    damage(folder / file)
    with pytest.raises(ValueError, match=r"^(no complete CLIP in|the CLIP in) "):
        load_clip(folder)
    with pytest.raises(DataError):
        load_sampler(ModelFolder.of_run(run.run), CPU)
