"""``generate`` by released weights, by a folder's and by a run's own, and what it refuses."""

import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage.data import astronaut
from support.commands import rodin_passes, rodin_refuses

from pipeline.commands.export.models import export_models
from pipeline.config.load import load_config
from pipeline.run import model_folder
from pipeline.stages.generate import PORTRAIT_TILE, Request

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def weights(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "models"
    export_models(made.run, folder)
    return folder


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Exported weights take as many threads as there are cores, which wait for each other here."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})


@pytest.fixture
def installed(weights, monkeypatch):
    """An installation that has released weights."""
    monkeypatch.setattr(model_folder, "released_folder", lambda: weights)


@pytest.fixture
def portrait(tmp_path):
    """An ellipse of skin over white, in which no face is found."""
    path = tmp_path / "face.png"
    image = Image.new("RGB", (40, 50), "white")
    ImageDraw.Draw(image).ellipse((8, 10, 32, 44), (200, 150, 120))
    image.save(path)
    return path


def record(folder):
    return json.loads((folder / "avatar.json").read_text())


@pytest.mark.parametrize(
    ("words", "source", "num"),
    [
        (("--num", "2"), "noise", 2),
        (("--num", "1", "--text", "an old woman"), "text", 1),
        (("--portrait", "PORTRAIT"), "portrait", 1),
        (("--portrait", "PORTRAIT", "--edit", "with glasses"), "edit", 1),
    ],
    ids=("noise", "text", "portrait", "edit"),
)
def test_released_weights_make_avatars_of_every_source(installed, tmp_path, monkeypatch, portrait, words, source, num):
    monkeypatch.chdir(tmp_path)
    said = rodin_passes("generate", *(portrait if word == "PORTRAIT" else word for word in words))
    (folder,) = (tmp_path / "avatars").iterdir()
    assert str(folder) in said, "nothing else is left"
    made = sorted(folder.glob("avatar-*"))
    assert [record(one)["source"] for one in made] == [source] * num
    for one in made:
        planes = np.load(one / "planes.npy", allow_pickle=False)
        assert planes.shape == (3, 4, 16, 16) and np.isfinite(planes.astype(float)).all()
    assert (folder / "sheet.png").exists() == (num > 1)
    following = shlex.split(said.splitlines()[-1].removeprefix("next: rodin-pipe "))
    assert "open it in any browser" in rodin_passes(*following)


def test_a_photograph_is_prepared_and_shown_before_and_after(installed, tmp_path):
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    rodin_passes("generate", "--portrait", path, "--to", tmp_path / "to", "--name", "a")
    rodin_passes("generate", "--portrait", path, "--to", tmp_path / "to", "--name", "b", "--as-is")
    prepared = {name: record(tmp_path / "to" / name / "avatar-000")["portrait_prepared"] for name in "ab"}
    assert prepared == {"a": "face of 98 pixels found, framed, background removed", "b": "taken as it is"}
    with Image.open(tmp_path / "to" / "a" / "portrait.png") as pair:
        assert pair.width == 2 * (PORTRAIT_TILE + 6) + 6
    assert not (tmp_path / "to" / "b" / "portrait.png").exists(), "nothing was changed"
    latents = [np.load(tmp_path / "to" / name / "avatar-000" / "latent.npy") for name in "ab"]
    assert not np.allclose(*latents, atol=1e-4)


def test_a_picture_without_a_face_is_told_and_nothing_is_written(installed, tmp_path):
    path = tmp_path / "wall.jpg"
    wall = Image.new("RGB", (300, 200), (120, 110, 90))
    wall.paste((90, 80, 70), (200, 0, 300, 200))
    wall.save(path)
    said = rodin_refuses("generate", "--portrait", path, "--to", tmp_path / "to")
    assert "no face was found in its 300 x 200 pixels" in said and "--as-is" in said
    assert not (tmp_path / "to").exists()


def test_the_sheet_shows_all_from_the_front(installed, tmp_path):
    rodin_passes("generate", "--num", "3", "--to", tmp_path / "new" / "place", "--name", "three")
    folder = tmp_path / "new" / "place" / "three"
    with Image.open(folder / "sheet.png") as sheet, Image.open(folder / "avatar-000" / "frontal_refined.png") as front:
        side, gap = front.width, 6
        assert sheet.size == (2 * (side + gap) + gap, 2 * (side + gap) + gap)
        first = np.asarray(sheet)[gap : gap + side, gap : gap + side]
        assert np.array_equal(first, np.asarray(front))


def test_a_folder_a_run_and_the_run_itself_agree(made, weights, tmp_path):
    run = made.copy_to(tmp_path / "copy")
    run.layout.config.write_text(run.config.to_toml())
    for name, place in (("folder", weights), ("run", run.layout.root)):
        rodin_passes("generate", "--model", place, "--to", tmp_path, "--num", "1", "--name", name, "--seed", "4")
    rodin_passes("generate", "--out", run.layout.root, "--num", "1", "--name", "own", "--seed", "4")
    planes = {
        folder.name: np.load(folder / "avatar-000" / "planes.npy")
        for folder in (tmp_path / "folder", tmp_path / "run", run.layout.samples / "own")
    }
    assert np.array_equal(planes["run"], planes["own"]), "the run's own weights"
    assert planes["folder"].shape == planes["run"].shape and not np.array_equal(planes["folder"], planes["run"])
    assert np.abs(planes["folder"].astype(float) - planes["run"]).mean() < 0.05, "rounded weights"


def test_its_settings_can_be_changed(installed, tmp_path):
    rodin_passes("generate", "--to", tmp_path, "--num", "1", "--name", "a", "--set", "generate.image_side=24")
    with Image.open(tmp_path / "a" / "avatar-000" / "frontal.png") as image:
        assert image.size == (24, 24)
    assert "settings of generate" in rodin_refuses("generate", "--to", tmp_path, "--set", "fit.steps=3")
    assert "generate.base_steps 7 must divide" in rodin_refuses(
        "generate", "--to", tmp_path, "--set", "generate.base_steps=7"
    )


def test_what_stands_there_is_left_alone_and_own_samples_are_replaced_if_asked(installed, tmp_path):
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents" / "letter.txt").write_text("dear")
    assert "holds no avatars: it is left alone" in rodin_refuses("generate", "--to", tmp_path, "--name", "Documents")
    assert [path.name for path in tmp_path.rglob("*")] == ["Documents", "letter.txt"]
    again = ("generate", "--to", tmp_path, "--num", "1", "--name", "mine")
    rodin_passes(*again)
    before = (tmp_path / "mine" / "avatar-000" / "avatar.json").stat()
    assert "is there already: --overwrite replaces it" in rodin_refuses(*again, "--seed", "1")
    assert (tmp_path / "mine" / "avatar-000" / "avatar.json").stat() == before
    rodin_passes(*again, "--seed", "1", "--overwrite")
    assert record(tmp_path / "mine" / "avatar-000")["seed"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Documents", "mine"]


def test_without_weights_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder, "released_folder", lambda: tmp_path)
    assert "this installation has no released weights" in rodin_refuses("generate")


def test_a_damaged_folder_is_told_and_nothing_is_written(weights, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(weights, folder)
    path = folder / "models" / "base" / "weights" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "it was cut off or changed" in rodin_refuses("generate", "--model", folder, "--to", tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "RUN", "--to", "x"), "leave out --model and --to"),
        (("--out", "RUN", "--model", "x"), "leave out --model and --to"),
        (("--out", "nowhere"), "is no run"),
        (("--model", "nowhere"), "holds no models"),
        (("--text", "a man", "--portrait", "x.png"), "exclude each other"),
        (("--edit", "with a hat"), "give one with --portrait"),
        (("--text", " "), "--text is empty"),
        (("--text", "old " * 10_000), "--text has 40000 characters, 1000 are the most"),
        (("--portrait", "nowhere.png"), "nowhere.png cannot be read"),
        (("--as-is", "--num", "1"), "--as-is is about a portrait"),
    ],
)
def test_requests_that_cannot_be(installed, tmp_path, words, said):
    (tmp_path / "run.toml").write_text(load_config(preset="demo").to_toml())
    assert said in rodin_refuses("generate", *(str(tmp_path) if word == "RUN" else word for word in words))


def test_other_requests_have_other_folders(tmp_path):
    text = "an old woman with grey curly hair, a red coat and round glasses"
    for number, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (20, 20), (number, 0, 0)).save(tmp_path / folder / "face.png")
    requests = [
        Request(num=4), Request(num=2), Request(num=4, seed=1), Request(num=4, text=text),
        Request(num=4, text=f"{text} and a black hat"), Request(num=4, text=text.replace(",", "")),
        Request(num=4, text="\u6234\u773c\u955c\u7684\u8001\u4eba"), Request(num=4, text="\u91d1\u53d1\u5973\u5b69"),
        Request(num=4, text="\U0001f642"), Request(num=4, text="\U0001f643"),
        *(Request(num=1, portrait=tmp_path / folder / "face.png") for folder in "ab"),
        Request(num=1, portrait=tmp_path / "a" / "face.png", edit="with glasses"),
    ]  # fmt: skip
    names = [request.folder_name for request in requests]
    assert len(set(names)) == len(names) and names[0].startswith("noise-seed0-") and names[6].startswith("\u6234")
    assert all(re.fullmatch(r"[\w.-]+", name) and len(name.encode()) < 250 for name in names)
    assert Request(num=4, text=text).folder_name == requests[3].folder_name
