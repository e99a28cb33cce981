"""Runs outlive versions: what changes of the configuration change no fingerprint, and how a setting is known later."""

import json
from pathlib import Path

import pytest
from pydantic import Field

from pipeline.config import setting
from pipeline.config.load import load_config, read_run_toml
from pipeline.config.run import RunConfig
from pipeline.config.setting import (
    OPERATIONAL,
    default_was,
    first_default,
    first_name,
    is_operational,
    settings_of,
    under_new_names,
    value_of,
)
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.record import Record
from pipeline.run import fingerprint

FIRST_DEFAULTS = Path(__file__).parents[2] / "data" / "first_defaults.json"
"""The first default of every setting, by first name. Lines are added, never changed: fingerprints stand on them."""


def test_the_first_defaults_of_all_settings_are_frozen():
    frozen = json.loads(FIRST_DEFAULTS.read_text())
    now = {
        first_name(name): json.loads(json.dumps(first_default(field)))
        for name, field in settings_of(RunConfig)
        if not is_operational(field)
    }
    changed = {name for name in frozen if name in now and now[name] != frozen[name]}
    assert not changed, "mark them with json_schema_extra=default_was(...): runs at the old default would be stale"
    assert set(frozen) <= set(now), "a renamed setting belongs in RENAMED"
    assert set(now) <= set(frozen), f"new settings belong in {FIRST_DEFAULTS.name}, which keeps their first defaults"


class Inner(Record):
    depth: int = Field(3, json_schema_extra=default_was(2))
    tries: int = Field(1, json_schema_extra=OPERATIONAL)


class Outer(Record):
    width: int = 8
    inner: Inner = Inner()


def test_settings_are_the_leaves_with_the_defaults_they_had_first():
    fields = dict(settings_of(Outer))
    assert list(fields) == ["width", "inner.depth", "inner.tries"]
    assert [first_default(field) for field in fields.values()] == [8, 2, 1]
    assert [name for name, field in fields.items() if is_operational(field)] == ["inner.tries"]
    assert value_of(Outer(width=9), "width") == 9 and value_of(Outer(), "inner.depth") == 3


def of_version(patch, changes):
    """Fingerprints by a program in which some first defaults are others."""
    patch.setattr(
        fingerprint, "first_default", lambda field: next((v for f, v in changes if f is field), first_default(field))
    )
    return fingerprint.stage_fingerprints(load_config(preset="demo"))


def test_a_changed_default_counts_as_a_changed_value_and_the_old_one_as_none(monkeypatch):
    fields, config = dict(settings_of(RunConfig)), load_config(preset="demo")
    before = fingerprint.stage_fingerprints(config)
    after = of_version(monkeypatch, [(fields["render.max_bounces"], 99)])
    assert config.render.max_bounces == first_default(fields["render.max_bounces"])
    assert set(before.values()).isdisjoint(after.values()), "3 bounces are a changed value where 99 were the default"


def test_a_setting_at_its_first_default_is_not_in_a_fingerprint(monkeypatch):
    # A program without the setting: one that does not list it.
    before = fingerprint.stage_fingerprints(load_config(preset="demo"))
    shorter = [(name, field) for name, field in settings_of(RunConfig) if name != "render.population.red_hair"]
    monkeypatch.setattr(fingerprint, "settings_of", lambda record: iter(shorter))
    assert fingerprint.stage_fingerprints(load_config(preset="demo")) == before
    redder = load_config(preset="demo", settings=["render.population.red_hair=0.5"])
    assert fingerprint.stage_fingerprints(redder) == before, "and would know nothing of it"


@pytest.fixture
def renamed(monkeypatch):
    """A version of the program that calls ``fit.steps`` ``fit.iterations`` no more, and has moved ``own.pace``."""
    monkeypatch.setitem(setting.RENAMED, "fit.iterations", "fit.steps")
    monkeypatch.setitem(setting.RENAMED, "own.pace", "decoder.learning_rate")


def test_renamed_and_moved_settings_are_read_under_their_old_names(renamed, tmp_path):
    old = tmp_path / "run.toml"
    old.write_text('preset = "demo"\n[fit]\niterations = 7\n[own]\npace = 0.5\nsteps = 9\n')
    config = read_run_toml(old)
    assert (config.fit.steps, config.decoder.learning_rate, config.own.steps) == (7, 0.5, 9)
    assert load_config(preset="demo", settings=["fit.iterations=11"]).fit.steps == 11
    old.write_text("[fit]\niterations = 7\nsteps = 8\n")
    with pytest.raises(ConfigError, match=r"run.toml: fit.iterations is called fit.steps now, and both are given"):
        read_run_toml(old)


def test_a_renamed_setting_changes_no_fingerprint(monkeypatch):
    config = load_config(preset="demo", settings=["own.steps=9"])
    before = fingerprint.stage_fingerprints(config)

    class Called(Record):
        """The section as a version has it that calls its ``steps`` ``iterations``."""

        iterations: int = Field(8000, ge=1)

    name, field = "own.iterations", Called.model_fields["iterations"]
    settings = [(name, field) if known == "own.steps" else (known, f) for known, f in settings_of(RunConfig)]
    monkeypatch.setattr(fingerprint, "settings_of", lambda record: iter(settings))
    monkeypatch.setattr(fingerprint, "value_of", lambda c, s: value_of(c, "own.steps" if s == name else s))
    assert fingerprint.stage_fingerprints(config)["own"] != before["own"], "not said to be the same"
    monkeypatch.setitem(setting.RENAMED, "own.steps", name)
    assert fingerprint.stage_fingerprints(config) == before


def test_names_are_followed_through_two_renamings_and_nothing_else_is_touched(monkeypatch):
    monkeypatch.setitem(setting.RENAMED, "a.b", "c.d")
    monkeypatch.setitem(setting.RENAMED, "c.d", "c.e")
    tree = {"a": {"b": 1, "x": 2}, "y": 3}
    assert under_new_names(tree) == {"a": {"x": 2}, "c": {"e": 1}, "y": 3}
    assert tree == {"a": {"b": 1, "x": 2}, "y": 3}
    assert first_name("c.e") == "a.b" and first_name("a.x") == "a.x"
