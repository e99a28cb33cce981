"""A cluster whose head is lost while a run renders: the driver says so in one line, and the command goes on."""

import os
import re
import signal
from pathlib import Path

import pytest
from support.commands import command_line, descendants, finish, parent, rodin_passes, started, wait_until
from support.here import without_ray
from support.nodes import cluster, raylet, with_id
from support.tiny import arguments, recorded_jobs, recording_blender, tree_hashes

from pipeline.contracts.naming import RunLayout

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LONG_S = 0.8
"""Of a view: longer in all than it takes to be sure of the loss."""


def lose_head() -> None:
    """SIGKILL to all of it, as when its machine is lost."""
    (gcs,) = [p.pid for p in descendants(os.getpid()) if "gcs/gcs_server" in command_line(p.pid)[:300]]
    head = parent(gcs)
    for pid in (*(process.pid for process in descendants(head)), head):
        with_id(pid, signal.SIGKILL)


def test_a_lost_head_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    calm, layout, log = RunLayout(tmp_path / "calm"), RunLayout(tmp_path / "run"), tmp_path / "log.txt"
    with without_ray():
        rodin_passes("render", "--out", calm.root, *arguments(recording_blender(tmp_path / "quick")))
    blender = recording_blender(tmp_path / "slow", sleep_s=LONG_S)
    command = ("render", "--out", layout.root, *arguments(blender))
    with cluster() as head, head.node("--num-cpus=1") as node:
        wait_until(lambda: raylet(node), process=node)
        with started(*command, "--address", head.address, log=log) as driver:
            # Not before: a driver that lacks its head while it begins is told so otherwise.
            wait_until(lambda: recorded_jobs(blender), 300.0, process=driver)
            lose_head()
            assert driver.wait(120.0) == 2, log.read_text()
        said = [line for line in log.read_text().splitlines() if "avatars/" not in line and ": done on " not in line]
        # Ray calls this machine by a name of its own.
        port = head.address.rpartition(":")[2]
        assert len(said) == 1, said
        assert re.fullmatch(
            rf"rodin-pipe: the head of the Ray cluster at [\d.]+:{port} is gone: start a cluster again, and the same "
            "command goes on; what is done stays done",
            said[0],
        ), said
    before = recorded_jobs(blender)
    with cluster() as head, head.node("--num-cpus=1"), started(*command, "--address", head.address, log=log) as driver:
        finish(driver, log=log)
    assert tree_hashes(layout.root / "renders") == tree_hashes(calm.root / "renders")
    assert sum(map(len, recorded_jobs(blender)[len(before) :])) < 6, "what was rendered is not rendered again"
