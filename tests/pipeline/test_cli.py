import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.load import load_config
from pipeline.run.stage_table import stages_of

runner = CliRunner()


def fails(*arguments):
    """Run a command that must fail with exit code 2 and one line; returns that line."""
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("rodin-pipe: ")
    return lines[0]


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "run.toml").write_text(load_config(preset="demo").to_toml())
    return tmp_path


def test_unknown_preset(tmp_path):
    assert "demo, captures, small, desk, paper" in fails("run", "--preset", "enormous", "--out", str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_unknown_key_and_wrong_type(tmp_path):
    out = str(tmp_path / "r")
    assert "fit.steps" in fails("run", "--preset", "demo", "--out", out, "--set", "fit.stepps=3")
    assert "'x'" in fails("fit", "--preset", "demo", "--out", out, "--set", "fit.steps=x")
    assert not (tmp_path / "r").exists()


def test_unknown_stage_to_redo(run_folder):
    assert "no such stage" in fails("run", "--out", str(run_folder), "--redo", "bake")


def test_unknown_model(run_folder):
    assert "no such model" in fails("train", "--out", str(run_folder), "gan")


def test_portrait_that_is_no_image(run_folder):
    portrait = run_folder / "portrait.png"
    portrait.write_bytes(b"this is no image")
    assert "portrait.png" in fails("generate", "--out", str(run_folder), "--portrait", str(portrait))
    assert "nowhere.png" in fails("generate", "--out", str(run_folder), "--portrait", str(run_folder / "nowhere.png"))


def test_requests_that_contradict(run_folder):
    out = str(run_folder)
    assert "--edit" in fails("generate", "--out", out, "--portrait", "x.png", "--text", "a man")
    assert "--portrait" in fails("generate", "--out", out, "--edit", "with glasses")


def test_no_run_there(tmp_path):
    for command in ("inspect", "clean", "generate"):
        assert "is no run" in fails(command, "--out", str(tmp_path))


def test_untrained_models_are_named(run_folder):
    assert "rodin-pipe train" in fails("generate", "--out", str(run_folder))


def test_minutes_are_of_own_fits_and_choose_the_steps(tmp_path):
    out = str(tmp_path / "r")
    assert "add --own-decoder" in fails("fit", "--out", out, "--minutes", "2")
    both = fails("fit", "--own-decoder", "--out", out, "--minutes", "2", "--set", "own.steps=3")
    assert "give one of the two" in both
    assert not (tmp_path / "r").exists()


def test_too_little_disk(tmp_path):
    line = fails("render", "--preset", "paper", "--out", str(tmp_path / "r"), "--set", "render.num_avatars=900000")
    assert "free" in line


def test_unreachable_ray_address(tmp_path):
    line = fails("render", "--preset", "demo", "--out", str(tmp_path / "r"), "--address", "127.0.0.1:1")
    assert "127.0.0.1:1" in line


def test_dry_run_writes_nothing_and_says_what_it_takes(tmp_path):
    result = runner.invoke(app, ["run", "--preset", "demo", "--out", str(tmp_path / "r"), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "r").exists()
    for word in ("render", "evaluate", "tasks", "MiB", "hours"):
        assert word in result.output


def test_a_dry_run_of_what_is_too_large_for_here_gives_the_table_and_says_so(tmp_path):
    result = runner.invoke(app, ["run", "--preset", "paper", "--out", str(tmp_path / "r"), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert len([line for line in result.output.splitlines() if " missing " in line]) == len(stages_of("run")) - 2
    assert not {"frontal", "head"} & set(result.output.split()), "what nothing needs is not planned"
    assert result.output.splitlines()[-1].startswith("not here: ")
    assert not (tmp_path / "r").exists()


def test_help_answers_at_once_because_nothing_heavy_is_imported():
    code = (
        "import sys; sys.argv=['rodin-pipe','--help']\n"
        "from pipeline.cli import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy={'torch','ray','zarr','webdataset','numpy','PIL','pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout
    assert time.monotonic() - start < 10  # a guard against a hang, no benchmark


def test_every_command_has_help():
    result = runner.invoke(app, ["--help"])
    for name in (
        "run",
        "render",
        "ingest",
        "fit",
        "train",
        "generate",
        "evaluate",
        "inspect",
        "export",
        "clean",
        "submit",
    ):
        assert name in result.output
        assert runner.invoke(app, [name, "--help"]).exit_code == 0
