"""One visit to a run: lock, survey, refuse what is stale, build the task graph, run it, write down what happened."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.dag import Task, TaskFailed, TaskResults, run_tasks
from cluster.progress import StageProgress
from cluster.session import SessionInfo, ray_session
from pipeline.blender_process import check_blender
from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard, num_shards, shard_avatars
from pipeline.contracts.stage import DriverReport
from pipeline.driver.survey import (
    StageState,
    apply_redo,
    disk_bytes,
    end_redo,
    expand_redo,
    refuse_bad_inputs,
    refuse_ingested,
    refuse_stale,
    survey,
)
from pipeline.driver.worker_group import GroupNode, decoder_node, train_node
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import PlaneStore, create_plane_store, extend_plane_store
from pipeline.io.publish import publish_text, run_lock
from pipeline.machine import available_bytes, require_disk
from pipeline.run.fingerprint import MODELS, STAGE_SECTIONS, stage_fingerprints
from pipeline.run.memory import TERMS, require_memory, side_by_side
from pipeline.run.provenance import decoder_report, fit_reports, render_reports, render_sources

CLUSTER_GROWS_S = 600.0
"""How long nodes of a cluster may take to join."""


@dataclass(frozen=True)
class Visit:
    """What a command asks of a run."""

    layout: RunLayout
    config: RunConfig
    stages: tuple[str, ...]
    command: str
    redo: tuple[str, ...] = ()
    retry_failed: bool = False
    address: str | None = None


@dataclass(frozen=True)
class VisitResult:
    """What came of it."""

    report: DriverReport
    results: TaskResults
    states: dict[str, StageState]
    """After the visit."""


def check(visit: Visit) -> tuple[dict[str, StageState], dict[str, str]]:
    """Survey the run and refuse what cannot or must not be done; nothing is written."""
    refuse_ingested(visit.config, visit.layout, visit.stages, visit.redo)
    fingerprints = stage_fingerprints(visit.config)
    states = survey(visit.config, visit.layout, fingerprints)
    redo = expand_redo(visit.redo, states)
    refuse_stale(states, visit.stages, redo, visit.config, visit.layout)
    refuse_bad_inputs(states, visit.stages, redo, visit.config, visit.layout)
    if "render" in visit.stages and visit.address is None and (states["render"].word != "done" or "render" in redo):
        # Of a cluster's nodes nothing is known here.
        check_blender(visit.config.render.python or sys.executable)
    _require_memory(visit, [stage for stage in visit.stages if states[stage].word != "done" or stage in redo])
    require_disk(visit.layout.root, sum(disk_bytes(visit.config, visit.stages, states).values()))
    return states, fingerprints


def _require_memory(visit: Visit, stages: Sequence[str]) -> None:
    """Refuse fits that this machine's memory does not hold side by side; on a cluster or a GPU each checks its own."""
    on_gpu = visit.config.device != "cpu" and Path("/dev/nvidia0").exists()
    if visit.address is not None or on_gpu:
        return
    for stage in TERMS.keys() & set(stages):
        processes = side_by_side(stage, visit.config, len(os.sched_getaffinity(0)))
        require_memory(stage, visit.config, available_bytes(), where="on this machine", processes=processes)


def carry_out(
    visit: Visit, display: Callable[[], AbstractContextManager[Callable[[StageProgress], None]]]
) -> VisitResult:
    """Do what the visit asks; goes on where an earlier one was interrupted.

    Raises ``RunLockedError``, ``StaleStageError``, ``ResourceError``; a failed task is in the result.
    """
    layout, config = visit.layout, visit.config
    layout.root.mkdir(parents=True, exist_ok=True)
    with run_lock(layout.lock):
        states, fingerprints = check(visit)
        apply_redo(expand_redo(visit.redo, states), layout, config, fingerprints)
        publish_text(layout.config, config.to_toml())
        started_at = time.time()
        with ray_session(visit.address) as session:
            prepare_plane_store(visit)
            write_ledger(layout.root / "ledger" / "driver" / "ray.json", _report(visit, started_at, session, {}, {}))
            tasks = build_tasks(visit, fingerprints, session)
            with display() as on_progress:
                results = run_tasks(tasks, on_progress=on_progress, wait_for_nodes_s=_node_wait_s(visit))
            stopping = time.monotonic()
        ray_stop_s = time.monotonic() - stopping
        failed = {name: result.reason for name, result in results.items() if isinstance(result, TaskFailed)}
        seconds = stage_seconds(tasks, results)
        if not failed:
            end_redo(layout)
        report = _report(visit, started_at, session, seconds, failed, ray_stop_s=ray_stop_s)
        write_ledger(layout.root / "ledger" / "driver" / f"{int(started_at)}-{os.getpid()}.json", report)
        return VisitResult(report, results, survey(config, layout, fingerprints))


