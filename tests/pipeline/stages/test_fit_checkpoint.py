"""A joint fit's checkpoint that is cut off or another program's is told, and left where it is."""

import pytest

from pipeline.contracts.errors import DataError
from pipeline.stages.fit.checkpoint import load_checkpoint
from rodin_models.checkpoint import TENSORS, TREE, save_state


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_checkpoint_is_told(tmp_path, damage):
    step = tmp_path / "step-00000010"
    common = step / "rank-000" / "common"
    common.mkdir(parents=True)
    save_state(common, {"identity": {"avatars": [0]}, "seconds": 1.0, "joint": {}})
    # Of other avatars: none of ours, so that nothing of the fit is touched.
    assert load_checkpoint(tmp_path, None, 0, 1, identity={"avatars": [1]}) is None
    if damage == "cut":
        (common / TREE).write_text((common / TREE).read_text()[:20])
    else:
        (common / TENSORS).unlink()
        save_state(common, {"weights": 3})
    with pytest.raises(DataError, match=r"^a checkpoint: .*; delete .*step-00000010 and give the command again$"):
        load_checkpoint(tmp_path, None, 0, 1, identity={"avatars": [0]})
    assert step.exists()
