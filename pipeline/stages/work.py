"""A stage's work item, and how a stage that is one piece of work publishes its ledger entry."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pipeline.config.run import RunConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard
from pipeline.contracts.planes import DecoderReport, FitShardReport, OwnFitReport
from pipeline.contracts.rendering import RenderReport
from pipeline.contracts.stage import Progress, StageReport
from pipeline.io.files import file_size
from pipeline.io.ledger import read_ledger, write_ledger
from pipeline.io.publish import sha256_file
from pipeline.machine import package_versions, processor_name
from pipeline.run.current import Entry, is_done
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES

AnyEntry = TypeVar("AnyEntry", RenderReport, DecoderReport, FitShardReport, OwnFitReport, StageReport)


@dataclass(frozen=True)
class WorkItem:
    """One piece of a stage's work: a shard, an avatar or the whole run, as the table of stages says."""

    run: Run
    stage: str
    fingerprint: str
    """What its output will carry."""
    number: int = 0
    """Of the shard or the avatar; 0 for the whole run."""
    retry_failed: bool = False
    """Do again what an earlier visit listed as failed."""
    storage: Mapping[str, str] = field(default_factory=dict)
    """What another process must know to read and write the run (:func:`pipeline.io.files.visit_settings`)."""
    published_before: tuple[Path, ...] = ()
    """Ledger entries of what it waited for, which are there when it begins, seen from here or not yet."""
    requested_at: float = 0.0
    """Unix time at which a worker was asked for: what passes until it is there is reported as start-up."""

    @property
    def layout(self) -> RunLayout:
        """Where the run lies."""
        return self.run.layout

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.run.config

    @property
    def name(self) -> str:
        """Of its ledger entry: ``shard-00003``, ``a000012``, or the stage's."""
        per = STAGES[self.stage].per
        return self.stage if per == "run" else (format_shard if per == "shard" else format_avatar)(self.number)

    @property
    def ledger(self) -> Path:
        """The entry that proves it done."""
        return self.layout.ledger(self.stage, self.name)

    @property
    def avatars(self) -> tuple[int, ...]:
        """Avatars of its shard."""
        return self.config.render.avatars_of(self.number)

    @property
    def units(self) -> float:
        """How much work it is, in the units of its stage."""
        stage = STAGES[self.stage]
        return float(len(self.avatars)) if stage.per == "shard" else stage.total(self.config)

    def published(self, entry_type: type[AnyEntry]) -> AnyEntry | None:
        """Its ledger entry, if there is one, current or not."""
        return read_ledger(self.ledger, entry_type)

    def done(self, entry: Entry, progress: Progress) -> bool:
        """Whether there is nothing to do, which is then told as progress."""
        if not is_done(self.run, entry, self.fingerprint, retry_failed=self.retry_failed):
            return False
        progress(self.units, self.units)
        return True


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
    item: WorkItem,
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
    files = {str(path.relative_to(item.layout.root)): path for path in sorted(outputs)}
    report = StageReport(
        schema_version=SCHEMA_VERSION,
        stage=item.stage,
        fingerprint=item.fingerprint,
        avatars=avatars,
        inputs=dict(inputs if inputs is not None else item.run.inputs_of(item.stage, avatars)),
        outputs={name: sha256_file(path) for name, path in files.items()},
        sizes={name: file_size(path) for name, path in files.items()},
        metrics=dict(metrics or {}),
        notes=dict(notes or {}),
        started_at=stopwatch.started_at,
        finished_at=time.time(),
        seconds=round(stopwatch.seconds, 3),
        versions=package_versions(packages),
        processor=processor_name(),
    )
    write_ledger(item.ledger, report)
    return report
