"""Runs on a cluster of three nodes that loses one while it renders, while it fits, and while it trains.

Each node is a Ray of its own on this machine, with an address, a temporary folder and resources of its own; it is lost
by SIGKILL to its raylet. At the end the run is, byte for byte, that of a run that nothing disturbed.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from support.commands import command_line, descendants, finish, started, wait_until
from support.here import made_here
from support.nodes import RENDERS, TRAINS, Cluster, cluster, kill_node
from support.tiny import NUM_AVATARS, SHARD_SIZE, arguments, recorded_jobs, recording_blender, tree_hashes

from pipeline.contracts.naming import RunLayout

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LONGER = ("fit.steps=800", "base.steps=800", "base.checkpoint_every=20")
"""Long enough to be cut off on the way: a worker lives on for seconds after its node was killed."""


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """What comes of it on this machine, where nothing is lost."""
    commands = (("render",), ("fit",), ("train", "clip", "encode", "base"))
    return made_here(tmp_path_factory.mktemp("calm"), *commands, settings=LONGER)


@dataclass
class Nodes:
    """Nodes that stay until the tests end, but for those that are lost."""

    head: Cluster
    stack: ExitStack
    alive: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def join(self, *options: str) -> None:
        self.alive.append(self.stack.enter_context(self.head.node(*options)))

    def with_process(self, word: str) -> "subprocess.Popen[bytes] | None":
        """A node on which a process runs whose command line has a word."""
        return next((n for n in self.alive if any(word in command_line(p.pid) for p in descendants(n.pid))), None)

    def lose(self, word: str) -> None:
        """Kill a node with such a process."""
        lost = wait_until(lambda: self.with_process(word))
        kill_node(lost)
        self.alive.remove(lost)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two nodes that render and one that fits and trains, beside a head that does neither."""
    with cluster('--resources={"train": 1}') as head, ExitStack() as stack:
        found = Nodes(head, stack)
        for options in (RENDERS, RENDERS, TRAINS):
            found.join(*options)
        head.wait_for(len(found.alive))
        yield found


@dataclass
class Disturbed:
    """A run that lost a node in each command, and what the commands said."""

    layout: RunLayout
    blender: str
    said: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def disturbed(nodes: Nodes, calm: RunLayout, tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    folder = tmp_path_factory.mktemp("disturbed")
    run = Disturbed(RunLayout(folder / "run"), recording_blender(folder / "blender", sleep_s=0.12))
    layout, settings = run.layout, arguments(run.blender, *LONGER)

    def carry_out(*words: str, until: Callable[[str], object], lost: str, then: tuple[str, ...] = ()) -> None:
        log = folder / f"{words[0]}.txt"
        with started(*words, "--out", layout.root, *settings, "--address", nodes.head.address, log=log) as driver:
            wait_until(lambda: until(log.read_text()), 300.0, process=driver)
            nodes.lose(lost)
            if then:
                nodes.join(*then)
            finish(driver, log=log)
        run.said[words[0]] = log.read_text()

    # What tells of a death knows of the tasks that have told something.
    carry_out(
        "render",
        until=lambda said: re.search(r"render +\d", said) and nodes.with_process("job.json"),
        lost="job.json",
    )
    carry_out(
        "fit",
        until=lambda said: re.search(r"fit +\d", said) and list(layout.work.glob("parts/fit/*/a*.json")),
        lost="ray::fit/",
        then=TRAINS,
    )
    # What base learns from, made on this machine.
    for name in ("models/clip", "latents", "ledger/clip", "ledger/encode"):
        shutil.copytree(calm.root / name, layout.root / name)
    checkpoints = layout.model("base") / "checkpoints"
    carry_out(
        *("train", "base"),
        until=lambda said: re.search(r"base +\d", said) and list(checkpoints.glob("step-????????")),
        lost="RayTrainWorker",
        then=TRAINS,
    )
    return run


@pytest.mark.parametrize("name", ["renders", "decoder", "planes.zarr", "models/base/weights"])
def test_the_bytes_are_those_of_an_undisturbed_run(disturbed: Disturbed, calm: RunLayout, name: str) -> None:
    there = tree_hashes(disturbed.layout.root / name)
    assert there and there == tree_hashes(calm.root / name)


def test_a_render_that_was_cut_off_began_again(disturbed: Disturbed) -> None:
    jobs = recorded_jobs(disturbed.blender)
    assert len(jobs) == NUM_AVATARS // SHARD_SIZE + 1, jobs


@pytest.mark.parametrize(("command", "task"), [("fit", "fit/shard"), ("train", "base")])
def test_what_was_cut_off_is_told(disturbed: Disturbed, command: str, task: str) -> None:
    said = disturbed.said[command]
    assert re.search(rf"node 127\.0\.0\.\d+ \(\w+\) died: {task}.* begins? again elsewhere; [23] nodes left", said), (
        said
    )


def test_renders_keep_to_their_nodes_and_a_node_that_joins_late_does_the_rest(disturbed: Disturbed) -> None:
    rendered_on, fitted_on = (
        set(re.findall(rf"{stage}/shard-\d+: done on ([\d.]+)", disturbed.said[command]))
        for stage, command in (("render", "render"), ("fit", "fit"))
    )
    assert rendered_on <= {"127.0.0.2", "127.0.0.3"} and len(rendered_on) > 0
    assert "127.0.0.5" in fitted_on <= {"127.0.0.4", "127.0.0.5"}, disturbed.said["fit"]
