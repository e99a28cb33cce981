"""What a command asks of a run."""

from dataclasses import dataclass

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

    @property
    def layout(self) -> RunLayout:
        """Where the run lies."""
        return self.run.layout

    @property
    def config(self) -> RunConfig:
        """What the run is to be."""
        return self.run.config
