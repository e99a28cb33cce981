"""``export`` and ``view`` refuse bad input with one line and exit code 2."""

import sys
from pathlib import Path

import pytest
from support.shown_run import SAMPLE, make_shown_run
from typer.testing import CliRunner

from pipeline.cli import app

runner = CliRunner()


def fails(*arguments):
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("rodin-pipe: "), result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return str(make_shown_run(tmp_path_factory.mktemp("shown")).layout.root)


def test_export_says_where_the_mesh_is(out, tmp_path):
    result = runner.invoke(app, ["export", "--out", out, "--avatar", "0", "--resolution", "16"])
    assert result.exit_code == 0, result.output
    assert "meshes/a000000.glb: " in result.output and "triangles" in result.output
    file = tmp_path / "x.glb"
    result = runner.invoke(app, ["export", "--out", out, "--sample", SAMPLE, "--resolution", "16", "--file", str(file)])
    assert result.exit_code == 0 and file.read_bytes()[:4] == b"glTF"


@pytest.mark.parametrize("command", ["export", "view"])
def test_what_is_not_there(command, out, tmp_path):
    assert "is no run" in fails(command, "--out", str(tmp_path), "--avatar", "0")
    assert "no avatar a000001 fitted" in fails(command, "--out", out, "--avatar", "1")
    assert "outside 0..999999" in fails(command, "--out", out, "--avatar", "1000000")
    assert SAMPLE in fails(command, "--out", out, "--sample", "noise/avatar-009")
    assert "--avatar 0 --own" in fails(command, "--out", out, "--own")
    assert "no a000000 with a decoder of its own" in fails(command, "--out", out, "--avatar", "0", "--own")
    assert "exclude each other" in fails(command, "--out", out, "--avatar", "0", "--sample", SAMPLE)


def test_a_run_that_is_not_fitted(out, tmp_path):
    (tmp_path / "run.toml").write_text(Path(out, "run.toml").read_text())
    assert "rodin-pipe fit" in fails("export", "--out", str(tmp_path), "--avatar", "0")
    assert "rodin-pipe fit" in fails("view", "--out", str(tmp_path))


def test_export_wants_one_avatar_and_a_glb(out, tmp_path):
    assert "--avatar 12 or --sample" in fails("export", "--out", out)
    assert "x.obj" in fails("export", "--out", out, "--avatar", "0", "--file", str(tmp_path / "x.obj"))


@pytest.mark.parametrize(("command", "package"), [("export", "trimesh"), ("export", "skimage"), ("view", "viser")])
def test_the_extra_is_not_installed(command, package, out, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    line = fails(command, "--out", out, "--avatar", "0")
    assert package in line and "pip install -e '.[view]'" in line
