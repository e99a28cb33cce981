"""The decoder stage over two workers, which here are threads; tests/end_to_end has processes."""

import shutil

import pytest
from support.ranks import Ranks, ThreadContext
from support.tiny import tree_hashes

from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import format_shard
from pipeline.contracts.planes import DecoderReport
from pipeline.run.run import Run
from pipeline.run.stage_table import decoder_steps
from pipeline.stages.fit import decoder as stage
from pipeline.stages.fit.decoder import fit_decoder_share
from pipeline.stages.work import WorkItem
from rodin_models.fit.joint_fit import JointFit

pytestmark = pytest.mark.seconds

SETTINGS = ("decoder.workers=2", "decoder.avatars=3", "fit.rays=64")
"""Two avatars for the first worker and one for the second."""


class Stop(Exception):
    """What a test ends a stage with."""


def item_of(run):
    return WorkItem(Run(run.layout, run.config), "decoder", run.fingerprint("decoder"))


def fit(run, context=ThreadContext, on_progress=lambda done, total: None):
    """The stage on two threads; returns the report of rank 0."""
    report, nothing = Ranks(2).run(
        lambda place: fit_decoder_share(item_of(run), context(place.rank, place.ranks, on_progress))
    )
    assert nothing is None
    return report


@pytest.fixture(scope="module")
def shared(made, tmp_path_factory):
    run = made.copy_to(tmp_path_factory.mktemp("shared") / "run", "decoder", "fit", settings=SETTINGS)
    steps = []
    report = fit(run, on_progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (24, 24)
    return run, report


def test_two_workers_publish_one_decoder(made, shared):
    run, report = shared
    assert report.avatars == (0, 1, 2) and report.steps == decoder_steps(run.config, 3) == 12 * 2
    item = item_of(run)
    assert item.published(DecoderReport) == report and item.done(report, lambda done, total: None)
    assert run.fit(0).decoder_sha256 == report.decoder_sha256
    assert run.fingerprint("decoder") != made.fingerprint("decoder")
    assert not (run.layout.work / "decoder").exists()


def test_more_workers_than_avatars_are_refused(made, tmp_path):
    with pytest.raises(ConfigError, match=r"decoder\.workers is 4, more than decoder\.avatars 3"):
        made.copy_to(tmp_path / "run", settings=(*SETTINGS, "decoder.workers=4"))


def test_killed_while_fitting_it_goes_on_to_the_same_decoder(made, shared, tmp_path):
    run = made.copy_to(tmp_path / "run", "decoder", "fit", settings=SETTINGS)
    steps = []

    def stop(done, total):
        if done == run.config.decoder.checkpoint_every + 3:
            raise Stop

    with pytest.raises(Stop):
        fit(run, on_progress=stop)
    fit(run, on_progress=lambda done, total: steps.append(done))
    assert steps[0] == run.config.decoder.checkpoint_every + 1
    assert tree_hashes(run.layout.decoder) == tree_hashes(shared[0].layout.decoder)


class StopsAtTheSecondCheckpoint(ThreadContext):
    """Ends when all ranks have published their part of it, and before the first is removed."""

    checkpoints = 0

    def barrier(self):
        super().barrier()
        self.checkpoints += 1
        if self.checkpoints == 2:
            raise Stop


def test_a_checkpoint_that_not_all_ranks_published_is_none(made, shared, tmp_path):
    run = made.copy_to(tmp_path / "run", "decoder", "fit", settings=SETTINGS)
    with pytest.raises(Stop):
        fit(run, StopsAtTheSecondCheckpoint)
    first, second = sorted((run.layout.work / "decoder" / run.fingerprint("decoder")).glob("step-*"))
    assert [path.name for path in sorted(second.iterdir())] == ["rank-000", "rank-001"]
    shutil.rmtree(second / "rank-001")
    steps = []
    fit(run, on_progress=lambda done, total: steps.append(done))
    assert steps[0] == int(first.name.removeprefix("step-")) + 1
    assert tree_hashes(run.layout.decoder) == tree_hashes(shared[0].layout.decoder)


def test_each_worker_reads_its_own_avatars_only(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "decoder", "fit", settings=(*SETTINGS, "decoder.steps_per_avatar=4"))
    read = []
    original = stage.read_views

    def reading(run, avatar, splits, device):
        read.append((avatar, splits))
        return original(run, avatar, splits, device)

    monkeypatch.setattr(stage, "read_views", reading)
    fit(run)
    assert sorted(read) == [(avatar, (split,)) for avatar in range(3) for split in ("held_out", "train")]


def test_a_decoder_that_diverges_says_so_on_all_workers(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "decoder", "fit", settings=SETTINGS)
    step = JointFit.step
    monkeypatch.setattr(JointFit, "step", lambda self: step(self) * (float("nan") if self.steps_done == 11 else 1))
    with pytest.raises(DataError, match=r"stage decoder: the loss is not finite at step 10; lower decoder\.learning"):
        fit(run)
    (kept,) = (run.layout.work / "decoder" / run.fingerprint("decoder")).glob("step-*")
    assert kept.name == "step-00000008", "what was sound is kept"
    assert not run.layout.ledger("decoder", "decoder").exists()
    assert run.layout.ledger("render", format_shard(0)).exists()
