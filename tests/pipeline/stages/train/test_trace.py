"""Checkpoints of a training: the newest of the same one, and a damaged one told."""

import pytest

from pipeline.contracts.errors import DataError
from pipeline.stages.train.trace import Checkpoints
from rodin_models.checkpoint import TREE, save_state


def test_the_newest_of_the_same_training_is_gone_on_from(tmp_path):
    ours, other = (Checkpoints(tmp_path, {"fingerprint": name}) for name in ("a", "b"))
    assert ours.latest() is None
    for step in (1, 2, 3):
        ours.save(step, {"x": step})
    assert [state["step"] for state in ours.newest_first()] == [3, 2]
    assert other.latest() is None


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_one_is_told_and_left_where_it_is(tmp_path, damage):
    ours = Checkpoints(tmp_path, {"fingerprint": "a"})
    ours.save(1, {"x": 1})
    path = tmp_path / "step-00000001"
    if damage == "cut":
        (path / TREE).write_text((path / TREE).read_text()[:40])
    else:
        save_state(path, {"weights": 3})
    with pytest.raises(DataError, match=r"^a checkpoint: .*; delete .*step-00000001 and give the command again$"):
        ours.latest()
    assert path.exists()
