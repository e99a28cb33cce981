"""One of the decoder's avatars cannot be rendered: everything else is done, the failure is listed and tried again."""

from contextlib import nullcontext

import pytest
from support.commands import rodin_passes
from support.fake_blender import make_fake_blender
from support.tiny import NUM_AVATARS, recorded_jobs, recording_blender, tiny_config, tree_hashes

from pipeline.contracts.naming import RunLayout
from pipeline.driver.visit import Visit, carry_out
from pipeline.run.run import Run

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STAGES = ("render", "decoder", "fit")


def visit(layout, blender, **more):
    config = tiny_config(blender)
    result = carry_out(Visit(Run(layout, config), STAGES, "run", **more), lambda: nullcontext(lambda progress: None))
    assert not result.report.failed_tasks
    return config, result


@pytest.fixture(scope="module")
def failed(shared_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("failed")
    layout = RunLayout(folder / "run")
    blender = recording_blender(folder, fail=(0,))
    config, result = visit(layout, blender)
    return layout, config, result, blender


def test_all_others_are_done_and_the_failure_is_listed(failed):
    layout, config, result, blender = failed
    assert (result.states["render"].done, result.states["render"].failed) == (NUM_AVATARS - 1, 1)
    report = Run(layout, config).render_reports()[0]
    assert report.done == (1,)
    assert [(f.avatar, f.reason, f.log_tail) for f in report.failures] == [(0, "asked to fail", "the log")]
    assert config.decoder_avatars() == (0, 1) and Run(layout, config).decoder_report().avatars == (1,)
    assert sorted(Run(layout, config).plane_sources()) == [1, 2, 3, 4, 5]
    assert not any(fits.failures for fits in Run(layout, config).fit_reports().values())
    # One fresh attempt for what failed, and for nothing else.
    assert sorted(recorded_jobs(blender)) == [(0,), (0, 1), (2, 3), (4, 5)]


def test_inspect_lists_it_with_the_end_of_its_log(failed):
    text = rodin_passes("inspect", "--out", failed[0].root, "--no-sheet")
    assert "failed in render: a000000: asked to fail\n    the log\n" in text
    assert "--retry-failed" in text


def test_only_retry_failed_tries_again(failed, finished):
    layout, _, _, blender = failed
    healthy = make_fake_blender(layout.root.parent, name="healthy")
    before = recorded_jobs(blender)
    decoder = tree_hashes(layout.decoder)
    planes = tree_hashes(layout.planes / "planes")

    plan = rodin_passes("render", "--out", layout.root, "--dry-run")
    assert f"{NUM_AVATARS - 1}/{NUM_AVATARS}" in plan
    config, result = visit(layout, healthy, retry_failed=True)
    assert (result.states["render"].done, result.states["render"].failed) == (NUM_AVATARS, 0)
    assert recorded_jobs(blender) == before, "the other shards were done"
    assert tree_hashes(layout.renders) == tree_hashes(finished.layout.renders)
    # The decoder stays what it was, with the avatars that it was fitted on; so do the planes fitted under it.
    assert tree_hashes(layout.decoder) == decoder
    assert sorted(Run(layout, config).plane_sources()) == list(range(NUM_AVATARS))
    after = tree_hashes(layout.planes / "planes")
    assert {name: after[name] for name in planes} == planes and len(after) == len(planes) + 1
