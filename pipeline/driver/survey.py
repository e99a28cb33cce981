"""What a command would do to a run: which stages are done, unfinished or stale, how much disk and time it takes."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.load import read_run_toml
from pipeline.config.run import RunConfig
from pipeline.contracts.conventions import PEOPLE_VERSION
from pipeline.contracts.errors import ConfigError, DataError, StaleStageError
from pipeline.contracts.naming import RunLayout, format_avatar, num_shards, shard_avatars
from pipeline.contracts.rendering import RenderReport
from pipeline.contracts.setting import value_of
from pipeline.io.plane_store import PlaneStore
from pipeline.io.publish import publish_text
from pipeline.io.shards import index_shard
from pipeline.run.fingerprint import MODELS, STAGE_INPUTS, STAGE_SECTIONS, settings_read, stages_after
from pipeline.run.provenance import (
    SINGLE_STAGES,
    decoder_report,
    fit_reports,
    own_reports,
    render_layout,
    render_reports,
    render_sources,
    stage_inputs,
    stage_report,
)

STAGES = tuple(STAGE_SECTIONS)
READ_RENDERS = ("render", "decoder", "fit", "own", "clip", "encode", "upsampler", "refiner", "generate", "evaluate")
"""Stages that read published shards; ``render`` does when it extends one."""
FIT_STAGES = ("decoder", "fit", "own")
"""The stages that an ingested run can go through."""
READ_PLANES = ("fit", "base", "upsampler", "refiner", "evaluate")
COMMANDS = {stage: f"train {stage}" for stage in MODELS} | {
    "render": "render",
    "decoder": "fit",
    "fit": "fit",
    "own": "fit --own-decoder",
    "generate": "run",
    "evaluate": "run",
}
"""The command that does a stage alone, or the smallest one that does it at all."""


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


def survey(config: RunConfig, layout: RunLayout, fingerprints: dict[str, str]) -> dict[str, StageState]:
    """Read every ledger of a run and say where each stage stands.

    What a stage read and is not there at the moment, such as a shard that was deleted to be rendered anew, makes it
    not stale: made again, it has the same bytes.
    """
    states = {
        "render": _render_state(config, layout, fingerprints["render"]),
        "decoder": _decoder_state(config, layout, fingerprints["decoder"]),
        "fit": _fit_state(config, layout, fingerprints["fit"]),
        "own": _own_state(config, layout, fingerprints["own"]),
    }
    for stage in SINGLE_STAGES:
        states[stage] = _single_state(stage, config, layout, fingerprints[stage])
    return states


def expand_redo(redo: Sequence[str], states: dict[str, StageState]) -> set[str]:
    """Stages named by ``--redo``, with all that depend on them.

    ``train`` names all models, and ``fit`` a stale decoder too, since it is fitted with the same settings.
    """
    named: set[str] = set()
    for name in redo:
        if name == "train":
            named.update(MODELS)
        elif name in STAGES:
            named.add(name)
        else:
            raise ConfigError(f"--redo {name}: there is no such stage; there are {', '.join(STAGES)} and train")
    if "fit" in named and states["decoder"].stale:
        named.add("decoder")
    return {after for stage in named for after in stages_after(stage)}


def refuse_ingested(config: RunConfig, layout: RunLayout, wanted: Iterable[str], redo: Iterable[str] = ()) -> None:
    """Raise ``ConfigError`` where an ingested run is asked for what only synthetic people have."""
    if config.is_ingested and "render" in redo:
        raise ConfigError(f"--redo render: {layout.root} was ingested from captures; use rodin-pipe ingest --redo")
    cannot = [stage for stage in wanted if config.is_ingested and stage not in FIT_STAGES]
    if not cannot:
        return
    if cannot == ["render"]:
        raise ConfigError(
            f"{layout.root} was ingested from captures, so there is nothing to render; to fit them: "
            f"rodin-pipe fit --own-decoder --out {layout.root}"
        )
    raise ConfigError(
        f"{layout.root} was ingested from captures, and stage {cannot[-1] if 'render' in cannot else cannot[0]} needs "
        "the frontal views and captions of rendered avatars: an ingested run can be fitted (rodin-pipe fit, with or "
        "without --own-decoder), viewed and exported"
    )


def refuse_stale(
    states: dict[str, StageState], wanted: Iterable[str], redo: set[str], config: RunConfig, layout: RunLayout
) -> None:
    """Raise ``StaleStageError`` naming the first stale stage that the command needs and was not told to redo."""
    needed = _with_inputs(wanted)
    for stage in STAGES:
        state = states[stage]
        if stage not in needed or not state.stale or stage in redo:
            continue
        changed = changed_keys(stage, config, layout)
        if stage == "render" and config.is_ingested:
            raise StaleStageError(
                f"the captures of {layout.root} were ingested otherwise ({', '.join(changed) or state.stale}); "
                "undo the change, or give it to rodin-pipe ingest with --redo"
            )
        why = f"configuration changed: {', '.join(changed)}" if changed else state.stale
        raise StaleStageError(
            f"stage {stage} of {layout.root} is stale ({why}); add --redo {'fit' if stage == 'decoder' else stage} "
            f"to do again {', '.join(s for s in stages_after(stage) if states[s].word != 'missing')}, "
            "or undo the change"
        )


def refuse_bad_inputs(
    states: dict[str, StageState], wanted: Iterable[str], redo: set[str], config: RunConfig, layout: RunLayout
) -> None:
    """Raise ``DataError`` where a stage to be done would find nothing, or something damaged, to read.

    Cheap: a shard is opened only if its size is not its ledger's or it was changed after that.
    """
    wanted = tuple(wanted)
    for stage in wanted:
        for needed in STAGE_INPUTS[stage]:
            if needed not in wanted and (states[needed].word == "missing" or needed in redo):
                command = COMMANDS[needed]
                if needed == "render" and config.is_ingested:
                    command = " ".join(("ingest", *config.ingest.captures))
                raise DataError(
                    f"stage {stage} needs stage {needed}, of which {layout.root} has nothing; "
                    f"run rodin-pipe {command} --out {layout.root} first"
                )
    to_do = {stage for stage in wanted if states[stage].word != "done" or stage in redo}
    if to_do.intersection(READ_RENDERS) and "render" not in redo:
        _check_shards(config, layout)
    if to_do.intersection(READ_PLANES) and "fit" not in redo:
        published = bool(fit_reports(config, layout))
        if published or layout.planes.exists():
            PlaneStore.open(layout.planes, config.plane_spec() if published else None)


def _check_shards(config: RunConfig, layout: RunLayout) -> None:
    for shard, report in render_reports(config, layout).items():
        tar = render_layout(config, layout).shard(shard)
        if not report.done:
            continue
        status = tar.stat() if tar.exists() else None
        if status and status.st_size == report.tar_bytes and status.st_mtime <= report.finished_at:
            continue
        # It may rightly hold more than the ledger says: a driver that extends a run can be killed between the two.
        lacking = set(report.done) - set(index_shard(tar).avatars)
        if lacking:
            raise DataError(
                f"{tar} lacks {format_avatar(min(lacking))}, which its ledger lists: render again with --redo render"
            )


def changed_keys(stage: str, config: RunConfig, layout: RunLayout) -> list[str]:
    """Which settings of a stage differ from the run's own ``run.toml``, as ``fit.steps 400 -> 500``."""
    if not layout.config.exists():
        return []
    old = read_run_toml(layout.config)
    settings = ("seed", *settings_read(stage, config))
    pairs = ((name, value_of(old, name), value_of(config, name)) for name in settings)
    return [f"{name} {before} -> {now}" for name, before, now in pairs if before != now]


