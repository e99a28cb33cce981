"""The stages of a run as one table: what each reads, what of the configuration it depends on, who does it.

Everything else that is to be known of the graph of stages is derived from these rows. A new stage is a row here, a
section of the configuration and the module that does the work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline.config.run import RunConfig
from pipeline.contracts.planes import DecoderReport, FitShardReport, OwnFitReport
from pipeline.contracts.record import Record
from pipeline.contracts.rendering import RenderReport
from pipeline.contracts.stage import StageReport
from pipeline.run.memory import Terms, decoder_terms, fit_terms, own_terms


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of a section that a stage's output depends on: all, only some, or all but some."""

    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.only if self.only else name not in self.but


ALL: Final = Fields()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row: a stage of a run."""

    name: str
    per: Literal["shard", "avatar", "run"]
    """What one work item of it is."""
    sections: Mapping[str, Fields]
    """Of the configuration, what its output depends on besides what it reads; operational settings never count."""
    ingested_sections: Mapping[str, Fields] | None = None
    """The same in a run of captures, where it is something else."""
    reads: tuple[str, ...] = ()
    """The stages whose output it depends on: their hashes are in its ledger."""
    opens: tuple[str, ...] = ()
    """Stages whose output it opens besides, for what no hash of them decides (cameras, a portrait to show)."""
    ledger: type[Record] = StageReport
    """The entry that proves a work item done."""
    command: Literal["render", "fit", "fit --own-decoder", "train", "run"]
    """What people type to have it done alone, or the smallest command that does it at all."""
    trained: bool = False
    """A model with weights, learned by its recipe in steps of the section of its name."""
    on_captures: bool = False
    """An ingested run can go through it."""
    wanted: Callable[[RunConfig], bool] = field(default=lambda config: True)
    """Where a configuration does not want it, it is done only if it is named, and nothing depends on it."""
    on_request: bool = False
    """``rodin-pipe run`` leaves it out."""
    work: str = ""
    """``module:function`` of (item, progress) that does a work item. A name, since a driver imports no torch before it
    has to."""
    group_work: str = ""
    """The same of (item, context): one worker's part of a work item that a group shares."""
    needs_all: bool = False
    """Refused where a task before it failed; others go on with what is there."""
    total: Callable[[RunConfig], float] = field(default=lambda config: 1.0)
    """How much a work item is, in ``unit``."""
    unit: str = "avatar"
    node_kind: Literal["render", "train"] = "train"
    """Of a cluster's nodes, which take it: they have the packages of the extra of that name."""
    threads: str = "fit.threads"
    """The setting that says how many threads a work item has."""
    memory: Callable[[RunConfig], Terms] | None = None
    """Most bytes of one process, by what they are for, where that is known beforehand."""

    @property
    def shown_command(self) -> str:
        """The command with its argument, as people type it."""
        return f"train {self.name}" if self.command == "train" else self.command


def _trained(
    name: str,
    *,
    reads: tuple[str, ...],
    opens: tuple[str, ...] = (),
    wanted: Callable[[RunConfig], bool] = lambda config: True,
    sections: dict[str, Fields] | None = None,
) -> Stage:
    return Stage(
        wanted=wanted,
        name=name,
        per="run",
        sections={"train": ALL, name: ALL, **(sections or {})},
        reads=reads,
        opens=opens,
        command="train",
        trained=True,
        group_work="pipeline.stages.train.loop:train_loop",
        needs_all=True,
        total=lambda config: float(getattr(config, name).steps),
        unit="step",
        threads="train.cpus_per_worker",
    )


