"""What a changed configuration makes stale, what ``--redo`` does again, and one run fitting another's renders."""

import pytest
from support.commands import rodin_passes, rodin_refuses
from support.tiny import arguments, tree_hashes

from pipeline.config.load import load_config
from pipeline.contracts.naming import RunLayout
from pipeline.run.run import Run

pytestmark = pytest.mark.ray


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_changed_fit_is_refused_and_names_the_stage_and_the_remedy(copied):
    before = tree_hashes(copied.root)
    for setting in ("fit.steps=31", "fit.tv_weight=0.02", "fit.min_psnr=1.0"):
        line = rodin_refuses("fit", "--out", copied.root, "--set", setting)
        assert setting.partition("=")[0] in line and "stale" in line and "--redo fit" in line
    line = rodin_refuses("run", "--out", copied.root, "--set", "base.batch=3")
    assert "stage base" in line and "base.batch 2 -> 3" in line and "--redo base" in line
    line = rodin_refuses("render", "--out", copied.root, "--set", "render.samples=9")
    assert "stage render" in line and "--redo render" in line
    after = tree_hashes(copied.root)
    assert {name: after[name] for name in after if name != ".lock"} == {n: before[n] for n in before if n != ".lock"}


def test_what_a_change_does_not_reach_is_not_stale(copied):
    # A stage's own settings, and settings that only say how work is done.
    plan = rodin_passes("fit", "--out", copied.root, "--dry-run", "--set", "base.batch=3", "--set", "render.threads=2")
    assert "stale" not in plan


def test_redo_fits_again_and_leaves_the_renders(shared_session, copied):
    config = load_config(run_toml=copied.config)
    tars, renders = times(copied.renders), Run(copied, config).render_reports()
    planes = tree_hashes(copied.planes / "planes")
    text = rodin_passes("fit", "--out", copied.root, "--set", "fit.steps=31", "--redo", "fit")
    assert times(copied.renders) == tars
    config = load_config(run_toml=copied.config)
    assert Run(copied, config).render_reports() == renders
    assert config.fit.steps == 31
    assert {fit.steps for report in Run(copied, config).fit_reports().values() for fit in report.fits} == {31}
    now = tree_hashes(copied.planes / "planes")
    assert now.keys() == planes.keys()
    assert {name for name in now if now[name] != planes[name]} == {f"c.{avatar}.0.0.0.0" for avatar in range(6)}
    # What was learned from the old planes is forgotten with them, and what never read planes is not.
    plan = rodin_passes("run", "--out", copied.root, "--dry-run")
    words = {line.split()[0]: line.split()[1] for line in plan.splitlines() if line}
    assert (words["render"], words["fit"], words["clip"], words["base"]) == ("done", "done", "done", "missing"), text


def test_another_run_is_fitted(shared_session, finished, tmp_path):
    other = RunLayout(tmp_path / "other")
    before = tree_hashes(finished.layout.root)
    # The population and its seed are taken over with the renders, whatever is asked for here.
    options = arguments(finished.blender, "render.num_avatars=100", "seed=7")
    rodin_passes("fit", "--out", other.root, *options, "--renders", finished.layout.root)
    assert not other.renders.exists()
    assert Run(other, finished.config).decoder_report().decoder_sha256 == (
        Run(finished.layout, finished.config).decoder_report().decoder_sha256
    )
    assert tree_hashes(other.planes) == tree_hashes(finished.layout.planes)
    assert tree_hashes(finished.layout.root) == before
    # It stays a run that reads the other's renders.
    config = load_config(run_toml=other.config)
    assert config.renders_from == str(finished.layout.root)
    assert "--redo render" in rodin_refuses("run", "--out", other.root, "--redo", "render")
