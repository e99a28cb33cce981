"""The peak of a real fit stage against the memory that pipeline.run.memory states."""

import subprocess
import sys

import pytest

from pipeline.contracts.errors import ResourceError
from pipeline.stages import device as views

pytestmark = pytest.mark.seconds

MEASURED = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from support.tiny import tiny_config
from pipeline.contracts.naming import RunLayout
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.stages.fit.planes import fit_shard
from pipeline.run.memory import fit_bytes
from pipeline.run.run import Run
from pipeline.stages.work import WorkItem
import ray
config = tiny_config("")
config = config.model_copy(update={"fit": config.fit.model_copy(update={"rays": 1024, "render_samples": 64})})
fit_shard(WorkItem(Run(RunLayout(Path(sys.argv[1])), config), "fit", "measured", 0), lambda done, total: None)
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak) * 1024 / fit_bytes(config))
"""
"""A fit of the tiny run with more rays, in a process of its own that imports what a Ray worker does."""


def test_the_peak_of_a_real_fit_is_within_its_statement(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "fit")
    command = [sys.executable, "-c", MEASURED, str(run.layout.root), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.6 <= float(done.stdout.splitlines()[-1]) <= 1.0


def test_too_little_memory_is_said_before_any_work(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "fit", "decoder")
    monkeypatch.setattr(views, "available_to_this_process", lambda device: 100 * 2**20)
    with pytest.raises(ResourceError, match=r"stage decoder: one process can take .* and here 100 MiB are available"):
        run.fit_decoder()
    run = made.copy_to(tmp_path / "again", "fit")
    with pytest.raises(ResourceError, match=r"stage fit: .*: use a larger machine"):
        run.fit(0)
    assert not run.layout.parts("fit", 0).exists()
