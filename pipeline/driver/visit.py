"""One visit to a run: lock, survey, refuse what is stale, build the task graph, run it, write down what happened."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from cluster.dag import Task, TaskFailed, TaskResults, run_tasks
from cluster.metrics import ProgressMetrics
from cluster.progress import StageProgress
from cluster.session import SessionInfo, ray_session
from pipeline.blender_process import check_blender
from pipeline.config.load import toml_of_run
from pipeline.contracts.stage import DriverReport
from pipeline.driver.estimate import disk_bytes
from pipeline.driver.redo import apply_redo, end_redo, expand_redo
from pipeline.driver.refusal import refuse_bad_inputs, refuse_ingested, refuse_stale
from pipeline.driver.request import Visit
from pipeline.driver.survey import StageState, survey
from pipeline.driver.tasks import build_tasks, node_wait_s
from pipeline.io.files import exists, forget, make_folder, own_disk
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import PlaneStore, create_plane_store, extend_plane_store
from pipeline.io.publish import publish_text
from pipeline.io.run_lock import run_lock
from pipeline.machine import available_bytes, require_disk
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.memory_check import require_memory, side_by_side
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES


@dataclass(frozen=True)
class VisitResult:
    """What came of it."""

    report: DriverReport
    results: TaskResults
    states: dict[str, StageState]
    """After the visit."""
    run: Run
    """As its ledgers were after the visit."""


def check(visit: Visit) -> tuple[dict[str, StageState], dict[str, str]]:
    """Survey the run and refuse what cannot or must not be done; nothing is written.

    Many questions: given a snapshot of the run, each ledger is read once.
    """
    refuse_ingested(visit.run, visit.stages, visit.redo)
    fingerprints = stage_fingerprints(visit.config)
    states = survey(visit.run, fingerprints)
    redo = expand_redo(visit.redo, states)
    refuse_stale(states, visit.stages, redo, visit.run)
    refuse_bad_inputs(states, visit.stages, redo, visit.run)
    if "render" in visit.stages and visit.address is None and (states["render"].word != "done" or "render" in redo):
        # Of a cluster's nodes nothing is known here.
        check_blender(visit.config.render.python or sys.executable)
    return states, fingerprints


def require_machine(visit: Visit, states: dict[str, StageState]) -> None:
    """Refuse what this machine has not the memory or the disk for, with ``ResourceError``."""
    redo = expand_redo(visit.redo, states)
    _require_memory(visit, [stage for stage in visit.stages if states[stage].word != "done" or stage in redo])
    disk = own_disk(visit.layout.root)
    if disk is not None:
        require_disk(disk, sum(disk_bytes(visit.config, visit.stages, states).values()))


def _require_memory(visit: Visit, stages: Sequence[str]) -> None:
    """Refuse fits that this machine's memory does not hold side by side; on a cluster or a GPU each checks its own."""
    on_gpu = visit.config.device != "cpu" and Path("/dev/nvidia0").exists()
    if visit.address is not None or on_gpu:
        return
    for stage in (name for name in stages if STAGES[name].memory is not None):
        processes = side_by_side(stage, visit.config, len(os.sched_getaffinity(0)))
        require_memory(stage, visit.config, available_bytes(), where="on this machine", processes=processes)


def carry_out(
    visit: Visit,
    display: Callable[[], AbstractContextManager[Callable[[StageProgress], None]]],
    on_line: Callable[[str], None] | None = None,
) -> VisitResult:
    """Do what the visit asks; goes on where an earlier one was interrupted.

    ``on_line`` is told of nodes that die and, on a cluster, of each task that ended: where, and after how many seconds.

    Raises ``RunLockedError``, ``StaleStageError``, ``ResourceError``; a failed task is in the result.
    """
    layout, config = visit.layout, visit.config
    make_folder(layout.root)
    with run_lock(layout.lock):
        before = visit.snapshot()
        states, fingerprints = check(before)
        require_machine(before, states)
        redo = expand_redo(visit.redo, states)
        apply_redo(redo, visit.run, fingerprints)
        if redo:  # their ledgers were forgotten
            before = visit.snapshot()
        publish_text(layout.config, toml_of_run(config))
        started_at = time.time()
        with ray_session(visit.address) as session:
            prepare_plane_store(before)
            write_ledger(layout.ledger("driver", "ray"), _report(visit, started_at, session, {}, {}))
            tasks = build_tasks(before, fingerprints, session)
            with display() as show:
                results = run_tasks(
                    tasks,
                    on_progress=show if session.is_local else _also_as_metrics(show, layout.root),
                    on_loss=on_line,
                    on_ended=None if session.is_local else on_line,
                    wait_for_nodes_s=node_wait_s(visit),
                )
            stopping = time.monotonic()
        ray_stop_s = time.monotonic() - stopping
        failed = {name: result.reason for name, result in results.items() if isinstance(result, TaskFailed)}
        seconds = stage_seconds(tasks, results)
        if not failed:
            end_redo(layout)
        report = _report(visit, started_at, session, seconds, failed, ray_stop_s=ray_stop_s)
        write_ledger(layout.ledger("driver", f"{int(started_at)}-{os.getpid()}"), report)
        after = visit.snapshot().run
        return VisitResult(report, results, survey(after, fingerprints), after)


def _also_as_metrics(show: Callable[[StageProgress], None], root: Path) -> Callable[[StageProgress], None]:
    """Progress on a cluster, where its metrics are collected."""
    metrics = ProgressMetrics(str(root))

    def both(stage: StageProgress) -> None:
        show(stage)
        metrics.show(stage)

    return both


def prepare_plane_store(visit: Visit) -> None:
    """Create the plane store at full size, or make room in it for more avatars, while no task runs.

    A store of another shape that no fit is published of is made anew, and so is one that nothing speaks of: the
    parts of a killed fit do, for the planes that they tell of stand in it.
    """
    if "fit" not in visit.stages:
        return
    layout, config, spec = visit.layout, visit.config, visit.config.plane_spec()
    parts = layout.all_parts("fit")
    published = bool(visit.run.fit_reports())
    if published or (exists(parts) and exists(layout.planes) and PlaneStore.open(layout.planes).spec == spec):
        extend_plane_store(layout.planes, spec, config.render.num_avatars)
        return
    forget(parts)
    decoder = visit.run.decoder_report()
    create_plane_store(
        layout.planes, spec, config.render.num_avatars, decoder.decoder_sha256 if decoder is not None else None
    )


def stage_seconds(tasks: Sequence[Task], results: TaskResults) -> dict[str, float]:
    """Wall seconds of each stage from the begin of its first task to the end of its last."""
    spans: dict[str, tuple[float, float]] = {}
    for task in tasks:
        timing = results.timings.get(task.name)
        if timing is not None:
            begun, ended = spans.get(task.stage, (timing.begun_at, timing.ended_at))
            spans[task.stage] = (min(begun, timing.begun_at), max(ended, timing.ended_at))
    return {stage: round(ended - begun, 2) for stage, (begun, ended) in spans.items()}


def _report(
    visit: Visit,
    started_at: float,
    session: SessionInfo,
    stages: dict[str, float],
    failed: dict[str, str],
    *,
    ray_stop_s: float = 0.0,
) -> DriverReport:
    return DriverReport(
        command=visit.command,
        started_at=started_at,
        finished_at=time.time(),
        ray_start_s=session.start_seconds,
        ray_stop_s=ray_stop_s,
        stages=stages,
        failed_tasks=failed,
        cpus=session.cpus,
        gpus=session.gpus,
    )
