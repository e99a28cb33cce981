"""The picture of the layers is the one of the rules that hold."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def layers():
    spec = importlib.util.spec_from_file_location("layers", ROOT / "docs" / "layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_picture_is_what_the_script_makes(layers):
    made = layers.picture((ROOT / "pyproject.toml").read_text())
    assert (ROOT / "docs" / "layers.svg").read_text() == made, "run python docs/layers.py"


def test_rows_are_the_linters(layers):
    text = """
[[tool.importlinter.contracts]]
name = "rows"
type = "layers"
layers = ["a.x", "a.y | b", "c : d"]

[[tool.importlinter.contracts]]
name = "the same again"
type = "layers"
containers = ["a"]
layers = ["x", "(y)"]

[[tool.importlinter.contracts]]
name = "a < b"
type = "layers"
containers = ["e"]
layers = ["f | g"]
"""
    assert layers.stacks(text) == [("rows", [["a.x"], ["a.y", "b"], ["c", "d"]]), ("a < b", [["e.f", "e.g"]])]
    drawn = layers.picture(text)
    assert [drawn.count(f">{name}<") for name in ("a.x", "b", "e.g", "a &lt; b", "the same again")] == [1, 1, 1, 1, 0]
