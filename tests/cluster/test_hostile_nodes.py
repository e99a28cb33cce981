"""Runs on nodes of which something is wrong: a clock that is an hour off, a full disk, a network folder that is slow.

Each node is a Ray of its own on this machine, and what is wrong of it is done to its Python processes by
``tests/support/hostile``. At the end the run is, byte for byte, that of one process on a machine that is well.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.commands import finish, started
from support.here import made_here
from support.nodes import DOES_BOTH, Cluster, cluster, hostile
from support.tiny import arguments, recording_blender, tree_hashes

from pipeline.contracts.naming import RunLayout
from pipeline.contracts.stage import DriverReport
from pipeline.io.ledger import read_ledgers
from pipeline.run.existing import open_run
from pipeline.run.published import find_damage

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HOUR_S = 3600.0


@contextmanager
def nodes(*environments: dict[str, str]) -> Iterator[Cluster]:
    """A head that does no work, and a node of each environment that does all kinds of it."""
    with cluster('--resources={"train": 1}') as head, ExitStack() as stack:
        for environment in environments:
            stack.enter_context(head.node(*DOES_BOTH, environment=environment))
        head.wait_for(len(environments))
        yield head


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    return made_here(tmp_path_factory.mktemp("calm"), ("run",))


@dataclass
class Done:
    """A run, and what its commands said."""

    layout: RunLayout
    said: str


def carried_out(head: Cluster, folder: Path, *commands: str, environment: dict[str, str] | None = None) -> Done:
    layout, log = RunLayout(folder / "run"), folder / "log"
    settings = arguments(recording_blender(folder / "blender"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        for command in commands:
            words = (command, "--out", str(layout.root), *settings, "--address", head.address)
            with started(*words, log=log) as driver:
                finish(driver, log=log, timeout_s=400.0)
    return Done(layout, log.read_text())


def same_bytes(done: Done, calm: RunLayout, *more: str) -> None:
    for name in ("renders", "decoder", "planes.zarr", *more):
        there = tree_hashes(done.layout.root / name)
        assert there and there == tree_hashes(calm.root / name), name


def test_clocks_an_hour_off_change_nothing(calm: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with nodes(hostile(clock_s=str(HOUR_S)), hostile(clock_s=str(-HOUR_S))) as head:
        done = carried_out(head, tmp_path, "render", "fit")
    same_bytes(done, calm)
    for report in read_ledgers(done.layout.ledgers("driver"), DriverReport).values():
        assert all(0 <= seconds < HOUR_S / 2 for seconds in report.stages.values()), "by one clock"
    # The times of files are not those of entries: nothing is hashed for it, and what is damaged afterwards is seen.
    run = open_run(done.layout.root, writes=False)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.run.published.sha256_file", lambda path: pytest.fail(f"{path} is hashed"))
        assert [find_damage(run, stage) for stage in ("render", "fit")] == [None, None]
    chunk = next(
        path for path in (done.layout.planes / "planes").rglob("*") if path.is_file() and path.name != "zarr.json"
    )
    whole = chunk.read_bytes()
    chunk.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    found = find_damage(open_run(done.layout.root, writes=False), "fit")
    assert found is not None and found.path == chunk


def test_a_node_with_a_full_disk_is_told_of_and_gets_no_more(calm: RunLayout, tmp_path: Path) -> None:
    with nodes(hostile(full=str(tmp_path)), {}) as head:
        done = carried_out(head, tmp_path, "render", "fit")
    same_bytes(done, calm)
    told = re.findall(r"node 127\.0\.0\.2 \(\w+\) cannot write \(No space left on device: .*", done.said)
    assert 1 <= len(told) <= 2, done.said  # once a command
    assert "no more tasks go there" in told[0]
    assert set(re.findall(r": done on ([\d.]+)", done.said)) == {"127.0.0.3"}


def test_a_slow_folder_that_shows_late_what_others_made(calm: RunLayout, tmp_path: Path) -> None:
    slow = hostile(slow=str(tmp_path / "run"))
    with nodes(slow, slow) as head:
        done = carried_out(head, tmp_path, "run", environment=slow)
    same_bytes(done, calm, "models/base/weights", "models/refiner/weights")
