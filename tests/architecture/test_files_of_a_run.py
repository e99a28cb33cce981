"""All files of a run go through pipeline/io: nothing else of the pipeline looks for, reads or removes a file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHODS = {
    "exists", "is_file", "is_dir", "glob", "rglob", "iterdir", "stat", "read_text", "read_bytes",
    "unlink", "rmdir", "rename", "replace_with", "touch",
}  # fmt: skip
"""Of ``pathlib.Path``."""
FUNCTIONS = {("shutil", name) for name in ("rmtree", "copytree", "move", "copy")} | {("np", "load"), ("np", "save")}
ELSEWHERE = {
    "blender_process.py": "the job and the log of a child process, and its answers",
    "machine.py": "what the machine says of itself",
    "config": "presets, and TOML and spec files of the user's",
    "capture": "captures, which are the user's",
    "commands/clean.py": "dead attempts below .work, and their sizes",
    "commands/doctor.py": "shared memory and system libraries",
    "commands/export/nerf.py": "the folder that was asked for",
    "commands/export/models.py": "the folder that was asked for",
    "report/web/page.py": "the parts of a page, which come with the package",
    "driver/visit.py": "whether there is a GPU",
    "capture/portrait.py": "the portrait, which is the user's",
    "stages/generate.py": "arrays in memory",
    "studio": "what browsers sent, and what is in the making: a studio's folder is no run",
}
"""What touches other files than a run's, and which."""


def touches(source):
    """Calls of the file system, as ``line: name``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = node.func.value, node.func.attr
        if isinstance(owner, ast.Name) and (owner.id, name) in FUNCTIONS:
            yield f"{node.lineno}: {owner.id}.{name}"
        elif name in METHODS:
            yield f"{node.lineno}: .{name}"


def modules():
    """All modules of the pipeline but those of io."""
    files = sorted((ROOT / "pipeline").rglob("*.py"))
    return [
        str(file.relative_to(ROOT / "pipeline"))
        for file in files
        if file.relative_to(ROOT / "pipeline").parts[0] != "io"
    ]


@pytest.mark.parametrize("module", modules())
def test_a_module_touches_no_file_of_a_run(module):
    found = list(touches((ROOT / "pipeline" / module).read_text()))
    reason = ELSEWHERE.get(module) or ELSEWHERE.get(module.split("/")[0])
    assert not found or reason, f"pipeline/{module} looks into the file system itself: use pipeline.io.files"


def test_no_exception_is_left_that_nobody_needs():
    needed = {module for module in modules() if list(touches((ROOT / "pipeline" / module).read_text()))}
    assert set(ELSEWHERE) <= needed | {module.split("/")[0] for module in needed}


def test_touches_are_seen():
    assert list(touches("import shutil\nshutil.rmtree(a)\nb.c.exists()\nexists(d)")) == [
        "2: shutil.rmtree",
        "3: .exists",
    ]