def prepare_plane_store(visit: Visit) -> None:
    """Create the plane store at full size, or make room in it for more avatars, while no task runs.

    A store of another shape that no fit is published of is made anew, and so is one that nothing speaks of: the
    parts of a killed fit do, for the planes that they tell of stand in it.
    """
    if "fit" not in visit.stages:
        return
    layout, config, spec = visit.layout, visit.config, visit.config.plane_spec()
    parts = layout.work / "parts" / "fit"
    published = bool(fit_reports(config, layout))
    if published or (parts.exists() and layout.planes.exists() and PlaneStore.open(layout.planes).spec == spec):
        extend_plane_store(layout.planes, spec, config.render.num_avatars)
        return
    shutil.rmtree(parts, ignore_errors=True)
    decoder = decoder_report(layout)
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


def build_tasks(visit: Visit, fingerprints: dict[str, str], session: SessionInfo) -> list[Task]:
    """The stages as a graph of tasks, renders first.

    A fit waits for its own shard's render and for the decoder only, so it begins while other shards still render.
    """
    config = visit.config
    tasks: list[Task] = []
    stages = set(visit.stages)
    shards = range(num_shards(config.render.num_avatars, config.render.shard_size))
    renders = [f"render/{format_shard(s)}" for s in shards] if "render" in stages and not config.renders_from else []
    gpu = 1.0 if session.gpus >= 1 and config.device != "cpu" else 0.0
    render_gpu = 1.0 if session.gpus >= 1 and config.render.device != "cpu" else 0.0

    if renders:
        tasks += _render_tasks(visit, fingerprints["render"], session, render_gpu)
    if "fit" in stages:
        tasks += _fit_tasks(visit, fingerprints, session, gpu, renders)
    if "own" in stages:
        tasks += _own_tasks(visit, fingerprints["own"], session, gpu)
    fits = [task.name for task in tasks if task.stage == "fit"]

    after_encode = renders
    for stage in (s for s in STAGE_SECTIONS if s in stages and s in MODELS):
        if stage == "clip":
            after = renders
        elif stage == "encode":
            after = ["clip"] if "clip" in stages else renders
        else:
            after_encode = ["encode"] if "encode" in stages else renders
            after = after_encode if stage == "latent" else [*fits, *after_encode]
        tasks.append(_model_task(visit, stage, fingerprints, session, gpu, tuple(after)))
    models = tuple(task.name for task in tasks if task.stage in MODELS) or tuple(fits)
    if "generate" in stages:
        tasks.append(_generate_task(visit, fingerprints["generate"], session, gpu, models))
    if "evaluate" in stages:
        after = ["generate"] if "generate" in stages else list(models)
        tasks.append(_evaluate_task(visit, fingerprints["evaluate"], session, gpu, tuple(after)))
    return tasks


def _node_wait_s(visit: Visit) -> float:
    """How long to wait for large enough nodes: a cluster may still be growing, this machine does not."""
    return CLUSTER_GROWS_S if visit.address else 0.0


def _cpus(threads: int, session: SessionInfo) -> float:
    """CPUs to ask Ray for: a machine with fewer than a task has threads runs it all the same, only slower."""
    return float(max(1, min(threads, int(session.cpus))))


