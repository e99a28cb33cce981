import hashlib
import pickle

import pytest
from support.ledgers import write_decoder, write_fit, write_own, write_render, write_stage

from pipeline.config.load import load_config
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.people.draw import draw_avatar
from pipeline.run.current import is_done, why_stale
from pipeline.run.run import Run, decoder_sha256, digest
from pipeline.run.stage_table import single_stages

CONFIG = load_config(preset="demo", settings=["render.num_avatars=6", "render.shard_size=2"])


@pytest.fixture
def layout(tmp_path):
    layout = RunLayout(tmp_path)
    write_render(layout, 0, (0, 1))
    write_render(layout, 1, (3,))
    write_fit(layout, 0, (0, 1))
    return layout


def test_what_is_there_and_what_failed(layout):
    assert sorted(Run(layout, CONFIG).render_reports()) == [0, 1]
    assert Run(layout, CONFIG).render_sources() == {0: "s0", 1: "s1", 3: "s3"}
    assert Run(layout, CONFIG).plane_sources() == {0: "p0", 1: "p1"}
    specs = Run(layout, CONFIG).specs()
    assert sorted(specs) == [0, 1, 2, 3] and specs[2] == draw_avatar(0, 2), "failed ones have specs too"


def test_a_digest_is_of_the_avatars_asked_for_in_any_order():
    sources = {0: "a", 1: "b", 2: "c"}
    assert digest(sources, (0, 1)) == digest(sources, (1, 0)) == digest({**sources, 2: "z"}, (0, 1))
    assert len({digest(sources, chosen) for chosen in ((0,), (0, 1), (0, 1, 2), (0, 1, 3))}) == 4
    assert digest({}, (0,)) != digest({}, ()), "an avatar that is gone counts as such"


def test_more_avatars_make_nothing_stale_and_other_bytes_do(layout):
    inputs = Run(layout, CONFIG).inputs_of("base", (0, 1))
    assert set(inputs) == {"planes", "encode"}
    write_stage(layout, "base", (0, 1), inputs)
    run = Run(layout, CONFIG)
    entry = run.stage_report("base")
    assert why_stale(run, entry, "f") == "" and is_done(run, entry, "f")
    assert why_stale(run, entry, "another") == "made with another configuration" and not is_done(run, entry, "another")
    write_fit(layout, 1, (3,))
    assert why_stale(run, entry, "f") == "", "the run was extended"
    write_fit(layout, 0, (0, 1), planes="q")
    assert why_stale(run, entry, "f") == "planes changed" and not is_done(run, entry, "f")


def test_a_stage_depends_on_the_files_of_the_stages_it_reads(layout):
    before = Run(layout, CONFIG).inputs_of("latent", (0,))["encode"]
    write_stage(layout, "encode", (0, 1), {}, {"latents/state.json": "x"})
    after = Run(layout, CONFIG).inputs_of("latent", (0,))["encode"]
    write_stage(layout, "encode", (0, 1), {"clip": "y"}, {"latents/state.json": "x"})
    assert before != after == Run(layout, CONFIG).inputs_of("latent", (0,))["encode"]


def test_every_single_stage_depends_on_something(layout):
    assert all(Run(layout, CONFIG).inputs_of(stage, (0,)) for stage in single_stages())


def test_the_renders_of_another_run(layout, tmp_path):
    borrowed = CONFIG.model_copy(update={"renders_from": str(layout.root)})
    other = RunLayout(tmp_path / "other")
    assert Run(other, borrowed).rendered == layout
    assert Run(other, borrowed).render_sources() == Run(layout, CONFIG).render_sources()
    assert Run(other, borrowed).plane_sources() == {}


ASKED = {
    "render_reports": lambda run: sorted(run.render_reports()),
    "render_report": lambda run: [run.render_report(shard) is not None for shard in range(3)],
    "render_sources": lambda run: run.render_sources(),
    "render_source": lambda run: [run.render_source(avatar) for avatar in range(6)],
    "specs": lambda run: sorted(run.specs()),
    "fit_reports": lambda run: sorted(run.fit_reports()),
    "plane_sources": lambda run: run.plane_sources(),
    "own_reports": lambda run: run.own_reports(),
    "decoder_report": lambda run: run.decoder_report(),
    "stage_report": lambda run: [run.stage_report(stage) is not None for stage in single_stages()],
    "inputs_of": lambda run: run.inputs_of("base", (0, 1)),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_snapshot_answers_from_what_it_read(layout, name):
    ask, run = ASKED[name], Run(layout, CONFIG)
    snapshot, never_asked = run.snapshot(), run.snapshot()
    before = ask(run)
    assert ask(snapshot) == before
    write_render(layout, 2, (4, 5))
    write_fit(layout, 0, (0, 1), planes="q")
    write_fit(layout, 1, (3,))
    write_decoder(layout, (0, 1))
    write_stage(layout, "encode", (0, 1), {}, {"latents/state.json": "x"})
    write_own(layout, 3)
    now = ask(run)
    assert now != before, "a run reads anew at each question"
    assert ask(snapshot) == before and ask(never_asked) == ask(snapshot.snapshot()) == now
    assert ask(pickle.loads(pickle.dumps(snapshot))) == now, "another process reads for itself"


def test_one_avatars_renders_are_asked_of_its_shard_alone(layout):
    run = Run(layout, CONFIG)
    assert {a: source for a in range(6) if (source := run.render_source(a))} == run.render_sources()
    layout.ledger("render", format_shard(0)).write_text("damaged")
    assert run.render_source(3) == "s3"
    assert run.snapshot().render_source(3) == "s3", "a task of one shard reads no other's"
    asked_for_all = Run(layout, CONFIG.model_copy(update={"renders_from": ""})).snapshot()
    with pytest.raises(DataError):
        asked_for_all.render_reports()


def test_the_hash_of_a_decoder(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"weights")
    assert decoder_sha256(tmp_path) == "missing"
    (tmp_path / "state.json").write_bytes(b"{}")
    parts = hashlib.sha256(b"weights").hexdigest() + hashlib.sha256(b"{}").hexdigest()
    assert decoder_sha256(tmp_path) == hashlib.sha256(parts.encode()).hexdigest()
