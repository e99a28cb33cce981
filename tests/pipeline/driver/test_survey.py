import json
import re

import pytest
from support.ledgers import write_decoder, write_fit, write_render, write_stage

from pipeline.config.load import load_config
from pipeline.contracts.errors import ConfigError, DataError, StaleStageError
from pipeline.contracts.naming import RunLayout
from pipeline.driver.estimate import disk_bytes, num_tasks
from pipeline.driver.redo import apply_redo, end_redo, expand_redo
from pipeline.driver.refusal import refuse_bad_inputs, refuse_stale
from pipeline.driver.survey import StageState, survey
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES

PEOPLE = ("render.num_avatars=12", "render.held_out_every=6")


@pytest.fixture
def config():
    return load_config(preset="demo", settings=PEOPLE)


def states_of(**words):
    """States of all stages: ``done``, ``missing``, or what makes the stage stale; done where nothing is said."""

    def state(stage):
        word = words.get(stage, "done")
        return StageState(stage, int(word != "missing"), 1, stale="" if word in ("done", "missing") else word)

    return {stage: state(stage) for stage in STAGES}


def test_the_word_of_a_state():
    assert StageState("fit", 0, 4).word == "missing"
    assert StageState("fit", 1, 4).word == "unfinished"
    assert StageState("fit", 3, 4, failed=1).word == "done", "failed avatars are dealt with"
    assert StageState("fit", 4, 4, stale="its renders changed").word == "stale"


def test_redo_takes_all_that_depends_on_a_stage():
    states = states_of()
    assert expand_redo(["evaluate"], states) == {"evaluate"}
    assert expand_redo(["latent"], states) == {"latent", "generate", "evaluate"}
    assert expand_redo(["fit"], states) == {"fit", "base", "upsampler", "refiner", "generate", "evaluate"}
    assert expand_redo(["render"], states) == set(STAGES)
    assert expand_redo(["train"], states) == set(STAGES) - {"render", "decoder", "fit", "own"}
    assert expand_redo([], states) == set()


def test_redo_of_the_fits_takes_a_stale_decoder_along():
    assert "decoder" in expand_redo(["fit"], states_of(decoder="made with another configuration"))
    assert "decoder" not in expand_redo(["base"], states_of(decoder="made with another configuration"))


def test_an_unknown_stage_to_redo():
    with pytest.raises(ConfigError, match="no such stage"):
        expand_redo(["bake"], states_of())


def test_only_what_a_command_needs_may_not_be_stale(config, tmp_path):
    states, layout = states_of(decoder="stale", base="stale"), RunLayout(tmp_path)
    refuse_stale(states, ["render"], set(), Run(layout, config))
    refuse_stale(states, ["clip", "encode", "latent"], set(), Run(layout, config))
    with pytest.raises(StaleStageError, match=r"stage decoder .*--redo fit to do again decoder, fit, base"):
        refuse_stale(states, ["fit"], set(), Run(layout, config))
    with pytest.raises(StaleStageError, match=r"stage base .*--redo base"):
        refuse_stale(states, ["evaluate"], {"decoder"}, Run(layout, config))
    refuse_stale(states, ["evaluate"], {"decoder", "base"}, Run(layout, config))


def test_the_settings_that_changed_are_named(config, tmp_path):
    layout = RunLayout(tmp_path)
    layout.config.write_text(config.to_toml())
    changed = load_config(preset="demo", settings=[*PEOPLE, "fit.rays=7", "fit.tv_weight=0.5", "render.timeout_s=1.0"])
    with pytest.raises(StaleStageError) as error:
        refuse_stale(states_of(fit="stale"), ["fit"], set(), Run(layout, changed))
    assert f"fit.rays {config.fit.rays} -> 7" in str(error.value) and "fit.tv_weight" in str(error.value)
    assert "timeout" not in str(error.value)


def test_a_stage_whose_input_is_missing_names_the_command(config, tmp_path):
    layout = RunLayout(tmp_path)
    with pytest.raises(DataError, match=r"stage decoder needs stage render.*rodin-pipe render --out"):
        refuse_bad_inputs(states_of(render="missing"), ["decoder", "fit"], set(), Run(layout, config))
    with pytest.raises(DataError, match=r"stage base needs stage encode.*rodin-pipe train encode --out"):
        refuse_bad_inputs(states_of(encode="missing"), ["base"], set(), Run(layout, config))
    # What the command makes itself is not missing, and what it forgets and does not make is.
    refuse_bad_inputs(states_of(render="missing"), ["render", "decoder", "fit"], set(), Run(layout, config))
    with pytest.raises(DataError, match="stage base needs stage fit"):
        refuse_bad_inputs(states_of(), ["base"], {"fit", "base"}, Run(layout, config))


def test_redo_forgets_once_until_it_is_done(config, tmp_path):
    layout, fingerprints = RunLayout(tmp_path), stage_fingerprints(config)
    ledger, part = layout.ledger("fit", "shard-00000"), layout.parts("fit", 0) / "a000000.json"
    other = layout.ledger("render", "shard-00000")
    checkpoint = layout.model("base") / "checkpoints" / "step-00000004"

    def make():
        for path in (ledger, part, other, checkpoint):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")

    redo = expand_redo(["fit"], states_of())
    make()
    apply_redo(redo, Run(layout, config), fingerprints)
    assert [path.exists() for path in (ledger, part, other, checkpoint)] == [False, False, True, False]
    make()
    apply_redo(redo, Run(layout, config), fingerprints)
    assert ledger.exists() and part.exists(), "a killed redo goes on"
    changed = stage_fingerprints(load_config(preset="demo", settings=[*PEOPLE, "fit.steps=7"]))
    apply_redo(redo, Run(layout, config), changed)
    assert not ledger.exists(), "another configuration begins anew"
    make()
    end_redo(layout)
    apply_redo(redo, Run(layout, config), changed)
    assert not ledger.exists() and other.exists()


