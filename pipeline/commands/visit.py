"""``rodin-pipe run``, ``render``, ``fit``, ``train``, ``evaluate``: stages of a run, done or (``--dry-run``) told."""

from collections.abc import Callable
from pathlib import Path

from cluster.dag import TaskFailed
from pipeline.contracts.errors import ConfigError, DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.driver.display import show_line, stage_display
from pipeline.driver.estimate import own_steps
from pipeline.driver.request import Visit
from pipeline.driver.summary import describe_plan, describe_result
from pipeline.driver.visit import carry_out, check, require_machine
from pipeline.io.files import exists, require_place
from pipeline.run.existing import configured, written_config
from pipeline.run.run import Run
from pipeline.run.stage_table import wanted_of
from pipeline.run.start import with_start


def visit_run(
    command: str,
    stages: tuple[str, ...],
    out: Path,
    *,
    preset: str | None = None,
    config_file: Path | None = None,
    settings: list[str] | None = None,
    redo: list[str] | None = None,
    retry_failed: bool = False,
    renders: Path | None = None,
    address: str | None = None,
    dry_run: bool = False,
    minutes: float | None = None,
    named: bool = False,
    echo: Callable[[str], None],
) -> bool:
    """Do stages of the run at ``out``, which is made if it is not there, and say what came of it.

    Stages that the configuration does not want are left out unless somebody ``named`` them. With ``minutes``,
    ``own.steps`` are as many as take so long.

    Returns False where a task failed. Raises ``RodinError`` with one line for what the user can mend, found before the
    work or in it.
    """
    if minutes is not None:
        if stages != ("own",):
            raise ConfigError("--minutes is for fits with a decoder of their own: add --own-decoder")
        if any(setting.startswith("own.steps=") for setting in settings or ()):
            raise ConfigError("--minutes chooses own.steps: give one of the two")
    layout = RunLayout(out.resolve())
    require_place(layout, writes=not dry_run)
    is_there = exists(layout.config)
    if not is_there and preset is None and config_file is None:
        preset = "demo"
    config = configured(layout, preset=preset, file=config_file, settings=settings or (), renders=renders)
    told_again = any(word.startswith("train.start_from=") for word in settings or ())
    config = with_start(config, written_config(layout) if is_there and not told_again else None)
    if minutes is not None:
        own = config.own.model_copy(update={"steps": own_steps(config, minutes)})
        config = config.model_copy(update={"own": own})
    visit = Visit(
        run=Run(layout, config),
        stages=stages if named else wanted_of(stages, config),
        command=command,
        redo=tuple(redo or ()),
        retry_failed=retry_failed,
        address=address,
    )
    if dry_run:
        planned = visit.snapshot()
        states, _ = check(planned)
        echo(describe_plan(visit, states))
        try:
            require_machine(planned, states)
        except ResourceError as error:
            echo(f"not here: {error}")
        return True
    result = carry_out(visit, stage_display, show_line)
    echo(describe_result(visit, result))
    failed = [outcome for outcome in result.results.values() if isinstance(outcome, TaskFailed)]
    if failed and all(failure.is_for_the_user for failure in failed):
        # What comes of it, in the tasks behind, ended later.
        raise DataError(f"{failed[0].task}: {failed[0].reason}")
    return not failed
