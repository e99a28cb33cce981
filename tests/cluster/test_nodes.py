import dataclasses
from typing import Any

import pytest

from cluster import nodes as module
from cluster.dag import Task
from cluster.nodes import MARK, Nodes, wait_for_nodes
from pipeline.contracts.errors import ResourceError
from pipeline.run.stage_table import STAGES


def task(kind: str = "", cpus: float = 2.0, gpus: float = 0.0) -> Task:
    return Task(
        "render/shard-00000", "render", lambda item, inputs, progress: None, None, (), 1.0, "avatar", cpus, gpus, kind
    )


PLAIN = [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]
KINDS = [{"CPU": 0.0, "train": 1.0}, {"CPU": 8.0, "render": 1.0}, {"CPU": 4.0, "GPU": 1.0, "train": 5.0}]


def test_a_cluster_without_kinds_takes_tasks_anywhere() -> None:
    assert Nodes(PLAIN).asked(task("render", 2.0, 1.0)) == {"CPU": 2.0, "GPU": 1.0}
    assert Nodes(PLAIN[:1]).asked(task("render", 2.0, 1.0)) == {"CPU": 2.0, "GPU": 0.0}


def test_a_task_keeps_to_nodes_of_its_kind_and_asks_for_a_gpu_only_where_those_have_one() -> None:
    nodes = Nodes(KINDS)
    assert nodes.asked(task("render", 2.0, 1.0)) == {"CPU": 2.0, "GPU": 0.0, "render": MARK}
    assert nodes.asked(task("train", 2.0, 1.0)) == {"CPU": 2.0, "GPU": 1.0, "train": MARK}
    assert nodes.asked(task("", 2.0, 1.0)) == {"CPU": 2.0, "GPU": 1.0}, "of no kind: anywhere"
    assert nodes.hold(task("render", 8.0)) and not nodes.hold(task("render", 9.0))
    assert nodes.hold(task("train", 4.0)) and not nodes.hold(task("train", 8.0)), "the larger node only renders"
    assert nodes.hold(task("train", 0.0, 0.0)), "what only waits may do so on the head"
    both = Nodes([{"CPU": 4.0, "render": 1.0, "train": 1.0}])
    assert both.hold(task("render")) and both.hold(task("train"))


def test_renders_wait_for_a_node_of_their_kind_even_where_others_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[dict[str, Any]]] = [KINDS[:1], KINDS[:1], KINDS]
    monkeypatch.setattr(module.ray, "nodes", lambda: [{"Alive": True, "Resources": r} for r in answers.pop(0)])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    asked, let_go = [], []
    monkeypatch.setattr(module, "placement_group", lambda bundles: asked.append(bundles) or len(asked))
    monkeypatch.setattr(module, "remove_placement_group", let_go.append)
    assert wait_for_nodes([task("render"), task("train", 0.0)], 60.0) == Nodes(KINDS)
    assert not answers
    assert asked == [[{"CPU": 2.0, "render": MARK}]], "a cluster that grows is told once what for"
    assert let_go == [1]
    alone = [{"CPU": 64.0, "GPU": 1.0, "train": 1.0}]
    monkeypatch.setattr(module.ray, "nodes", lambda: [{"Alive": True, "Resources": r} for r in alone])
    with pytest.raises(ResourceError) as refused:
        wait_for_nodes([task("train"), task("render"), dataclasses.replace(task("render"), name="other")], 0.0)
    assert str(refused.value) == (
        "render/shard-00000 needs 2 CPUs and 0 GPUs on one node of kind render, and the nodes have 64 CPUs and 1 GPUs "
        """(train): lower what it needs, or add a larger node (ray start --resources='{"render": 1}')"""
    )


def test_only_renders_are_of_their_kind() -> None:
    assert {name for name, stage in STAGES.items() if stage.node_kind == "render"} == {"render"}
