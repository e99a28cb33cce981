from typing import Any, ClassVar

import pytest

from cluster import metrics
from cluster.progress import ProgressBoard


class Gauge:
    told: ClassVar[dict[str, tuple[float, dict[str, str]]]] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys

    def set(self, value: float, tags: dict[str, Any]) -> None:
        assert tuple(tags) == self.tag_keys
        self.told[self.name] = (value, tags)


def test_progress_of_a_stage_is_set_as_gauges_and_a_stage_that_ended_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "Gauge", Gauge)
    board = ProgressBoard([("fit/0", "fit", "avatar", 4.0), ("fit/1", "fit", "avatar", 4.0)])
    board.ended("fit/0", failed=False, now=0.0)
    board.ended("fit/1", failed=True, now=10.0)
    (fit,) = board.stages(10.0)
    metrics.ProgressMetrics("/runs/a").show(fit)
    assert {name: value for name, (value, _) in Gauge.told.items()} == {
        "rodin_units_done": 4.0,
        "rodin_units_total": 8.0,
        "rodin_units_per_second": 0.0,
        "rodin_tasks_running": 0,
        "rodin_tasks_failed": 1,
    }
    assert {tuple(tags.values()) for _, tags in Gauge.told.values()} == {("/runs/a", "fit", "avatar")}
