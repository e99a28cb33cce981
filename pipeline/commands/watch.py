"""``rodin-pipe inspect --watch``: how far a run is that somebody else drives, by its ledgers alone.

So it works from any machine that can read the run. What is in work is seen once it is published, shard by shard; a
training, once it has ended.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.progress import RATE_CHANGES, RATE_WINDOW_S, StageProgress
from pipeline.driver.survey import StageState, survey
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES

EVERY_S = 5.0
"""Seconds between two looks at the ledgers."""


def watch_run(
    run: Run,
    show: Callable[[StageProgress], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Look every ``EVERY_S`` seconds until all that ``rodin-pipe run`` does is done; ``show`` is told of each stage.

    Raises ``DataError`` for a ledger entry that is damaged.
    """
    fingerprints = stage_fingerprints(run.config)
    seen: dict[str, _Seen] = {}
    while True:
        states = {name: state for name, state in survey(run.snapshot(), fingerprints).items() if _is_asked(run, state)}
        at = now()
        for name, state in states.items():
            show(seen.setdefault(name, _Seen(at)).progress(state, at))
        if all(state.word == "done" for state in states.values()):
            return
        sleep(EVERY_S)


def _is_asked(run: Run, state: StageState) -> bool:
    """Whether ``rodin-pipe run`` would do it, or somebody has begun it."""
    stage = STAGES[state.stage]
    return (stage.wanted(run.config) and not stage.on_request) or state.done + state.failed > 0


@dataclass
class _Seen:
    """What was seen of a stage."""

    begun_at: float
    changes: deque[tuple[float, int]] = field(default_factory=deque)
    """(time, done) at the changes that were seen, the oldest first."""

    def progress(self, state: StageState, now: float) -> StageProgress:
        """A stage as the display takes it: the rate is that of what was published while it was watched."""
        if not self.changes or self.changes[-1][1] != state.done:
            self.changes.append((now, state.done))
        while len(self.changes) > RATE_CHANGES and self.changes[1][0] <= now - RATE_WINDOW_S:
            self.changes.popleft()
        (since, before), (_, done) = self.changes[0], self.changes[-1]
        rate = (done - before) / (now - since) if now > since and done > before else None
        left = state.total - state.done - state.failed
        is_one = STAGES[state.stage].per == "run"
        return StageProgress(
            stage=state.stage,
            done=state.done,
            total=state.total - state.failed,
            unit="stage" if is_one else "avatar",
            running=(state.stage,) if left > 0 else (),
            tasks_done=int(left <= 0),
            tasks_failed=0,
            num_tasks=1,
            elapsed_s=now - self.begun_at,
            rate_per_s=rate,
            eta_s=left / rate if rate and left > 0 else None,
        )
