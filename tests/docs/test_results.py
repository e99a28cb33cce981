"""docs/results.md is made by a script of what an evaluation left in a run."""

import importlib.util
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny import tiny_config

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Results, Section
from pipeline.evaluation.subject import models_sha256
from pipeline.images import encode_png
from pipeline.run.model_folder import open_models

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "rodin_models" / "released"
MODELS = "0123456789ab" + "c" * 52


def load_script():
    spec = importlib.util.spec_from_file_location("results_script", ROOT / "docs" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


@pytest.fixture
def run(tmp_path):
    """A run in which nothing but samples was measured; its picture is noise, which JPEG hardly makes smaller."""
    report = tmp_path / "run" / "report"
    (report / "results").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    (report / "results" / "samples.png").write_bytes(encode_png(noise, optimize=False))
    section = Section(
        name="faces",
        title="Reads as a person",
        tables=(),
        pictures=(Picture(path="results/samples.png", caption="Samples"),),
        models_sha256=MODELS,
        samples=4,
        finished_at=0.0,
        seconds=1.0,
    )
    results = Results(
        schema_version=SCHEMA_VERSION,
        preset="released",
        num_training=10,
        num_held_out=2,
        processor="P",
        versions={},
        sections=(section,),
    )
    (report / "results.json").write_text(results.to_json())
    (tmp_path / "run" / "run.toml").write_text(tiny_config("").to_toml())
    return tmp_path / "run"


def width(jpeg):
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        return image.width


def write_page(run):
    docs = run.parent / "docs"
    (docs / "results").mkdir(parents=True, exist_ok=True)
    script.write_page(run, docs)
    return (docs / "results.md").read_text(), docs / "results"


def test_the_page_and_its_pictures_come_from_the_run(run):
    page, folder = write_page(run)
    assert "![Samples](results/samples.jpg)" in page
    assert "--samples 4" in page and "## Data" in page and "## Training" in page
    assert width((folder / "samples.jpg").read_bytes()) == 320


def test_models_of_a_folder_are_told_by_their_card_and_no_others(run):
    with pytest.raises(ValueError, match="section faces was measured with other models"):
        script.write_page(run, run.parent, RELEASED)
    path = run / "report" / "results.json"
    path.write_text(path.read_text().replace(MODELS, models_sha256(open_models(RELEASED))))
    (run.parent / "results").mkdir()
    script.write_page(run, run.parent, RELEASED)
    card, page = (RELEASED / "README.md").read_text(), (run.parent / "results.md").read_text()
    assert card[card.index("## Data") : card.index("## Bytes")] in page and "## Licence" not in page


def test_sections_of_another_run_stand_in_place_of_its_own(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    path = other / "report" / "results.json"
    instead = Results.from_json(path.read_bytes())
    section = instead.sections[0].model_copy(update={"title": "Reads as somebody", "notes": ("Of fronts.",)})
    path.write_text(instead.model_copy(update={"sections": (section,), "num_held_out": 76}).to_json())
    (other / "report" / "results" / "samples.png").write_bytes(encode_png(np.zeros((8, 64, 3), np.uint8)))
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    script.write_page(run, docs, None, other)
    page = (docs / "results.md").read_text()
    assert "## Reads as somebody" in page and "## Reads as a person" not in page
    assert "On 76 other held-out people, beside 10 to learn from." in page and "the 2 held-out people" in page
    assert width((docs / "results" / "samples.jpg").read_bytes()) == 64


def test_defects_are_those_of_the_models_that_were_looked_at(run):
    page, folder = write_page(run)
    assert "Nobody has counted" in page
    seen = f'models = "{MODELS[:12]}"\nof = 4\nnote = "By two people."\n[defects]\n"no neck" = 3\n'
    (folder / "seen.toml").write_text(seen)
    page, _ = write_page(run)
    assert "| no neck | 3 |" in page and "of 4 samples" in page and "By two people." in page
    (folder / "seen.toml").write_text(seen.replace("ab", "ff"))
    page, _ = write_page(run)
    assert "no neck" not in page and "Nobody has counted" in page


def test_a_picture_is_made_as_small_as_it_has_to_be(run, monkeypatch):
    path = run / "report" / "results" / "samples.png"
    whole = script.jpeg(path)
    monkeypatch.setattr(script, "MOST_BYTES", len(whole) - 1)
    assert len(script.jpeg(path)) < len(whole)
    monkeypatch.setattr(script, "MOST_BYTES", 4000)
    small = script.jpeg(path)
    assert len(small) <= 4000 and width(small) < 320
