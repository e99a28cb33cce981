"""What a visit may not do, told before anything is written: stale stages, missing or damaged inputs."""

from collections.abc import Iterable

from pipeline.config.setting import value_of
from pipeline.contracts.errors import ConfigError, DataError, StaleStageError
from pipeline.driver.survey import StageState
from pipeline.io.files import exists
from pipeline.io.plane_store import PlaneStore
from pipeline.run.existing import written_config
from pipeline.run.fingerprint import settings_read
from pipeline.run.published import find_damage
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES, inputs_of, opens, stages_after


def refuse_ingested(run: Run, wanted: Iterable[str], redo: Iterable[str] = ()) -> None:
    """Raise ``ConfigError`` where an ingested run is asked for what only synthetic people have."""
    if run.config.is_ingested and "render" in redo:
        raise ConfigError(f"--redo render: {run.layout.root} was ingested from captures; use rodin-pipe ingest --redo")
    cannot = [stage for stage in wanted if run.config.is_ingested and not STAGES[stage].on_captures]
    if not cannot:
        return
    if cannot == ["render"]:
        raise ConfigError(
            f"{run.layout.root} was ingested from captures, so there is nothing to render; to fit them: "
            f"rodin-pipe fit --own-decoder --out {run.layout.root}"
        )
    raise ConfigError(
        f"{run.layout.root} was ingested from captures, and stage {cannot[-1] if 'render' in cannot else cannot[0]} "
        "needs the frontal views and captions of rendered avatars: an ingested run can be fitted (rodin-pipe fit, with "
        "or without --own-decoder), viewed and exported"
    )


def refuse_stale(states: dict[str, StageState], wanted: Iterable[str], redo: set[str], run: Run) -> None:
    """Raise ``StaleStageError`` naming the first stale stage that the command needs and was not told to redo."""
    needed = _with_inputs(wanted)
    for stage in STAGES:
        state = states[stage]
        if stage not in needed or not state.stale or stage in redo:
            continue
        changed = changed_keys(stage, run)
        if stage == "render" and run.config.is_ingested:
            raise StaleStageError(
                f"the captures of {run.layout.root} were ingested otherwise ({', '.join(changed) or state.stale}); "
                "undo the change, or give it to rodin-pipe ingest with --redo"
            )
        why = f"configuration changed: {', '.join(changed)}" if changed else state.stale
        raise StaleStageError(
            f"stage {stage} of {run.layout.root} is stale ({why}); add --redo {'fit' if stage == 'decoder' else stage} "
            f"to do again {', '.join(s for s in stages_after(stage) if states[s].word != 'missing')}, "
            "or undo the change"
        )


def refuse_bad_inputs(states: dict[str, StageState], wanted: Iterable[str], redo: set[str], run: Run) -> None:
    """Raise ``DataError`` where a stage to be done would find nothing, or something damaged, to read, and where what a
    stage asked for has published is not there as it was: there is "nothing to do" only where it is.
    """
    wanted = tuple(wanted)
    for stage in wanted:
        for needed in inputs_of(stage):
            if not STAGES[needed].wanted(run.config):
                continue
            if needed not in wanted and (states[needed].word == "missing" or needed in redo):
                command = STAGES[needed].shown_command
                if needed == "render" and run.config.is_ingested:
                    command = " ".join(("ingest", *run.config.ingest.captures))
                raise DataError(
                    f"stage {stage} needs stage {needed}, of which {run.layout.root} has nothing; "
                    f"run rodin-pipe {command} --out {run.layout.root} first"
                )
    to_do = {stage for stage in wanted if states[stage].word != "done" or stage in redo}
    for stage in STAGES:
        if stage in redo or not (stage in wanted or any(opens(other, stage) for other in to_do)):
            continue
        damage = find_damage(run, stage)
        if damage is not None:
            raise DataError(str(damage))
        if stage == "fit" and not run.fit_reports() and exists(run.layout.planes):
            PlaneStore.open(run.layout.planes)


def changed_keys(stage: str, run: Run) -> list[str]:
    """Which settings of a stage differ from the run's own ``run.toml``, as ``fit.steps 400 -> 500``."""
    if not exists(run.layout.config):
        return []
    old = written_config(run.layout)
    settings = ("seed", *settings_read(stage, run.config))
    pairs = ((name, value_of(old, name), value_of(run.config, name)) for name in settings)
    return [f"{name} {before} -> {now}" for name, before, now in pairs if before != now]


def _with_inputs(wanted: Iterable[str]) -> set[str]:
    needed = set(wanted)
    for stage in reversed(STAGES):
        if stage in needed:
            needed.update(inputs_of(stage))
    return needed
