"""How a command ends whose tasks failed: bad data that a task finds is bad input; what broke is not."""

from types import SimpleNamespace

import pytest
from support.commands import rodin

from cluster.dag import TaskFailed
from pipeline.commands import visit

MENDED = "planes.zarr: 3 of 48 values of planes of avatar 2 are no finite numbers: fit it again with --redo fit"


@pytest.mark.parametrize(
    ("failed", "code"),
    [
        ([], 0),
        ([TaskFailed("base", MENDED, "", is_for_the_user=True)], 2),
        ([TaskFailed("base", MENDED, "", is_for_the_user=True), TaskFailed("clip", "ValueError: x", "...")], 1),
    ],
    ids=("well", "bad data", "broken"),
)
def test_how_a_visit_ends(tmp_path, monkeypatch, failed, code):
    results = {failure.task: failure for failure in failed} | {"latent": "fine"}
    monkeypatch.setattr(visit, "carry_out", lambda *given: SimpleNamespace(results=results))
    monkeypatch.setattr(visit, "describe_result", lambda *given: "what was done")
    ended = rodin("train", "--out", tmp_path / "run")
    assert ended.exit_code == code and "what was done" in ended.stdout, ended.output
    assert ended.stderr.splitlines() == ([f"rodin-pipe: base: {MENDED}"] if code == 2 else [])
