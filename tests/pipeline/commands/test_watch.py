import pytest
from support.ledgers import write_fit, write_render

from pipeline.commands.watch import EVERY_S, watch_run
from pipeline.config.load import load_config
from pipeline.contracts.naming import RunLayout
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run

CONFIG = load_config(preset="demo", settings=["render.num_avatars=8", "render.shard_size=2"])


class Interrupted(Exception):
    """In place of Ctrl-C."""


def test_what_others_publish_is_seen_with_rate_and_time_left(tmp_path):
    layout, of = RunLayout(tmp_path), stage_fingerprints(CONFIG)
    shown, clock = [], [100.0]

    def sleep(seconds):
        assert seconds == EVERY_S
        clock[0] += 10.0
        shard = int(clock[0] - 100.0) // 10 - 1
        if shard == 4:
            raise Interrupted
        write_render(layout, shard, (2 * shard, 2 * shard + 1), fingerprint=of["render"])
        if shard == 1:
            write_fit(layout, 0, (0, 1), fingerprint=of["fit"])

    with pytest.raises(Interrupted):
        watch_run(Run(layout, CONFIG), shown.append, sleep=sleep, now=lambda: clock[0])
    renders = [stage for stage in shown if stage.stage == "render"]
    assert [(stage.done, stage.total) for stage in renders] == [(0, 8), (2, 8), (4, 8), (6, 8), (8, 8)]
    assert [stage.rate_per_s for stage in renders] == [None, 0.2, 0.2, 0.2, 0.2]
    assert [stage.eta_s for stage in renders] == [None, 6 / 0.2, 4 / 0.2, 2 / 0.2, None]
    assert renders[-1].ended and not renders[-2].ended
    assert [stage.done for stage in shown if stage.stage == "fit"] == [0, 0, 2, 2, 2]
    assert "own" not in {stage.stage for stage in shown}, "nobody asked for it"


def test_it_ends_where_all_is_done(tmp_path, monkeypatch):
    layout, of = RunLayout(tmp_path), stage_fingerprints(CONFIG)
    for shard in range(4):
        write_render(layout, shard, (2 * shard, 2 * shard + 1), fingerprint=of["render"])
    monkeypatch.setattr("pipeline.commands.watch._is_asked", lambda run, state: state.stage == "render")
    shown = []
    watch_run(Run(layout, CONFIG), shown.append, sleep=lambda seconds: pytest.fail("it looked again"))
    assert [(stage.stage, stage.done) for stage in shown] == [("render", 8)]