def apply_redo(redo: set[str], layout: RunLayout, config: RunConfig, fingerprints: dict[str, str]) -> None:
    """Forget the ledgers, parts and checkpoints of the stages to be done again; what they published is replaced
    as it is made anew.

    A note says what is being done again until :func:`end_redo`, so that the same command, given again after it was
    killed, goes on instead of beginning anew.
    """
    if "render" in redo and config.renders_from:
        raise ConfigError(f"--redo render: the renders belong to {config.renders_from}; redo them there")
    note = _redo_note(layout)
    begun = json.loads(note.read_text("utf-8")) if note.exists() else {}
    for stage in redo:
        if begun.get(stage) == fingerprints[stage]:
            continue
        for folder in (
            layout.root / "ledger" / stage,
            layout.work / "parts" / stage,
            layout.work / "attempts" / stage,
            layout.model(stage) / "checkpoints",
        ):
            shutil.rmtree(folder, ignore_errors=True)
        if stage in ("decoder", "own"):
            shutil.rmtree(layout.work / stage, ignore_errors=True)
    if redo:
        publish_text(note, json.dumps(begun | {stage: fingerprints[stage] for stage in sorted(redo)}))


def end_redo(layout: RunLayout) -> None:
    """A visit did all it was asked for: the next ``--redo`` begins anew."""
    _redo_note(layout).unlink(missing_ok=True)


def _redo_note(layout: RunLayout) -> Path:
    return layout.work / "redo.json"


def disk_bytes(config: RunConfig, stages: Iterable[str], states: dict[str, StageState]) -> dict[str, int]:
    """Bytes that each stage will write, estimated from the configuration."""
    render, planes = config.render, config.planes
    pixels = render.resolution**2 * (render.train_views + render.held_out_views + 1)
    avatars_left = {s: states[s].total - states[s].done for s in ("render", "fit")}
    texels = 3 * planes.channels * (planes.resolution**2 + planes.base_resolution**2)
    unet = config.base.unet
    base_parameters = sum(2 * unet.blocks * 2 * 9 * 3 * (unet.width * m) ** 2 for m in unet.multipliers)
    estimates = {
        # Measured: RGBA and depth together take 2.1 bytes a pixel; a shard holds parts and tar while it is published.
        "render": int(2.1 * pixels * (avatars_left["render"] + render.shard_size)),
        "decoder": 4 * texels * 4 * config.decoder.avatars,
        "fit": 2 * texels * avatars_left["fit"],
        # Planes, their moments and one checkpoint of each avatar in work; planes and a few pictures stay.
        "own": (2 * texels + 4 * 2**20) * (states["own"].total - states["own"].done) + 12 * texels,
        "base": 4 * 4 * base_parameters,
        "upsampler": 4 * base_parameters,
    }
    return {stage: estimates.get(stage, 50 * 2**20) for stage in stages if states[stage].word != "done"}


