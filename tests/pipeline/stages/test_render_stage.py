import shutil

import pytest
from support.nodes import hostile
from support.tiny import recorded_jobs, recording_blender, tiny_config, tree_hashes

from cluster.faults import node_fault
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.rendering import RenderPasses
from pipeline.io.shards import read_shard
from pipeline.people.draw import draw_avatar
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.render import render_shard, view_specs
from pipeline.stages.work import WorkItem

pytestmark = pytest.mark.seconds


class Stop(Exception):
    """What a test ends a stage with."""


def silent(done, total):
    pass


def item(root, blender, shard=0, settings=(), **more):
    config = tiny_config(blender, *settings)
    return WorkItem(Run(RunLayout(root), config), "render", stage_fingerprints(config)["render"], shard, **more)


def stop_after(frames):
    """A progress that ends the stage after so many frames, as a kill would."""
    seen = 0

    def progress(done, total):
        nonlocal seen
        seen += 1
        if seen == frames:
            raise Stop

    return progress


def tar_hash(made, layout, shard=0):
    return tree_hashes(layout.renders) == {
        name: sha for name, sha in tree_hashes(made.layout.renders).items() if name == f"shard-{shard:05d}.tar"
    }


def test_a_published_shard_starts_no_blender(made):
    assert made.render(0).done == (0, 1)
    assert recorded_jobs(made.config.render.python) == [(0, 1), (2, 3), (4, 5)]


def test_a_crash_costs_one_attempt_at_the_avatar_in_work(made, tmp_path):
    blender = recording_blender(tmp_path / "b", crash=(1,), once=True)
    report = render_shard(item(tmp_path / "run", blender), silent)
    assert (report.done, report.failures, report.attempts) == ((0, 1), (), 2)
    assert recorded_jobs(blender) == [(0, 1), (1,)]
    assert tar_hash(made, RunLayout(tmp_path / "run"))


def test_an_avatar_that_crashes_twice_is_listed_and_the_rest_published(tmp_path):
    blender = recording_blender(tmp_path / "b", crash=(0,))
    layout = RunLayout(tmp_path / "run")
    report = render_shard(item(layout.root, blender), silent)
    assert report.done == (1,) and [failure.avatar for failure in report.failures] == [0]
    assert "SIGSEGV" in report.failures[0].reason and "Segmentation fault" in report.failures[0].log_tail
    assert recorded_jobs(blender) == [(0, 1), (0, 1), (1,)], "a fresh attempt for 0, then 1 without it"
    assert {sample.record.avatar_id for sample in read_shard(layout.shard(0))} == {"a000001"}
    assert not [path for path in layout.work.rglob("*") if path.is_file()]


def test_a_hanging_blender_is_killed_and_the_rest_published(tmp_path):
    blender = recording_blender(tmp_path / "b", hang=(1,))
    report = render_shard(item(tmp_path / "run", blender, settings=("render.timeout_s=1.5",)), silent)
    assert report.done == (0,) and [failure.avatar for failure in report.failures] == [1]
    assert "no frame for 1.5 s" in report.failures[0].reason


def test_a_blender_that_never_starts_fails_everything_with_its_log(tmp_path):
    blender = recording_blender(tmp_path / "b", broken=True)
    layout = RunLayout(tmp_path / "run")
    report = render_shard(item(layout.root, blender), silent)
    assert report.done == () and report.tar_sha256 == "" and not layout.shard(0).exists()
    assert [failure.avatar for failure in report.failures] == [0, 1]
    assert all("libXi.so.6" in failure.log_tail for failure in report.failures)
    assert recorded_jobs(blender) == [(0, 1), (0, 1)]


def test_a_full_disk_is_the_nodes_fault_and_no_avatars(tmp_path, monkeypatch):
    blender = recording_blender(tmp_path / "b")
    layout = RunLayout(tmp_path / "run")
    for name, value in hostile(full=str(layout.root)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match="No space left on device") as raised:
        render_shard(item(layout.root, blender), silent)
    assert node_fault(raised.value).startswith(f"No space left on device: {layout.work}")
    assert not layout.ledger("render", "shard-00000").exists(), "nobody is listed as failed"
    monkeypatch.delenv("HOSTILE_FULL")
    assert render_shard(item(layout.root, blender), silent).done == (0, 1)