def _render_tasks(visit: Visit, fingerprint: str, session: SessionInfo, gpu: float) -> list[Task]:
    from pipeline.stages.render import RenderItem, render_shard

    config = visit.config
    window = int(session.cpus // config.render.threads) + 1
    return [
        Task(
            name=f"render/{format_shard(shard)}",
            stage="render",
            function=render_shard,
            item=RenderItem(visit.layout, config, shard, fingerprint, visit.retry_failed),
            # On one machine Ray serves first what was ready first. Renders are released a few at a time, so that the
            # decoder and the fits, once ready, need not wait until the whole population is rendered.
            after=(f"render/{format_shard(shard - window)}",) if session.is_local and shard >= window else (),
            total=len(shard_avatars(shard, config.render.shard_size, config.render.num_avatars)),
            num_cpus=_cpus(config.render.threads, session),
            num_gpus=gpu,
        )
        for shard in range(num_shards(config.render.num_avatars, config.render.shard_size))
    ]


def _fit_tasks(
    visit: Visit, fingerprints: dict[str, str], session: SessionInfo, gpu: float, renders: Sequence[str]
) -> list[Task]:
    from pipeline.stages.fit.decoder import fit_decoder, total_steps
    from pipeline.stages.fit.planes import FitItem, fit_shard
    from pipeline.stages.work import StageItem

    config, layout = visit.config, visit.layout
    of_shards = sorted({avatar // config.render.shard_size for avatar in config.decoder_avatars()})
    decoder = Task(
        name="decoder",
        stage="decoder",
        function=fit_decoder,
        item=StageItem(layout, config, fingerprints["decoder"]),
        after=tuple(renders[shard] for shard in of_shards) if renders else (),
        total=total_steps(config, len(config.decoder_avatars())),
        unit="step",
        num_cpus=_cpus(config.decoder.threads, session),
        num_gpus=gpu,
    )
    if config.decoder.workers > 1:
        node = _group_node(visit, "decoder", decoder.item, config.decoder.workers, config.decoder.threads, session, gpu)
        decoder = replace(decoder, function=decoder_node, item=node, num_cpus=0, num_gpus=0)
    shards = range(len(renders)) if renders else sorted(render_reports(config, layout))
    if not shards:
        raise DataError(f"{layout.renders} holds no rendered shard; run rodin-pipe render --out {layout.root} first")
    fits = [
        Task(
            name=f"fit/{format_shard(shard)}",
            stage="fit",
            function=fit_shard,
            item=FitItem(layout, config, shard, fingerprints["fit"], visit.retry_failed),
            after=(renders[shard], "decoder") if renders else ("decoder",),
            total=len(shard_avatars(shard, config.render.shard_size, config.render.num_avatars)),
            num_cpus=_cpus(config.fit.threads, session),
            num_gpus=gpu,
        )
        for shard in shards
    ]
    return [decoder, *fits]


def _own_tasks(visit: Visit, fingerprint: str, session: SessionInfo, gpu: float) -> list[Task]:
    from pipeline.stages.fit.own import OwnItem, fit_own

    config, layout = visit.config, visit.layout
    return [
        Task(
            name=f"own/{format_avatar(avatar)}",
            stage="own",
            function=fit_own,
            item=OwnItem(layout, config, avatar, fingerprint, visit.retry_failed),
            total=config.own.steps,
            unit="step",
            num_cpus=_cpus(config.fit.threads, session),
            num_gpus=gpu,
        )
        for avatar in sorted(render_sources(config, layout))
    ]


def _model_task(
    visit: Visit,
    stage: str,
    fingerprints: dict[str, str],
    session: SessionInfo,
    gpu: float,
    after: tuple[str, ...],
) -> Task:
    from pipeline.stages.encode import encode_avatars
    from pipeline.stages.train.loop import TrainItem
    from pipeline.stages.work import StageItem

    config, layout = visit.config, visit.layout
    if stage == "encode":
        return Task(
            name=stage,
            stage=stage,
            function=encode_avatars,
            item=StageItem(layout, config, fingerprints[stage]),
            after=after,
            total=config.render.num_avatars,
            num_gpus=gpu,
        )
    section: Any = getattr(config, stage)
    item = TrainItem(layout, config, fingerprints[stage], stage)
    node = _group_node(visit, stage, item, config.train.workers, config.train.cpus_per_worker, session, gpu)
    return Task(
        name=stage,
        stage=stage,
        function=train_node,
        item=node,
        after=after,
        total=section.steps,
        unit="step",
        num_cpus=0,
    )


def _group_node(
    visit: Visit, name: str, item: Any, workers: int, threads: int, session: SessionInfo, gpu: float
) -> GroupNode:
    return GroupNode(
        item=item,
        name=name,
        num_workers=workers,
        cpus_per_worker=int(_cpus(threads, session)),
        gpus_per_worker=gpu,
        storage=visit.layout.work / "ray_train" / name,
        wait_for_nodes_s=_node_wait_s(visit),
    )


def _generate_task(visit: Visit, fingerprint: str, session: SessionInfo, gpu: float, after: tuple[str, ...]) -> Task:
    from pipeline.stages.generate import generate_from_noise
    from pipeline.stages.work import StageItem

    config = visit.config
    return Task(
        name="generate",
        stage="generate",
        function=generate_from_noise,
        item=StageItem(visit.layout, config, fingerprint),
        after=after,
        total=config.generate.num,
        num_cpus=_cpus(config.fit.threads, session),
        num_gpus=gpu,
    )


def _evaluate_task(visit: Visit, fingerprint: str, session: SessionInfo, gpu: float, after: tuple[str, ...]) -> Task:
    from pipeline.stages.evaluate import evaluate_run
    from pipeline.stages.work import StageItem

    config = visit.config
    return Task(
        name="evaluate",
        stage="evaluate",
        function=evaluate_run,
        item=StageItem(visit.layout, config, fingerprint),
        after=after,
        total=1.0,
        unit="report",
        num_cpus=_cpus(config.fit.threads, session),
        num_gpus=gpu,
    )


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
