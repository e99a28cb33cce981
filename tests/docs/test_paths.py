"""Every file that a page names is there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")))


@pytest.fixture(scope="module")
def listed():
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    files = {name for name in names.stdout.splitlines() if (ROOT / name).exists()}
    return files | {str(folder) for name in files for folder in Path(name).parents}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page, listed):
    text = (ROOT / page).read_text()
    links = [os.path.normpath(Path(page).parent / link) for link in re.findall(r"\]\((?!http)([^)#]+)\)", text)]
    named = re.findall(r"`([\w./]+\.py)`", text)
    assert links or named
    tails = {"/".join(Path(name).parts[-count:]) for name in listed for count in (1, 2, 3, 4)}
    missing = [link for link in links if link not in listed]
    missing += [name for name in named if name not in tails]
    assert not missing


def test_the_tree_names_every_folder(listed):
    tree = (ROOT / "docs" / "architecture.md").read_text().partition("## The tree")[2].partition("##")[0]
    folders = [Path(name).parent for name in listed if name.endswith("/__init__.py") and not name.startswith("tests/")]
    assert len(folders) > 20
    for folder in folders:
        assert re.search(rf"^    {'  ' * (len(folder.parts) - 1)}{folder.name}/ ", tree, re.MULTILINE), folder
