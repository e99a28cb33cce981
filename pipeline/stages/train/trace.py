"""What a training leaves as it goes: checkpoints that a restart goes on from, curves, TensorBoard events."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.contracts.naming import RunLayout
from pipeline.io.files import forget, names
from pipeline.io.publish import empty_folder, growing_folder, publish_folder, publish_grown
from pipeline.stages.weights import read_state
from rodin_models.checkpoint import save_state

KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class Checkpoints:
    """The folder that holds the checkpoints of one model."""

    folder: Path
    identity: dict[str, Any]
    """What its training depends on; checkpoints of another one are passed over."""
    kept: int = KEPT_CHECKPOINTS
    """How many of them, the newest ones."""

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Publish the state after ``step`` steps, and forget all but the newest ones."""
        staged = empty_folder(self.folder / f"step-{step:08d}.partial")
        save_state(staged, {"identity": self.identity, "step": step, **state})
        publish_folder(staged, self.folder / f"step-{step:08d}")
        for old in names(self.folder, "step-????????")[: -self.kept]:
            forget(old)

    def latest(self) -> dict[str, Any] | None:
        """The newest state of the same training, with its ``step``, if there is one."""
        return next(self.newest_first(), None)

    def newest_first(self) -> Iterator[dict[str, Any]]:
        """The states of the same training, each with its ``step``; raises ``DataError`` for a damaged one."""
        for path in reversed(names(self.folder, "step-????????")):
            tree = read_state(
                path, ("identity", "step"), what="a checkpoint", remedy=f"delete {path} and give the command again"
            )
            if tree["identity"] == self.identity:
                yield tree

    def forget(self) -> None:
        """Remove them all, when what they were for is published."""
        forget(self.folder)


@dataclass
class LossCurve:
    """Rows of a curve: step, seconds of training, and every number of the loss."""

    names: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)

    def add(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Another point."""
        self.names = ["step", "seconds", *values]
        self.rows.append([float(step), round(seconds, 2), *values.values()])

    def last(self) -> dict[str, float]:
        """The numbers of the last point; empty when there is none."""
        return dict(zip(self.names[2:], self.rows[-1][2:], strict=True)) if self.rows else {}

    def to_csv(self) -> str:
        """The whole curve."""
        text = io.StringIO()
        csv.writer(text).writerows([self.names, *self.rows])
        return text.getvalue()


class Events:
    """TensorBoard events of one model; those of steps from ``first_step`` on that are there already are dropped."""

    def __init__(self, layout: RunLayout, stage: str, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.stage = stage
        self._folder = layout.model(stage) / "tensorboard"
        self._writer: Any = SummaryWriter(str(growing_folder(self._folder)), purge_step=first_step)

    def add(self, step: int, values: dict[str, float]) -> None:
        """The numbers of a step, each under the model's name."""
        for name, value in values.items():
            self._writer.add_scalar(f"{self.stage}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
        publish_grown(self._folder)
