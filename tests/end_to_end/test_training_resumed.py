"""A driver killed while ``base`` trains: the same command goes on from the checkpoint to the same weights."""

import csv
import shutil
import time

import pytest
from support.commands import all_end, finish, kill, rodin_passes, started, wait_until
from support.tiny import tree_hashes

from pipeline.contracts.naming import RunLayout
from pipeline.run.run import Run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


LAST = ("base.steps=40", "base.checkpoint_every=4")
"""Long enough to be killed on the way."""
BEST = (*LAST, "base.held_out_every=8", "base.keep=best")


@pytest.mark.parametrize("settings", [LAST, BEST], ids=["last", "best"])
def test_the_weights_are_those_of_an_undisturbed_training(finished, copied, tmp_path, settings):
    weights = copied.model("base") / "weights"
    shutil.rmtree(copied.model("base"))
    shutil.rmtree(copied.root / "ledger" / "base")
    options = [word for setting in settings for word in ("--set", setting)]
    command, log = ["train", "base", "--out", copied.root, *options], tmp_path / "log.txt"
    undisturbed = RunLayout(shutil.copytree(copied.root, tmp_path / "undisturbed"))
    rodin_passes("train", "base", "--out", undisturbed.root, *options)

    checkpoints = copied.model("base") / "checkpoints"
    with started(*command, log=log) as driver:
        wait_until(lambda: list(checkpoints.glob("step-????????")), process=driver)
        assert all_end(kill(driver))
    assert Run(copied, finished.config).stage_report("base") is None and not weights.exists()
    last = max(int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-????????"))
    assert 0 < last < 40
    killed_at = time.time()
    with started(*command, log=log) as driver:
        finish(driver, log=log)
    assert tree_hashes(weights) == tree_hashes(undisturbed.model("base") / "weights")
    assert not checkpoints.exists()
    report = Run(copied, finished.config).stage_report("base")
    assert report.started_at < killed_at < report.finished_at, "it began anew instead of resuming"

    def curve(layout, loss):
        with (layout.model("base") / f"{loss}.csv").open(newline="") as handle:
            values = [(row["step"], row[loss]) for row in csv.DictReader(handle)]
        assert len(values) > 2
        return values

    for loss in ("loss", "held_out") if settings is BEST else ("loss",):
        assert curve(copied, loss) == curve(undisturbed, loss)
