"""Each import rule is broken by a new file that nobody has listed anywhere: no file escapes the rules."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "blender_scripts", "rodin_models", "cluster")
BROKEN = {
    "Rows of the design: a package imports only from rows below it": ("rodin_models/new.py", "pipeline.io.publish"),
    "Each file of pipeline has its row": ("pipeline/new.py", "os"),
    "Each file of rodin_models has its row": ("rodin_models/field/new.py", "rodin_models.fit.views"),
    "Each file of cluster has its row": ("cluster/new.py", "os"),
    "Only cluster imports ray": ("pipeline/driver/new.py", "ray"),
    "Rows of blender_scripts: a module imports only from rows below it": ("blender_scripts/new.py", "os"),
    "Only blender_scripts.scene imports bpy": ("blender_scripts/job/new.py", "bpy"),
    "Of pipeline, blender_scripts and cluster know the contracts": ("blender_scripts/hair/new.py", "pipeline.machine"),
    "blender_scripts knows neither cluster nor models, no torch and no Ray": ("blender_scripts/scene/new.py", "torch"),
    "cluster knows no model": ("cluster/new.py", "rodin_models.seeding"),
    "Nothing imports blender_scripts": ("pipeline/commands/new.py", "blender_scripts.person"),
    "rodin_models knows nothing of ours, no file format of the pipeline and no Ray": ("rodin_models/new.py", "zarr"),
    "contracts know pydantic and numpy only": ("pipeline/contracts/new.py", "PIL.Image"),
    "Only io reads and writes shards and planes": ("pipeline/stages/fit/new.py", "zarr"),
    "Only stages turn records into tensors": ("pipeline/capture/new.py", "torch"),
}
"""By rule: a new file, and what it imports."""


def rules():
    text = (ROOT / "pyproject.toml").read_text()
    return [rule["name"] for rule in tomllib.loads(text)["tool"]["importlinter"]["contracts"]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what the rules are about."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def broken(tree):
    """Names of the rules that do not hold in a tree."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    names = re.findall(r"^(.*) BROKEN", done.stdout, re.MULTILINE)
    assert "kept" in done.stdout and bool(names) == bool(done.returncode), done.stdout + done.stderr
    return names


def test_each_rule_has_a_file_that_breaks_it():
    assert sorted(BROKEN) == sorted(rules()), "add to BROKEN a new file that breaks the new rule"


@pytest.mark.parametrize("rule", BROKEN)
def test_a_new_file_is_under_the_rule(rule, tree):
    name, imported = BROKEN[rule]
    path = tree / name
    path.write_text(f"import {imported}\n")
    try:
        assert rule in broken(tree)
    finally:
        path.unlink()


def test_the_copy_breaks_none(tree):
    assert broken(tree) == []
