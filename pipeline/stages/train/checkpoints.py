"""Checkpoints of a training: what a restart goes on from, marked with the configuration and data that it is of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.io.files import forget, names
from pipeline.io.publish import empty_folder, publish_folder
from rodin_models.checkpoint import load_state, save_state

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
        """The states of the same training, each with its ``step``."""
        for path in reversed(names(self.folder, "step-????????")):
            tree: dict[str, Any] = load_state(path)
            if tree["identity"] == self.identity:
                yield tree

    def forget(self) -> None:
        """Remove them all, when what they were for is published."""
        forget(self.folder)
