"""One finished run for all tests that look at one, or change a copy of it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.commands import rodin_passes
from support.tiny import arguments, recording_blender, tiny_config

from cluster.session import ray_session
from pipeline.config.run import RunConfig
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.driver import visit as driver


@dataclass(frozen=True)
class Finished:
    """A run that nothing disturbed."""

    layout: RunLayout
    config: RunConfig
    blender: str
    output: str
    """What the command printed."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A whole run with two workers. The last shard's Blender begins only once a fit has begun."""
    folder = tmp_path_factory.mktemp("finished")
    layout = RunLayout(folder / "run")
    blender = recording_blender(folder, wait_for=(2, layout.work / "parts" / "fit" / format_shard(0)))
    output = rodin_passes("run", "--out", layout.root, *arguments(blender), cpus=2)
    return Finished(layout, tiny_config(blender), blender, output)


@pytest.fixture(scope="module")
def shared_session(finished: Finished) -> Iterator[None]:
    """One Ray session for all visits of a test module from this process, since each takes seconds to start."""
    with ray_session(None, num_cpus=2) as info, pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "ray_session", lambda address: nullcontext(info))
        yield


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> RunLayout:
    """A copy of the finished run that the test may change; times of files are kept."""
    return RunLayout(Path(shutil.copytree(finished.layout.root, tmp_path / "copy")))


@pytest.fixture
def without(copied: RunLayout) -> Callable[..., RunLayout]:
    """The copy, with the ledgers of some stages taken away so that these are to be done again."""

    def take(*stages: str) -> RunLayout:
        for stage in stages:
            shutil.rmtree(copied.root / "ledger" / stage)
        return copied

    return take
