"""Every picture of the pages has a script in the repository that makes it, and the scripts make them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.docs import DOCS, load_script
from support.fake_blender import make_fake_blender

ROOT = Path(__file__).parents[2]


def test_every_picture_has_its_script():
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", (DOCS / "pictures.md").read_text(), re.MULTILINE))
    pictures = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*") if path.suffix in (".jpg", ".png", ".svg")}
    assert rows.keys() == pictures
    assert all((ROOT / script).is_file() for script in rows.values())


@pytest.mark.seconds
def test_portrait_jpg_is_what_its_script_makes(tmp_path):
    pytest.importorskip("skimage")
    script = load_script("portrait")
    made = script.picture(script.astronaut(tmp_path))
    committed = np.asarray(Image.open(DOCS / "portrait.jpg"))
    assert made.shape == committed.shape
    assert np.abs(made.astype(float) - committed).mean() < 3, "JPEG alone changes it by 1.5"


@pytest.fixture
def people(tmp_path):
    script = load_script("people")
    config = script.settings(32, 1, f"render.python={make_fake_blender(tmp_path)}")
    folder = tmp_path / "job"
    folder.mkdir()
    return script, config, folder


def test_people_stand_by_running_number(people):
    script, config, folder = people
    seen = script.photographs(config, range(3), [script._frontal(config)], folder)
    assert sorted(seen) == [0, 1, 2] and all(len(row) == 1 and row[0].shape == (32, 32, 3) for row in seen.values())
    assert len({row[0].tobytes() for row in seen.values()}) == 3
    again = folder.parent / "again"
    again.mkdir()
    made = script.sheet(config, 3, again)
    assert made.shape == (138 + 15 + 2 * 6, 3 * 144 + 6, 3)


def test_a_turntable_has_a_row_for_each(people):
    script, config, folder = people
    assert script.turntables(config, 2, folder).shape == (2 * 156 + 6, 8 * 156 + 6, 3)


def test_a_person_who_cannot_be_rendered_is_told(tmp_path):
    script = load_script("people")
    config = script.settings(32, 1, f"render.python={make_fake_blender(tmp_path, fail=(1,))}")
    (tmp_path / "job").mkdir()
    with pytest.raises(RuntimeError):
        script.photographs(config, range(2), [script._frontal(config)], tmp_path / "job")