def interrupted(tmp_path, settings=()):
    """A run whose shard 0 was left while its second avatar was in work."""
    blender = recording_blender(tmp_path / "b", sleep_s=0.03)
    layout = RunLayout(tmp_path / "run")
    with pytest.raises(Stop):
        render_shard(item(layout.root, blender, settings=settings), stop_after(12))
    (finished,) = layout.work.glob("attempts/render/*/*/*/a*/avatar.json")
    assert finished.parent.name == "a000000" and not layout.renders.exists()
    return layout, blender, finished.parent


def test_what_a_dead_attempt_finished_is_adopted(made, tmp_path):
    layout, blender, _ = interrupted(tmp_path)
    report = render_shard(item(layout.root, blender), silent)
    assert recorded_jobs(blender) == [(0, 1), (1,)]
    assert report.attempts == 1 and tar_hash(made, layout)


def test_what_was_damaged_afterwards_is_rendered_again(made, tmp_path):
    layout, blender, finished = interrupted(tmp_path)
    (finished / "a000000_v003.rgba.png").write_bytes(b"no image")
    render_shard(item(layout.root, blender), silent)
    assert recorded_jobs(blender) == [(0, 1), (0, 1)] and tar_hash(made, layout)


def test_what_another_configuration_left_is_not_adopted(made, tmp_path):
    layout, blender, _ = interrupted(tmp_path, settings=("render.fov_deg=35.0",))
    render_shard(item(layout.root, blender), silent)
    assert recorded_jobs(blender) == [(0, 1), (0, 1)] and tar_hash(made, layout)
    assert not [path for path in layout.work.rglob("*") if path.is_file()]


def test_a_short_shard_is_extended_by_what_is_missing(made, tmp_path):
    blender = recording_blender(tmp_path / "b")
    layout = RunLayout(tmp_path / "run")
    short = render_shard(item(layout.root, blender, settings=("render.num_avatars=5",), shard=2), silent)
    assert short.done == (4,)
    shutil.rmtree(layout.work)
    assert render_shard(item(layout.root, blender, shard=2), silent).done == (4, 5)
    assert recorded_jobs(blender) == [(4,), (5,)] and tar_hash(made, layout, shard=2)


def test_views_of_an_avatar_depend_on_nothing_but_it(made):
    config = made.config
    views = view_specs(config, 3)
    assert [view.split for view in views] == ["train"] * 6 + ["held_out"] * 2 + ["frontal"]
    assert views == view_specs(tiny_config("", "render.num_avatars=50", "render.shard_size=7"), 3)
    assert views[0].camera != view_specs(config, 4)[0].camera and views[-1] == view_specs(config, 4)[-1]
    more = view_specs(tiny_config("", "render.held_out_views=5"), 3)
    assert more[:6] == views[:6], "held-out views are drawn apart"


def test_a_rejected_draw_is_counted_and_the_next_one_published(made, tmp_path):
    blender = recording_blender(tmp_path / "b", reject=(1,))
    layout = RunLayout(tmp_path / "run")
    report = render_shard(item(layout.root, blender), silent)
    assert report.done == (0, 1) and [(r.avatar, r.sub_seed) for r in report.rejections] == [(1, 0)]
    assert report.specs == (draw_avatar(made.config.seed, 0), draw_avatar(made.config.seed, 1, sub_seed=1))
    by_avatar = {s.record.avatar_id: s.record for s in read_shard(layout.shard(0))}
    assert [by_avatar[name].sub_seed for name in ("a000000", "a000001")] == [0, 1]
    assert by_avatar["a000001"].caption == report.specs[1].caption
    assert not tar_hash(made, layout)


def test_an_extended_shard_remembers_its_redraws(tmp_path):
    blender = recording_blender(tmp_path / "b", reject=(4,))
    layout = RunLayout(tmp_path / "run")
    short = render_shard(item(layout.root, blender, settings=("render.num_avatars=5",), shard=2), silent)
    shutil.rmtree(layout.work)
    report = render_shard(item(layout.root, blender, shard=2), silent)
    assert report.done == (4, 5) and report.rejections == short.rejections and len(report.rejections) == 1
    assert report.specs[0] == short.specs[0] and report.specs[0].sub_seed == 1


def test_labels_are_as_the_configuration_says(tmp_path):
    blender = recording_blender(tmp_path / "b")
    layout = RunLayout(tmp_path / "run")
    settings = ("render.passes.segmentation=true", "render.passes.depth=false")
    report = render_shard(item(layout.root, blender, settings=settings), silent)
    assert report.passes == RenderPasses(depth=False, segmentation=True) and report.done == (0, 1)
    for sample in read_shard(layout.shard(0)):
        assert sample.record.passes == report.passes and sample.depth is None and sample.segmentation is not None
