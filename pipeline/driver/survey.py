"""Where the stages of a run stand: done, unfinished or stale, by its ledgers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.contracts.errors import DataError
from pipeline.contracts.planes import FitShardReport, OwnFitReport
from pipeline.contracts.rendering import RenderedShard
from pipeline.contracts.stage import StageReport
from pipeline.run.current import Entry, why_stale
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES


@dataclass(frozen=True)
class StageState:
    """Where a stage of a run stands."""

    stage: str
    done: int
    """Work items finished: avatars of ``render`` and ``fit``, 1 for any other stage."""
    total: int
    failed: int = 0
    """Avatars that the ledgers list as failed."""
    stale: str = ""
    """Why what is published is not what this configuration would make; empty when it is."""
    behind: int = 0
    """Avatars of the run that a finished stage has not seen, because the run was extended after it."""

    @property
    def word(self) -> str:
        """``stale``, ``done``, ``unfinished`` or ``missing``."""
        if self.stale:
            return "stale"
        if self.done + self.failed >= self.total:
            return "done"
        return "unfinished" if self.done + self.failed else "missing"


def survey(run: Run, fingerprints: dict[str, str]) -> dict[str, StageState]:
    """Read every ledger of a run and say where each stage stands.

    What a stage read and is not there at the moment, such as a shard that was deleted to be rendered anew, makes it
    not stale: made again, it has the same bytes.
    """
    return {stage: _state(run, stage, fingerprints[stage]) for stage in STAGES}


def _state(run: Run, stage: str, fingerprint: str) -> StageState:
    entries = _entries(run, stage)
    stale = next((why for entry in entries if (why := why_stale(run, entry, fingerprint))), "")
    count = _count_of_run if STAGES[stage].per == "run" else _count_of_avatars
    return replace(count(run, stage, entries), stale=stale)


def _entries(run: Run, stage: str) -> Sequence[Entry]:
    if stage == "render":
        return tuple(run.render_reports().values())
    if stage == "fit":
        return tuple(run.fit_reports().values())
    if stage == "own":
        return tuple(run.own_reports().values())
    entry = run.decoder_report() if stage == "decoder" else run.stage_report(stage)
    return () if entry is None else (entry,)


def _count_of_avatars(run: Run, stage: str, entries: Sequence[Entry]) -> StageState:
    """Avatars done and failed; where photographs are read, of those that could be rendered."""
    wanted = set(range(run.config.render.num_avatars))
    done: set[int] = set()
    failed: set[int] = set()
    for entry in entries:
        if isinstance(entry, RenderedShard):
            done.update(entry.done)
        if isinstance(entry, FitShardReport):
            done.update(fit.avatar for fit in entry.fits)
        if isinstance(entry, RenderedShard | FitShardReport):
            failed.update(failure.avatar for failure in entry.failures)
        if isinstance(entry, OwnFitReport):
            done.update([entry.fit.avatar] if entry.fit is not None else [])
            failed.update([entry.failure.avatar] if entry.failure is not None else [])
    if stage == "render":
        if run.config.renders_from and not done:
            raise DataError(f"--renders {run.config.renders_from}: {run.rendered.renders} holds no shard")
        unrendered = 0
    else:
        unrendered = sum(len(report.failures) for report in run.render_reports().values())
    return StageState(stage, len(done & wanted), len(wanted) - unrendered, len(failed & wanted))


def _count_of_run(run: Run, stage: str, entries: Sequence[Entry]) -> StageState:
    behind = 0
    for entry in entries:
        if isinstance(entry, StageReport) and STAGES[stage].command == "train":
            trained = STAGES[stage].trained
            seen_all = len(run.config.training_avatars()) if trained else run.config.render.num_avatars
            seen = [avatar for avatar in entry.avatars if not (trained and run.config.is_held_out(avatar))]
            behind = max(0, seen_all - len(seen))
    return StageState(stage, len(entries), 1, behind=behind)
