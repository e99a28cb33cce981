"""A driver killed while ``base`` trains: the same command goes on from the checkpoint to the same weights."""

import csv
import shutil
import time

import pytest
from support.commands import all_end, finish, kill, started, wait_until
from support.tiny import tree_hashes

from pipeline.run.run import Run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_the_weights_are_those_of_an_undisturbed_training(finished, copied, tmp_path):
    weights = copied.model("base") / "weights"
    shutil.rmtree(copied.model("base"))
    shutil.rmtree(copied.root / "ledger" / "base")
    command, log = ["train", "base", "--out", copied.root], tmp_path / "log.txt"

    checkpoints = copied.model("base") / "checkpoints"
    with started(*command, log=log) as driver:
        wait_until(lambda: list(checkpoints.glob("step-????????")), process=driver)
        assert all_end(kill(driver))
    assert Run(copied, finished.config).stage_report("base") is None and not weights.exists()
    last = max(int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-????????"))
    assert 0 < last < finished.config.base.steps
    killed_at = time.time()
    with started(*command, log=log) as driver:
        finish(driver, log=log)
    assert tree_hashes(weights) == tree_hashes(finished.layout.model("base") / "weights")
    assert not checkpoints.exists()
    report = Run(copied, finished.config).stage_report("base")
    assert report.started_at < killed_at < report.finished_at, "it began anew instead of resuming"

    def curve(layout):
        with (layout.model("base") / "loss.csv").open(newline="") as handle:
            return [(row["step"], row["loss"]) for row in csv.DictReader(handle)]

    assert curve(copied) == curve(finished.layout) and len(curve(copied)) > 2
