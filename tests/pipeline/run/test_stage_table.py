"""The table of stages against the graph as it is written out by hand, and against the code that it names."""

import importlib
import inspect
from dataclasses import replace

import pytest

from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.contracts.record import Record
from pipeline.contracts.stage import StageReport
from pipeline.run import stage_table
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.stage_table import (
    STAGES,
    Fields,
    decoder_steps,
    inputs_of,
    opens,
    single_stages,
    stages_after,
    stages_before,
    stages_of,
    trained_models,
    wanted_of,
)

GRAPH = {
    "render": (),
    "decoder": ("render",),
    "fit": ("decoder",),
    "own": ("render",),
    "clip": ("render",),
    "encode": ("clip",),
    "base": ("fit", "encode"),
    "upsampler": ("fit", "encode"),
    "latent": ("encode",),
    "frontal": ("encode",),
    "head": ("render",),
    "refiner": ("fit", "encode"),
    "generate": ("base", "upsampler", "latent", "frontal", "head", "refiner"),
    "evaluate": ("generate",),
}
"""Direct edges: fingerprints stand on them."""


def test_the_direct_edges_follow_from_what_stages_read():
    assert {stage: inputs_of(stage) for stage in STAGES} == GRAPH


def test_a_stage_comes_after_all_that_it_reads_and_opens():
    order = list(STAGES)
    for stage in STAGES.values():
        assert all(order.index(name) < order.index(stage.name) for name in (*stage.reads, *stage.opens))
        assert set(stage.opens) <= stages_before(stage.name), "or it could open what is not there"


def test_what_depends_on_what():
    assert stages_after("latent") == ("latent", "generate", "evaluate")
    assert stages_before("fit") == {"render", "decoder"}
    assert stages_of("train") == ("clip", "encode", *trained_models()[1:])
    assert set(STAGES) - set(stages_of("run")) == {"own"}
    assert single_stages() == (*stages_of("train"), "generate", "evaluate")
    assert {stage for stage in STAGES if not opens(stage, "render")} == {"latent"}
    assert {stage for stage in STAGES if opens(stage, "fit")} == {"fit", "base", "upsampler", "refiner", "evaluate"}
    assert [STAGES[stage].shown_command for stage in ("own", "encode", "generate")] == [
        "fit --own-decoder",
        "train encode",
        "run",
    ]


def test_a_stage_that_nothing_needs_is_left_out_unless_it_is_named():
    steps = {"heads": (25, 25), "fronts": (25, 0), "plain": (0, 0)}
    heads, fronts, plain = (
        load_config(preset="demo", settings=[f"generate.frontal_steps={front}", f"generate.head_steps={head}"])
        for front, head in steps.values()
    )
    assert wanted_of(stages_of("train"), heads) == stages_of("train")
    assert set(stages_of("train")) - set(wanted_of(stages_of("train"), fronts)) == {"head"}
    assert set(stages_of("train")) - set(wanted_of(stages_of("train"), plain)) == {"frontal", "head"}
    assert wanted_of(("frontal",), plain) == ("frontal",)


def test_what_is_not_wanted_is_in_no_fingerprint():
    plain = load_config(preset="demo", settings=["generate.frontal_steps=0", "generate.head_steps=0"])
    other = load_config(
        preset="demo", settings=["generate.frontal_steps=0", "generate.head_steps=0", "frontal.steps=7"]
    )
    drawing = load_config(preset="demo", settings=["frontal.steps=7"])
    first, second, third = (stage_fingerprints(config) for config in (plain, other, drawing))
    assert first["frontal"] != second["frontal"] == third["frontal"]
    assert first["generate"] == second["generate"] != third["generate"]


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_row_names_code_and_settings_that_there_are(stage):
    assert stage.work or stage.group_work
    for name, arguments in ((stage.work, ["item", "progress"]), (stage.group_work, ["item", "context"])):
        if name:
            module, _, function = name.partition(":")
            found = getattr(importlib.import_module(module), function)
            assert list(inspect.signature(found).parameters) == arguments
    config = load_config(preset="demo")
    assert stage.total(config) >= 1
    for sections in (stage.sections, stage.ingested_sections or {}):
        for section, fields in sections.items():
            record = RunConfig.model_fields[section].annotation
            assert issubclass(record, Record) and {*fields.only, *fields.but} <= set(record.model_fields)
    section, _, field = stage.threads.partition(".")
    assert isinstance(getattr(getattr(config, section), field), int)
    assert (stage.ledger is StageReport) == (stage.per == "run" and stage.name != "decoder")


def test_fields_are_all_some_or_all_but_some():
    assert "a" in Fields() and "a" in Fields(only=("a",)) and "b" not in Fields(only=("a",))
    assert "a" not in Fields(but=("a",)) and "b" in Fields(but=("a",))


def test_workers_share_the_decoders_avatars():
    config = load_config(preset="captures", settings=["decoder.avatars=4", "decoder.workers=3"])
    assert decoder_steps(config, 4) == config.decoder.steps_per_avatar * 2, "one of them has two"


def test_a_stage_added_is_known_everywhere(monkeypatch):
    more = replace(STAGES["evaluate"], name="judge", reads=("evaluate",), command="run")
    monkeypatch.setitem(stage_table.STAGES, "judge", more)
    assert stages_after("generate") == ("generate", "evaluate", "judge")
    assert inputs_of("judge") == ("evaluate",) and "judge" in stages_of("run") and "judge" in single_stages()
