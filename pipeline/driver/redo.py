"""``--redo``: which stages it names, and how they are forgotten once, whatever interrupts them."""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import RunLayout
from pipeline.driver.survey import StageState
from pipeline.io.files import exists, forget, read_text
from pipeline.io.publish import publish_text
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES, stages_after, stages_of


def expand_redo(redo: Sequence[str], states: dict[str, StageState]) -> set[str]:
    """Stages named by ``--redo``, with all that depend on them.

    ``train`` names all models, and ``fit`` a stale decoder too, since it is fitted with the same settings.
    Raises ``ConfigError`` for a name that is no stage.
    """
    named: set[str] = set()
    for name in redo:
        if name == "train":
            named.update(stages_of("train"))
        elif name in STAGES:
            named.add(name)
        else:
            raise ConfigError(f"--redo {name}: there is no such stage; there are {', '.join(STAGES)} and train")
    if "fit" in named and states["decoder"].stale:
        named.add("decoder")
    return {after for stage in named for after in stages_after(stage)}


def apply_redo(redo: set[str], run: Run, fingerprints: dict[str, str]) -> None:
    """Forget the ledgers, parts and checkpoints of the stages to be done again; what they published is replaced
    as it is made anew.

    A note says what is being done again until :func:`end_redo`, so that the same command, given again after it was
    killed, goes on instead of beginning anew. Raises ``ConfigError`` where the renders are another run's.
    """
    if "render" in redo and run.config.renders_from:
        raise ConfigError(f"--redo render: the renders belong to {run.config.renders_from}; redo them there")
    note = _redo_note(run.layout)
    begun = _begun(note)
    for stage in redo:
        if begun.get(stage) == fingerprints[stage]:
            continue
        for folder in (
            run.layout.root / "ledger" / stage,
            run.layout.all_parts(stage),
            run.layout.scratch / "attempts" / stage,
            run.layout.model(stage) / "checkpoints",
        ):
            forget(folder)
        if stage in ("decoder", "own"):
            forget(run.layout.work / stage)
    if redo:
        publish_text(note, json.dumps(begun | {stage: fingerprints[stage] for stage in sorted(redo)}))


def end_redo(layout: RunLayout) -> None:
    """A visit did all it was asked for: the next ``--redo`` begins anew."""
    forget(_redo_note(layout))


def _begun(note: Path) -> dict[str, str]:
    """What is being done again, by stage; raises ``DataError`` for a note that is damaged."""
    if not exists(note):
        return {}
    try:
        begun = json.loads(read_text(note))
    except ValueError as error:
        raise DataError(f"{note} is no JSON ({error}): delete it, and what --redo names begins anew") from None
    return begun if isinstance(begun, dict) else {}


def _redo_note(layout: RunLayout) -> Path:
    return layout.work / "redo.json"
