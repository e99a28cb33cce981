"""The stages that a visit asks for as a graph of Ray tasks, as the table of stages says."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cluster.dag import Task
from cluster.session import SessionInfo
from pipeline.config.setting import value_of
from pipeline.contracts.errors import DataError
from pipeline.driver.request import Visit
from pipeline.driver.worker_group import Group, Node, do_task
from pipeline.io.files import visit_settings
from pipeline.run.current import Entry, is_done
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES, Stage, inputs_of
from pipeline.stages.work import WorkItem

CLUSTER_GROWS_S = 600.0
"""How long nodes of a cluster may take to join."""


def build_tasks(visit: Visit, fingerprints: dict[str, str], session: SessionInfo) -> list[Task]:
    """The stages as a graph of tasks, renders first.

    A task waits for all tasks of the stages before its own; a fit for its own shard's render and for the decoder
    only, so it begins while other shards still render.
    """
    graph = _Graph(visit, fingerprints, session)
    for stage in STAGES.values():
        if stage.name in visit.stages and not (stage.name == "render" and visit.config.renders_from):
            graph.add(stage)
    return [task for tasks in graph.tasks.values() for task in tasks]


def node_wait_s(visit: Visit) -> float:
    """How long to wait for large enough nodes: a cluster may still be growing, this machine does not."""
    return CLUSTER_GROWS_S if visit.address else 0.0


class _Graph:
    """Tasks by stage, made one stage after another."""

    def __init__(self, visit: Visit, fingerprints: dict[str, str], session: SessionInfo) -> None:
        self.visit, self.config, self.fingerprints, self.session = visit, visit.config, fingerprints, session
        self.storage = visit_settings()
        self.tasks: dict[str, list[Task]] = {}
        self.names: dict[str, list[str]] = {}
        """Of a stage's tasks, in order."""
        self.proofs: dict[str, tuple[Path, ...]] = {}
        """The ledger entries of each task and of all that it comes after."""
        self.done: set[str] = set()
        """Names of the tasks that are done, as all are that they come after."""

    def add(self, stage: Stage) -> None:
        """Make a stage's tasks; those of the stages before it are there."""
        tasks = self.tasks[stage.name] = [self._task(stage, number) for number in self._numbers(stage)]
        self.names[stage.name] = [task.name for task in tasks]
        if stage.name == "render" and self.session.is_local:
            self.tasks[stage.name] = self._released(tasks)

    def _task(self, stage: Stage, number: int) -> Task:
        item = WorkItem(
            self.visit.run,
            stage.name,
            self.fingerprints[stage.name],
            number,
            retry_failed=self.visit.retry_failed,
            storage=self.storage,
        )
        cpus, gpus = self._cpus(stage), self._gpus(stage)
        workers = self.config.train.workers if stage.trained else self.config.decoder.workers
        group = None
        if stage.trained or (stage.group_work and workers > 1):
            storage = self.visit.layout.scratch / "ray_train" / stage.name
            group = Group(workers, int(cpus), gpus, storage, node_wait_s(self.visit))
        name = item.name if stage.per == "run" else f"{stage.name}/{item.name}"
        after = self._after(stage, number)
        proofs = dict.fromkeys(entry for before in after for entry in self.proofs[before])
        self.proofs[name] = (*proofs, item.ledger)
        nothing_to_do = self.done.issuperset(after) and self._is_done(stage, item)
        if nothing_to_do:
            self.done.add(name)
        after = tuple(before for before in after if before not in self.done)
        return Task(
            name=name,
            stage=stage.name,
            function=do_task,
            item=Node(item, group, tuple(self.proofs[before] for before in after)),
            after=after,
            total=item.units,
            unit=stage.unit,
            num_cpus=cpus if group is None else 0.0,
            num_gpus=gpus if group is None else 0.0,
            node_kind=stage.node_kind,
            is_done=nothing_to_do,
        )

    def _is_done(self, stage: Stage, item: WorkItem) -> bool:
        """Whether there is nothing to do, as the visit's ledgers were when it began."""
        run, entry = self.visit.run, _entry(self.visit.run, stage, item.number)
        return entry is not None and is_done(run, entry, item.fingerprint, retry_failed=item.retry_failed)

    def _released(self, renders: list[Task]) -> list[Task]:
        """Renders of one machine, a few at a time.

        There Ray serves first what was ready first: the decoder and the fits, once ready, would wait until the whole
        population is rendered.
        """
        window = int(self.session.cpus // self.config.render.threads) + 1
        waiting = [task.name for task in renders if not task.is_done]
        before = dict(zip(waiting[window:], waiting, strict=False))
        return [replace(task, after=(before[task.name],)) if task.name in before else task for task in renders]

    def _numbers(self, stage: Stage) -> Iterable[int]:
        """Of a stage's work items; a run is one, with the number 0."""
        if stage.per == "run":
            return (0,)
        if stage.per == "avatar":
            return sorted(self.visit.run.render_sources())
        if stage.name == "render" or "render" in self.tasks:
            return range(self.config.render.num_shards)
        shards = sorted(self.visit.run.render_reports())
        if not shards:
            root = self.visit.layout.root
            raise DataError(
                f"{self.visit.layout.renders} holds no rendered shard; run rodin-pipe render --out {root} first"
            )
        return shards

    def _after(self, stage: Stage, number: int) -> tuple[str, ...]:
        if stage.name == "decoder":
            renders = self.names.get("render", [])
            shards = sorted({self.config.render.shard_of(avatar) for avatar in self.config.decoder_avatars()})
            return tuple(renders[shard] for shard in shards) if renders else ()
        if stage.per == "shard":
            return (*self.names.get("render", [])[number : number + 1], *self._last(inputs_of(stage.name)))
        return self._last(inputs_of(stage.name))

    def _last(self, stages: Iterable[str]) -> tuple[str, ...]:
        """Tasks of these stages; in place of a stage that the visit leaves out, those of the stages before it."""
        names: dict[str, None] = {}
        for stage in stages:
            found = self.names[stage] if stage in self.names else self._last(inputs_of(stage))
            names.update(dict.fromkeys(found))
        return tuple(names)

    def _cpus(self, stage: Stage) -> float:
        """CPUs to ask Ray for: a machine with fewer than a task has threads runs it all the same, only slower."""
        return float(max(1, min(int(value_of(self.config, stage.threads)), int(self.session.cpus))))

    def _gpus(self, stage: Stage) -> float:
        device = self.config.render.device if stage.name == "render" else self.config.device
        return 1.0 if self.session.gpus >= 1 and device != "cpu" else 0.0


def _entry(run: Run, stage: Stage, number: int) -> Entry | None:
    """What is published of a work item, if anything is."""
    if stage.name == "render":
        return run.render_reports().get(number)
    if stage.name == "fit":
        return run.fit_reports().get(number)
    if stage.name == "own":
        return run.own_reports().get(number)
    return run.decoder_report() if stage.name == "decoder" else run.stage_report(stage.name)
