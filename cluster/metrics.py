"""Progress as metrics of Ray's, which each node of a cluster offers to Prometheus (``--metrics-export-port``).

Names there begin with ``ray_``. A session that was started here has nobody who collects them.
"""

from ray.util.metrics import Gauge

from cluster.progress import StageProgress

_TAGS = ("run", "stage", "unit")


class ProgressMetrics:
    """Gauges of one run, by stage: how much is done, of how much, how fast, by how many tasks."""

    def __init__(self, run: str) -> None:
        """``run`` is where it lies; Ray is connected."""
        self._run = run
        self._done = Gauge("rodin_units_done", "Avatars, steps or reports of a stage that are done.", _TAGS)
        self._total = Gauge("rodin_units_total", "Avatars, steps or reports of a stage.", _TAGS)
        self._rate = Gauge("rodin_units_per_second", "Avatars, steps or reports a second of late.", _TAGS)
        self._running = Gauge("rodin_tasks_running", "Tasks of a stage under way.", _TAGS)
        self._failed = Gauge("rodin_tasks_failed", "Tasks of a stage that failed.", _TAGS)

    def show(self, stage: StageProgress) -> None:
        """Set the gauges of a stage; a stage without a rate stands still."""
        tags = {"run": self._run, "stage": stage.stage, "unit": stage.unit}
        for gauge, value in (
            (self._done, stage.done),
            (self._total, stage.total),
            (self._rate, 0.0 if stage.ended else stage.rate_per_s or 0.0),
            (self._running, len(stage.running)),
            (self._failed, stage.tasks_failed),
        ):
            gauge.set(value, tags)
