"""The stages that a visit asks for as a graph of Ray tasks, as the table of stages says."""

from collections.abc import Iterable

from cluster.dag import Task
from cluster.session import SessionInfo
from pipeline.config.setting import value_of
from pipeline.contracts.errors import DataError
from pipeline.driver.request import Visit
from pipeline.driver.worker_group import Group, Node, do_work
from pipeline.io.files import visit_settings
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
        self.tasks: dict[str, list[Task]] = {}

    def add(self, stage: Stage) -> None:
        """Make a stage's tasks; those of the stages before it are there."""
        self.tasks[stage.name] = [self._task(stage, number) for number in self._numbers(stage)]

    def _task(self, stage: Stage, number: int) -> Task:
        item = WorkItem(
            self.visit.run,
            stage.name,
            self.fingerprints[stage.name],
            number,
            retry_failed=self.visit.retry_failed,
            storage=visit_settings(),
        )
        cpus, gpus = self._cpus(stage), self._gpus(stage)
        workers = self.config.train.workers if stage.trained else self.config.decoder.workers
        group = None
        if stage.trained or (stage.group_work and workers > 1):
            storage = self.visit.layout.scratch / "ray_train" / stage.name
            group = Group(workers, int(cpus), gpus, storage, node_wait_s(self.visit))
        return Task(
            name=item.name if stage.per == "run" else f"{stage.name}/{item.name}",
            stage=stage.name,
            function=do_work,
            item=Node(item, group),
            after=self._after(stage, number),
            total=item.units,
            unit=stage.unit,
            num_cpus=cpus if group is None else 0.0,
            num_gpus=gpus if group is None else 0.0,
        )

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
        if stage.name == "render":
            # On one machine Ray serves first what was ready first. Renders are released a few at a time, so that the
            # decoder and the fits, once ready, need not wait until the whole population is rendered.
            window = int(self.session.cpus // self.config.render.threads) + 1
            before = WorkItem(self.visit.run, "render", "", max(0, number - window)).name
            return (f"render/{before}",) if self.session.is_local and number >= window else ()
        if stage.name == "decoder":
            renders = self._names("render")
            shards = sorted({self.config.render.shard_of(avatar) for avatar in self.config.decoder_avatars()})
            return tuple(renders[shard] for shard in shards) if renders else ()
        if stage.per == "shard":
            return (*self._names("render")[number : number + 1], *self._last(inputs_of(stage.name)))
        return self._last(inputs_of(stage.name))

    def _names(self, stage: str) -> list[str]:
        """Names of a stage's tasks, in order."""
        return [task.name for task in self.tasks.get(stage, ())]

    def _last(self, stages: Iterable[str]) -> tuple[str, ...]:
        """Tasks of these stages; in place of a stage that the visit leaves out, those of the stages before it."""
        names: dict[str, None] = {}
        for stage in stages:
            found = self._names(stage) if stage in self.tasks else self._last(inputs_of(stage))
            names.update(dict.fromkeys(found))
        return tuple(names)

    def _cpus(self, stage: Stage) -> float:
        """CPUs to ask Ray for: a machine with fewer than a task has threads runs it all the same, only slower."""
        return float(max(1, min(int(value_of(self.config, stage.threads)), int(self.session.cpus))))

    def _gpus(self, stage: Stage) -> float:
        device = self.config.render.device if stage.name == "render" else self.config.device
        return 1.0 if self.session.gpus >= 1 and device != "cpu" else 0.0