def test_the_renders_of_another_run_are_not_redone_here(config, tmp_path):
    borrowed = config.model_copy(update={"renders_from": "/elsewhere"})
    with pytest.raises(ConfigError, match="/elsewhere"):
        apply_redo({"render"}, Run(RunLayout(tmp_path), borrowed), stage_fingerprints(config))


def test_an_empty_run(config, tmp_path):
    states = survey(Run(RunLayout(tmp_path), config), stage_fingerprints(config))
    assert set(states) == set(STAGES)
    assert {state.word for state in states.values()} == {"missing"}
    assert states["render"].total == states["fit"].total == config.render.num_avatars


@pytest.fixture
def published(config, tmp_path):
    """A run of 12 avatars whose first two shards are rendered, fitted and learned from; avatar 2 failed."""
    layout, prints = RunLayout(tmp_path), stage_fingerprints(config)
    write_render(layout, 0, (0, 1), fingerprint=prints["render"])
    write_render(layout, 1, (3,), fingerprint=prints["render"])
    write_decoder(layout, (0, 1, 3), fingerprint=prints["decoder"])
    write_fit(layout, 0, (0, 1), fingerprint=prints["fit"])
    write_fit(layout, 1, (3,), fingerprint=prints["fit"])
    inputs = Run(layout, config).inputs_of("base", (0, 1, 3))
    write_stage(layout, "base", (0, 1, 3), inputs, fingerprint=prints["base"])
    return layout


def stale(config, layout, *settings):
    changed = load_config(preset="demo", settings=[*PEOPLE, *settings])
    states = survey(Run(layout, changed), stage_fingerprints(changed))
    return {stage: state.stale for stage, state in states.items() if state.stale}


def test_where_a_run_stands(config, published):
    states = survey(Run(published, config), stage_fingerprints(config))
    assert (states["render"].done, states["render"].failed, states["render"].total) == (3, 1, 12)
    assert states["render"].word == "unfinished"
    assert (states["fit"].done, states["fit"].failed, states["fit"].total) == (3, 0, 11), "no fit of what failed"
    assert states["decoder"].word == "done" and states["clip"].word == "missing"
    # Of the ten avatars that are not held out it has seen three.
    assert (states["base"].word, states["base"].behind) == ("done", 7)
    assert not stale(config, published)


def test_held_out_avatars_that_a_loss_was_measured_on_are_not_learned_from(config, published):
    avatars = (0, 1, 3, 5)
    inputs = Run(published, config).inputs_of("base", avatars)
    write_stage(published, "base", avatars, inputs, fingerprint=stage_fingerprints(config)["base"])
    assert config.is_held_out(5) and survey(Run(published, config), stage_fingerprints(config))["base"].behind == 7


def test_settings_make_their_own_stages_and_what_follows_stale(config, published):
    assert set(stale(config, published, "base.batch=3")) == {"base"}
    assert set(stale(config, published, "fit.steps=7")) == {"fit", "base"}
    assert set(stale(config, published, "fit.rays=7")) == {"decoder", "fit", "base"}
    assert set(stale(config, published, "render.samples=7")) == {"render", "decoder", "fit", "base"}
    assert not stale(config, published, "render.threads=7", "base.checkpoint_every=7", "render.num_avatars=14")


def test_people_of_another_version_are_told_as_such(config, published):
    other = RunLayout(published.root)
    write_render(other, 0, (0, 1), fingerprint="another", people_version=1)
    assert re.match(r"its people are of version 1, and this program makes version \d+", stale(config, other)["render"])
    write_render(other, 0, (0, 1), fingerprint="another")
    assert stale(config, other)["render"] == "made with another configuration"


def test_other_renders_and_planes_are_found_by_their_hashes(config, published):
    write_render(published, 1, (3,), sources="other", fingerprint=stage_fingerprints(config)["render"])
    assert stale(config, published) == {"decoder": "its renders changed", "fit": "its renders changed"}
    write_fit(published, 0, (0, 1), planes="other", fingerprint=stage_fingerprints(config)["fit"])
    assert stale(config, published)["base"] == "planes changed"


def test_what_is_away_for_a_moment_makes_nothing_stale(config, published):
    # Such as a damaged shard, deleted to be rendered anew: with the same bytes, all that follows is current.
    published.ledger("render", "shard-00001").unlink()
    published.ledger("fit", "shard-00000").unlink()
    published.ledger("decoder", "decoder").unlink()
    assert not stale(config, published)


def test_disk_and_tasks_follow_the_configuration(config, tmp_path):
    empty = survey(Run(RunLayout(tmp_path), config), stage_fingerprints(config))
    need = disk_bytes(config, ["render", "fit"], empty)
    texels = 3 * 16 * (128**2 + 64**2)
    assert need["fit"] == 2 * texels * 12
    # 2.1 bytes a pixel for 15 views of 256 x 256, of 12 avatars and once more of a shard of 2
    assert need["render"] == int(2.1 * 15 * 256**2 * 14)
    done = empty | {"fit": StageState("fit", 12, 12)}
    assert "fit" not in disk_bytes(config, ["render", "fit"], done)
    assert num_tasks(config, ["render", "decoder", "fit"]) == 6 + 1 + 6


def test_the_note_of_a_redo_is_json(config, tmp_path):
    layout = RunLayout(tmp_path)
    apply_redo({"latent"}, Run(layout, config), stage_fingerprints(config))
    assert json.loads((layout.work / "redo.json").read_text()) == {"latent": stage_fingerprints(config)["latent"]}
    end_redo(layout)
    end_redo(layout)
