"""A cluster of two nodes on this machine, one of which dies: what the terminal shows of it.

The task may not be tried again, which counts deaths of its process and not of its node.
"""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.commands import wait_until
from support.nodes import cluster, environment_of_a_driver, kill_node, raylet

from cluster import deaths
from cluster.progress import Letter, ProgressBoard

DRIVER = """
import os, sys, time
from cluster.dag import Task, run_tasks
from cluster.session import ray_session

def once(item, inputs, progress):
    with open(item, "a") as file:
        file.write("x")
    if len(open(item).read()) == 1:
        time.sleep(600)
    while not os.path.exists(item + ".go"):
        time.sleep(0.1)
    return len(open(item).read())

if __name__ == "__main__":
    address, mark = sys.argv[1:]
    with ray_session(address):
        results = run_tasks(
            [Task("fit/shard-00000", "fit", once, mark, max_retries=0)],
            on_progress=lambda progress: progress.running and open(mark + ".seen", "w").close(),
            on_loss=lambda line: print(line, file=sys.stderr, flush=True),
            wait_for_nodes_s=100.0,
        )
        print(results["fit/shard-00000"])
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("known_before_the_end", [True, False])
def test_a_node_that_dies_is_one_line_and_its_task_begins_again(tmp_path: Path, known_before_the_end: bool) -> None:
    mark, driver, said = tmp_path / "mark", tmp_path / "driver.py", tmp_path / "said"
    driver.write_text(DRIVER)
    with cluster() as nodes, nodes.node("--num-cpus=1") as first:
        with said.open("wb") as output:
            started = subprocess.Popen(
                [sys.executable, str(driver), nodes.address, str(mark)],
                env=environment_of_a_driver(),
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        wait_until(mark.with_name("mark.seen").exists, process=started)
        wait_until(lambda: raylet(first))
        with nodes.node("--num-cpus=1") as second:
            wait_until(lambda: raylet(second))
            if not known_before_the_end:
                mark.with_name("mark.go").touch()
            kill_node(first)
            if known_before_the_end:
                wait_until(lambda: "died" in said.read_text(), process=started)
                mark.with_name("mark.go").touch()
            out, _ = started.communicate(timeout=180.0)
    err = said.read_text()
    lines = err.splitlines()
    assert (started.returncode, out) == (0, "2\n"), (out, err)
    assert len(lines) == 1, lines
    assert lines[0].startswith("node 127.0.0.2 (") and "died: fit/shard-00000 begins again elsewhere; " in lines[0]


def test_a_node_that_refuses_is_dead_before_ray_knows_of_it_if_a_task_has_left_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = {"head": listening.getsockname()[1], "lost": closed.getsockname()[1]}
        # Nobody has left the third, at the port that refuses too.
        ports |= {"kept": ports["head"], "idle": ports["lost"]}
        closed.close()
        nodes = [
            {"NodeID": name, "Alive": True, "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": port}
            for name, port in ports.items()
        ]
        monkeypatch.setattr(deaths.ray, "nodes", lambda: nodes)
        context = SimpleNamespace(gcs_address=f"127.0.0.1:{ports['head']}")
        monkeypatch.setattr(deaths.ray, "get_runtime_context", lambda: context)
        board = ProgressBoard([(f"fit/{number}", "fit", "avatar", 1.0) for number in range(2)])
        for number, node in enumerate(("lost", "kept")):
            board.update({f"fit/{number}": Letter("one", 0.5, 1.0, {}, node)}, now=0.0)
            board.ended(f"fit/{number}", failed=False, now=1.0, node="head")
        looks = deaths.Deaths()
        line = "node 127.0.0.1 (lost) died: fit/0 begins again elsewhere; 3 nodes left"
        assert looks.lost(board, 2.0, last=True) == [line]
        assert looks.lost(board, 3.0, last=True) == []
