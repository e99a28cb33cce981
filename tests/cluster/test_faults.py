import errno
from typing import Any

import pytest

from cluster import faults as module
from cluster.dag import Task
from cluster.faults import Faults, node_fault
from pipeline.contracts.errors import DataError

FULL = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")


def test_what_a_file_system_says_of_itself_is_found_below_what_was_made_of_it() -> None:
    assert node_fault(FULL) == "No space left on device: /tmp/x"
    try:
        try:
            raise FULL
        except OSError as error:
            raise DataError("planes cannot be written") from error
    except DataError as error:
        assert node_fault(error) == "No space left on device: /tmp/x"
    assert node_fault(FileNotFoundError(errno.ENOENT, "No such file or directory")) == ""
    assert node_fault(DataError("bad")) == ""


def test_an_unfit_node_is_told_of_once_and_another_must_be_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[dict[str, Any]] = [
        {"NodeID": f"{name}" * 8, "NodeManagerAddress": f"10.0.0.{number}", "Alive": True, "Resources": {"CPU": cpus}}
        for number, (name, cpus) in enumerate((("a", 4.0), ("b", 4.0), ("c", 1.0)))
    ]
    monkeypatch.setattr(module.ray, "nodes", lambda: nodes)
    task = Task("fit/shard-00001", "fit", lambda item, inputs, progress: None, None, num_cpus=2.0)
    found, told = Faults(), []
    assert found.selector() == {}
    assert found.leaves_another(task, "a" * 8, "full") and found.leaves_another(task, "a" * 8, "full")
    assert found.selector() == {"ray.io/node-id": "!in(aaaaaaaa)"}
    found.tell(told.append)
    found.tell(told.append)
    assert told == [
        "node 10.0.0.0 (aaaaaaaa) cannot write (full): fit/shard-00001 begins again elsewhere, and no more tasks go "
        "there; make room on it before the next command"
    ]
    assert not found.leaves_another(task, "b" * 8, "full"), "the third has one CPU"
    assert found.selector() == {"ray.io/node-id": "!in(aaaaaaaa)"}, "and so it may go on there"
