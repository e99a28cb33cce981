"""What a training tells of itself as it goes: curves that are published as CSV, and TensorBoard events."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from pipeline.contracts.naming import RunLayout


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
        self._writer: Any = SummaryWriter(str(layout.model(stage) / "tensorboard"), purge_step=first_step)

    def add(self, step: int, values: dict[str, float]) -> None:
        """The numbers of a step, each under the model's name."""
        for name, value in values.items():
            self._writer.add_scalar(f"{self.stage}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
