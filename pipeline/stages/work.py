"""The work item of a stage that is one piece of work, and how such a stage publishes its ledger entry."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.run import RunConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.stage import StageReport
from pipeline.io.ledger import write_ledger
from pipeline.io.publish import sha256_file
from pipeline.machine import package_versions, processor_name
from pipeline.run.provenance import stage_inputs


@dataclass(frozen=True)
class StageItem:
    """A stage of a run, with the fingerprint that its output will carry."""

    layout: RunLayout
    config: RunConfig
    fingerprint: str


@dataclass(frozen=True)
class Stopwatch:
    """When a piece of work began, and what earlier attempts at it took."""

    started_at: float = field(default_factory=time.time)
    """Unix time."""
    seconds_before: float = 0.0
    _begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds of work so far, over all attempts."""
        return self.seconds_before + time.monotonic() - self._begun


def publish_entry(
    stage: str,
    item: StageItem,
    stopwatch: Stopwatch,
    *,
    avatars: tuple[int, ...],
    outputs: Iterable[Path],
    packages: tuple[str, ...],
    inputs: Mapping[str, str] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    notes: Mapping[str, str] | None = None,
) -> StageReport:
    """Write the ledger entry that proves a stage done, after all that it names is published.

    ``inputs`` are the hashes of what was read, taken before the work began; by default those of now.
    """
    layout, config = item.layout, item.config
    report = StageReport(
        schema_version=SCHEMA_VERSION,
        stage=stage,
        fingerprint=item.fingerprint,
        avatars=avatars,
        inputs=dict(inputs if inputs is not None else stage_inputs(stage, config, layout, avatars)),
        outputs={str(path.relative_to(layout.root)): sha256_file(path) for path in sorted(outputs)},
        metrics=dict(metrics or {}),
        notes=dict(notes or {}),
        started_at=stopwatch.started_at,
        finished_at=time.time(),
        seconds=round(stopwatch.seconds, 3),
        versions=package_versions(packages),
        processor=processor_name(),
    )
    write_ledger(layout.ledger(stage, stage), report)
    return report
