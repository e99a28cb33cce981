"""Ledger entries of the stages that are one piece of work, and of a driver's visit to a run."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from pydantic import Field

from pipeline.contracts.record import Record

Progress = Callable[[float, float], None]
"""What a stage calls as it goes on: (done, total) in the work item's own units."""


@runtime_checkable
class Watched(Protocol):
    """A :data:`Progress` that shows numbers too."""

    def report(self, metrics: Mapping[str, float], /) -> None:
        """Numbers to show beside the progress, by name; they travel with its next message."""

    def goes_on_from(self, done: float, total: float, /) -> None:
        """So much was done before, in the units of the progress: it is shown, and no rate counts it."""


class StageReport(Record):
    """Proves a stage such as ``clip`` or ``base`` done."""

    schema_version: int
    stage: str
    fingerprint: str
    avatars: tuple[int, ...]
    """The avatars it learned from or worked on, and the held-out ones that a model's loss was measured on."""
    inputs: dict[str, str]
    """Hashes of what it read, of those avatars; it is current only while they are the same."""
    outputs: dict[str, str]
    """sha256 of what it published, by path relative to the run."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Bytes of each of them; entries of older versions have none."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)
    started_at: float
    """Unix time."""
    finished_at: float
    seconds: float
    """Seconds of work over all attempts; a resumed stage adds up."""
    versions: dict[str, str]
    processor: str


class DriverReport(Record):
    """What one ``rodin-pipe`` command did to a run: ``ledger/driver/<unix time>.json``."""

    command: str
    started_at: float
    finished_at: float
    ray_start_s: float
    """Seconds until Ray was there."""
    ray_stop_s: float
    stages: dict[str, float]
    """Wall seconds from a stage's first task to its last; stages overlap."""
    failed_tasks: dict[str, str]
    """Task name to reason."""
    cpus: float
    gpus: float