def num_tasks(config: RunConfig, stages: Iterable[str]) -> int:
    """Ray tasks that the stages are."""
    shards = num_shards(config.render.num_avatars, config.render.shard_size)
    counts = {"render": shards, "fit": shards, "own": config.render.num_avatars}
    return sum(counts.get(stage, 1) for stage in stages)


def _with_inputs(wanted: Iterable[str]) -> set[str]:
    needed = set(wanted)
    for stage in reversed(STAGES):
        if stage in needed:
            needed.update(STAGE_INPUTS[stage])
    return needed


def _render_state(config: RunConfig, layout: RunLayout, fingerprint: str) -> StageState:
    done = failed = 0
    stale = ""
    wanted = set(range(config.render.num_avatars))
    for report in render_reports(config, layout).values():
        if report.fingerprint != fingerprint:
            stale = stale or _why_stale(report)
        done += len(wanted.intersection(report.done))
        failed += len(wanted.intersection(f.avatar for f in report.failures))
    if config.renders_from and not done:
        raise DataError(f"--renders {config.renders_from}: {render_layout(config, layout).renders} holds no shard")
    return StageState("render", done, config.render.num_avatars, failed, stale)


def _why_stale(report: RenderReport) -> str:
    if not report.captures and report.people_version != PEOPLE_VERSION:
        return (
            f"its people are of version {report.people_version}, and this program makes version {PEOPLE_VERSION}: "
            "render in a new folder, or go on with the version of rodin-pipe that made it"
        )
    return "made with another configuration"


def _decoder_state(config: RunConfig, layout: RunLayout, fingerprint: str) -> StageState:
    report = decoder_report(layout)
    if report is None:
        return StageState("decoder", 0, 1)
    sources, shards = render_sources(config, layout), render_reports(config, layout)
    there = [a for a in report.avatars if a // config.render.shard_size in shards]
    stale = ""
    if report.fingerprint != fingerprint:
        stale = "made with another configuration"
    elif any(report.sources[format_avatar(a)] != sources.get(a) for a in there):
        stale = "its renders changed"
    return StageState("decoder", 1, 1, stale=stale)


def _fit_state(config: RunConfig, layout: RunLayout, fingerprint: str) -> StageState:
    decoder, sources = decoder_report(layout), render_sources(config, layout)
    renders = render_reports(config, layout)
    done = failed = 0
    stale = ""
    for shard, report in fit_reports(config, layout).items():
        wanted = set(shard_avatars(shard, config.render.shard_size, config.render.num_avatars))
        if report.fingerprint != fingerprint:
            stale = stale or "made with another configuration"
        elif decoder is not None and report.decoder_sha256 != decoder.decoder_sha256:
            stale = stale or "made with another decoder"
        elif shard in renders and any(sources.get(fit.avatar) != fit.source_sha256 for fit in report.fits):
            stale = stale or "its renders changed"
        done += sum(fit.avatar in wanted for fit in report.fits)
        failed += sum(failure.avatar in wanted for failure in report.failures)
    unrendered = sum(len(report.failures) for report in renders.values())
    return StageState("fit", done, config.render.num_avatars - unrendered, failed, stale)


def _own_state(config: RunConfig, layout: RunLayout, fingerprint: str) -> StageState:
    sources = render_sources(config, layout)
    done = failed = 0
    stale = ""
    for avatar, report in own_reports(config, layout).items():
        if report.fingerprint != fingerprint:
            stale = stale or "made with another configuration"
        elif avatar in sources and report.source_sha256 != sources[avatar]:
            stale = stale or "its renders changed"
        done += report.fit is not None
        failed += report.failure is not None
    unrendered = sum(len(report.failures) for report in render_reports(config, layout).values())
    return StageState("own", done, config.render.num_avatars - unrendered, failed, stale)


def _single_state(stage: str, config: RunConfig, layout: RunLayout, fingerprint: str) -> StageState:
    report = stage_report(layout, stage)
    if report is None:
        return StageState(stage, 0, 1)
    stale = ""
    if report.fingerprint != fingerprint:
        stale = "made with another configuration"
    else:
        now = stage_inputs(stage, config, layout, report.avatars)
        shards = {avatar // config.render.shard_size for avatar in report.avatars}
        there = {name for name, sha256 in now.items() if sha256} - {
            name
            for name, published in (("renders", render_reports), ("planes", fit_reports))
            if name in now and not shards <= set(published(config, layout))
        }
        changed = sorted(name for name in there if report.inputs.get(name) != now[name])
        if changed:
            stale = f"{' and '.join(changed)} changed"
    seen_all = config.render.num_avatars if stage == "encode" else len(config.training_avatars())
    behind = max(0, seen_all - len(report.avatars)) if stage in MODELS else 0
    return StageState(stage, 1, 1, stale=stale, behind=behind)


def directory_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