STAGES: Final[dict[str, Stage]] = {
    stage.name: stage
    for stage in (
        Stage(
            name="render",
            per="shard",
            # Whether captures stand in place of renders is what decides what else is read.
            sections={"render": ALL, "ingest": Fields(only=("sha256",))},
            ingested_sections={
                "ingest": ALL,
                "render": Fields(only=("extent_m", "held_out_every", "shard_size")),
            },
            ledger=RenderReport,
            command="render",
            work="pipeline.stages.render:render_shard",
            node_kind="render",
            threads="render.threads",
        ),
        Stage(
            name="decoder",
            per="run",
            sections={
                "planes": ALL,
                "decoder": ALL,
                "fit": Fields(
                    but=("start", "steps", "min_psnr", "render_samples", "threads", "precision", "compile", "fused")
                ),
                "train": Fields(only=("start_from_sha256",)),
            },
            reads=("render",),
            ledger=DecoderReport,
            command="fit",
            on_captures=True,
            work="pipeline.stages.fit.decoder:fit_decoder",
            group_work="pipeline.stages.fit.decoder:fit_decoder_share",
            # A decoder that is given is taken in one.
            total=lambda config: float(max(1, decoder_steps(config, len(config.decoder_avatars())))),
            unit="step",
            threads="decoder.threads",
            memory=decoder_terms,
        ),
        Stage(
            name="fit",
            per="shard",
            sections={"planes": ALL, "fit": ALL},
            reads=("render", "decoder"),
            ledger=FitShardReport,
            command="fit",
            on_captures=True,
            work="pipeline.stages.fit.planes:fit_shard",
            memory=lambda config: fit_terms(config, batch=max(1, config.fit.batch)),
        ),
        Stage(
            name="own",
            per="avatar",
            sections={
                "planes": Fields(but=("base_resolution",)),
                "decoder": Fields(but=("avatars", "min_avatars", "steps_per_avatar", "threads", "workers")),
                "fit": Fields(but=("start", "steps", "min_psnr", "precision", "compile", "fused")),
                "own": ALL,
            },
            reads=("render",),
            ledger=OwnFitReport,
            command="fit --own-decoder",
            on_captures=True,
            on_request=True,
            work="pipeline.stages.fit.own:fit_own",
            total=lambda config: float(config.own.steps),
            unit="step",
            memory=own_terms,
        ),
        _trained("clip", reads=("render",)),
        Stage(
            name="encode",
            per="run",
            sections={
                "fit": Fields(only=("threads",)),
                "train": Fields(only=("mirror",)),
                "latent": Fields(only=("sentences", "drawn_people")),
            },
            reads=("render", "clip"),
            command="train",
            work="pipeline.stages.encode:encode_avatars",
            total=lambda config: float(config.render.num_avatars),
        ),
        _trained("base", reads=("fit", "encode"), opens=("render", "decoder")),
        _trained("upsampler", reads=("fit", "decoder", "encode"), opens=("render",)),
        _trained("latent", reads=("encode",)),
        _trained("frontal", reads=("render", "encode"), wanted=lambda config: config.generate.frontal_steps > 0),
        _trained(
            "head",
            reads=("render",),
            wanted=lambda config: config.generate.head_steps > 0,
            sections={"frontal": Fields(only=("side",))},
        ),
        _trained("refiner", reads=("render", "fit", "decoder", "encode")),
        Stage(
            name="generate",
            per="run",
            sections={"generate": ALL},
            reads=("decoder", "clip", "base", "upsampler", "latent", "frontal", "head", "refiner"),
            opens=("render",),
            command="run",
            work="pipeline.stages.generate:generate_from_noise",
            total=lambda config: float(config.generate.num),
        ),
        Stage(
            name="evaluate",
            per="run",
            sections={"evaluate": ALL},
            reads=("render", "fit", "decoder", "clip", "generate"),
            command="run",
            work="pipeline.stages.evaluate:evaluate_run",
            unit="report",
        ),
    )
}
"""All stages, in an order in which each comes after those that it reads."""


def decoder_steps(config: RunConfig, avatars: int) -> int:
    """Optimiser steps of the joint fit of so many avatars, in each of which all workers take part."""
    return config.decoder.steps_per_avatar * -(-avatars // config.decoder.workers)


def stages_before(name: str) -> set[str]:
    """All stages that a stage depends on, directly or not."""
    reads = STAGES[name].reads
    return set(reads).union(*(stages_before(before) for before in reads))


def inputs_of(name: str) -> tuple[str, ...]:
    """The stages that a stage follows directly: of those it reads, the ones that no other of them depends on."""
    reads = STAGES[name].reads
    implied = set[str]().union(*(stages_before(before) for before in reads))
    return tuple(before for before in reads if before not in implied)


def stages_after(name: str) -> tuple[str, ...]:
    """The stage itself and all that depend on it, in order."""
    return tuple(stage for stage in STAGES if stage == name or name in stages_before(stage))


def stages_of(command: Literal["run", "train"]) -> tuple[str, ...]:
    """The stages that ``rodin-pipe run`` or ``rodin-pipe train`` does, in order."""
    if command == "run":
        return tuple(name for name, stage in STAGES.items() if not stage.on_request)
    return tuple(name for name, stage in STAGES.items() if stage.command == "train")


def wanted_of(stages: tuple[str, ...], config: RunConfig) -> tuple[str, ...]:
    """Of these stages those that a configuration wants; all of them where it wants none, since somebody named them."""
    return tuple(stage for stage in stages if STAGES[stage].wanted(config)) or stages


def single_stages() -> tuple[str, ...]:
    """Stages that are one piece of work, with one :class:`StageReport`."""
    return tuple(name for name, stage in STAGES.items() if stage.ledger is StageReport)


def trained_models() -> tuple[str, ...]:
    """Stages that learn weights."""
    return tuple(name for name, stage in STAGES.items() if stage.trained)


def opens(name: str, other: str) -> bool:
    """Whether a stage opens what another one, or an earlier visit of its own, has published."""
    stage = STAGES[name]
    return other in (name, *stage.reads, *stage.opens)
