"""What a command asks of a run."""

from dataclasses import dataclass, replace

from pipeline.config.run import RunConfig
from pipeline.contracts.naming import RunLayout
from pipeline.run.run import Run


@dataclass(frozen=True)
class Visit:
    """Stages of a run to be done, and how."""

    run: Run
    stages: tuple[str, ...]
    command: str
    redo: tuple[str, ...] = ()
    retry_failed: bool = False
    address: str | None = None

    def snapshot(self) -> "Visit":
        """This visit to the run as its ledgers are now (:meth:`pipeline.run.run.Run.snapshot`)."""
        return replace(self, run=self.run.snapshot().read_ahead())

    @property
    def layout(self) -> RunLayout:
        """Where the run lies."""
        return self.run.layout

    @property
    def config(self) -> RunConfig:
        """What the run is to be."""
        return self.run.config
