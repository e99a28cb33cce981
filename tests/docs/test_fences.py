"""Every command and snippet of the site is run, each page in a folder of its own, as a reader would."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.captures import write_capture
from support.fences import BadMark, agrees, fences
from support.programs import reader_environment
from support.shown_run import make_shown_run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
RUN = {page: [fence for fence in fences((DOCS / page).read_text()) if fence.needs] for page in PAGES}
LONGEST_S = 420


def prepare(needs, folder):
    """What fences of the page need, in the folder in which they are run."""
    if "small-run" in needs:
        root = make_shown_run(folder.parent / f"{folder.name}-run").layout.root
        (folder / "runs").mkdir()
        root.rename(folder / "runs" / "demo")
    if "capture" in needs:
        write_capture(folder / "captures" / "egg")
    if "portrait" in needs:
        with Image.open(DOCS / "portrait.jpg") as shown:
            shown.crop((0, 0, shown.height, shown.height)).save(folder / "photograph.jpg")


def run(fence, folder):
    """What a fence prints; fails with the end of what it said if it does not end well."""
    words = [sys.executable, "-c"] if fence.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    environment = reader_environment(folder.parent / f"{folder.name}-programs", fence.options)
    done = subprocess.run(
        [*words, fence.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_S
    )
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, f"line {fence.line}: {fence.text}\nended with {done.returncode}\n{said}"
    if fence.prints is not None:
        assert agrees(done.stdout, fence.prints), f"line {fence.line} prints\n{done.stdout}\nand not\n{fence.prints}"


def run_all(chosen, folder):
    folder.mkdir()
    prepare(frozenset().union(*(fence.needs for fence in chosen)), folder)
    for fence in chosen:
        run(fence, folder)


@pytest.mark.seconds
@pytest.mark.parametrize("page", [page for page, found in RUN.items() if any(not fence.slow for fence in found)])
def test_a_page_runs(page, tmp_path):
    run_all([fence for fence in RUN[page] if not fence.slow], tmp_path / "page")


@pytest.mark.docs
@pytest.mark.blender
@pytest.mark.ray
@pytest.mark.parametrize("page", [page for page, found in RUN.items() if any(fence.slow for fence in found)])
def test_what_takes_long_on_a_page_runs(page, tmp_path):
    run_all([fence for fence in RUN[page] if fence.slow], tmp_path / "page")


def test_a_reader_of_each_kind_has_ten_lines_at_most():
    readers = (DOCS / "formats.md").read_text().partition("## The field")[0]
    found = [fence.text for fence in fences(readers) if fence.language == "python"]
    for kind in ("import io, json, tarfile", "import webdataset", "import ray", "import zarr", "import tensorstore"):
        (reader,) = [text for text in found if text.startswith(kind)]
        assert len([line for line in reader.splitlines() if line]) <= 10


def test_a_fence_without_a_mark_is_refused():
    page = "Text\n\n<!-- run: fast -->\n```bash\ntrue\n```\n\nMore\n\n```python\nprint()\n```\n"
    with pytest.raises(BadMark, match="line 10"):
        fences(page)
    for mark in ("<!-- run: -->", "<!-- run: somehow -->", "<!-- run: fast -->\n\nText"):
        with pytest.raises(BadMark):
            fences(f"{mark}\n```bash\ntrue\n```\n")
    with pytest.raises(BadMark, match="stands indented"):
        fences("Text:\n\n    rodin-pipe inspect --out RUN\n")


def test_marks_say_what_a_fence_needs():
    page = (
        "<!-- run: docs, capture; with --set 'a.b=c d' -->\n```bash\nx\n```\n\n```text\n1 ... 3\n```\n"
        "<!-- not run: no bucket -->\n```bash\ny\n```\n\n```toml\nz\n```\n"
    )
    first, second = fences(page)
    assert first.slow and first.needs == {"docs", "capture"} and first.options == ("--set", "a.b=c d")
    assert (first.text, first.prints, first.line) == ("x\n", "1 ... 3\n", 2)
    assert not second.needs and second.reason == "no bucket" and second.prints is None


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("1 2 3\n", "1  2 3", True),
        ("1 2 3\n", "1 ... 3", True),
        ("1 3\n", "1 ... 3", True),
        ("1 2\n", "1 ... 3", False),
        ("1 2 3\n4\n", "1 ...", True),
        ("1 2 3\n", "1 2", False),
        ("a.c", "abc", False),
    ],
)
def test_dots_stand_for_anything(printed, expected, same):
    assert agrees(printed, expected) == same


def test_a_fence_that_fails_or_prints_something_else_is_told(tmp_path):
    def only(text):
        (tmp_path / "page").mkdir(exist_ok=True)
        (fence,) = fences(text)
        run(fence, tmp_path / "page")

    only("<!-- run: fast -->\n```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="ended with 1"):
        only("<!-- run: fast -->\n```bash\nfalse\ntrue\n```\n")
    with pytest.raises(AssertionError, match="and not"):
        only("<!-- run: fast -->\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    only("<!-- run: fast; with -h -->\n```bash\nrodin-pipe clean\n```\n\n```text\n...Usage...clean...\n```\n")
