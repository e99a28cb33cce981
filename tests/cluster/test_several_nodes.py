"""A run that is driven by jobs of a cluster of three nodes, whose training has a worker on each of two.

Each node is a Ray of its own on this machine. At the end the run is, byte for byte, that of one process, and its
model that of two workers on one node.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.commands import finish, started
from support.here import made_here
from support.nodes import RENDERS, TRAINS, Cluster, cluster, free_port
from support.tiny import arguments, recording_blender, tree_hashes

from pipeline.contracts.naming import RunLayout

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TWO_WORKERS = ("train.workers=2", "base.steps=12")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """What comes of it on this machine; its two workers are two processes of one node."""
    folder = tmp_path_factory.mktemp("here")
    layout = made_here(folder, ("render",), ("fit",), ("train", "clip", "encode"), settings=TWO_WORKERS)
    settings = arguments(recording_blender(folder / "blender"), *TWO_WORKERS)
    log = folder / "log"
    with started("train", "base", "--out", layout.root, *settings, log=log) as driver:
        finish(driver, log=log)
    return layout


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Cluster, str]]:
    """One node that renders and two that fit and train, beside a head that takes jobs; and where it takes them."""
    port = free_port()
    ports = (f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}")
    jobs = ("--include-dashboard=true", *ports, '--resources={"train": 1}')
    with cluster(*jobs) as head, ExitStack() as stack:
        for options in (RENDERS, TRAINS, TRAINS):
            stack.enter_context(head.node(*options))
        head.wait_for(3)
        yield head, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def submitted(nodes: tuple[Cluster, str], here: RunLayout, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """The run of the jobs, beside what each of them said."""
    folder = tmp_path_factory.mktemp("submitted")
    layout = RunLayout(folder / "run")
    settings = arguments(recording_blender(folder / "blender"), *TWO_WORKERS)

    def carry_out(*words: str) -> None:
        job = (*words, "--out", layout.root, *settings)
        log = folder / f"{words[0]}.txt"
        with started("submit", "--address", nodes[1], "--wait", "--", *job, log=log) as driver:
            finish(driver, log=log)

    carry_out("render")
    carry_out("fit")
    # What base learns from is that of one process.
    for name in ("models/clip", "latents", "ledger/clip", "ledger/encode"):
        shutil.copytree(here.root / name, layout.root / name)
    carry_out("train", "base")
    return layout


@pytest.mark.parametrize("name", ["renders", "decoder", "planes.zarr", "models/base/weights"])
def test_the_bytes_are_those_of_one_node(submitted: RunLayout, here: RunLayout, name: str) -> None:
    there = tree_hashes(submitted.root / name)
    assert there and there == tree_hashes(here.root / name)


def said(layout: RunLayout, command: str) -> str:
    return (Path(layout.root).parent / f"{command}.txt").read_text()


def test_jobs_tell_where_their_tasks_ran(submitted: RunLayout) -> None:
    assert set(re.findall(r"render/shard-\d+: done on ([\d.]+)", said(submitted, "render"))) == {"127.0.0.2"}
    assert set(re.findall(r"fit/shard-\d+: done on ([\d.]+)", said(submitted, "fit"))) <= {"127.0.0.3", "127.0.0.4"}
