"""``rodin-pipe evaluate``: the page of a run, or its models measured at length against held-out people."""

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pipeline.contracts.errors import ResourceError
from pipeline.contracts.naming import next_command
from pipeline.driver.display import simple_progress
from pipeline.machine import install_command
from pipeline.run.run import Run

SAMPLES: Final = 200
"""Avatars from noise unless it is said otherwise."""


def write_page(
    out: Path,
    settings: list[str] | None,
    redo: list[str] | None,
    address: str | None,
    *,
    dry_run: bool,
    echo: Callable[[str], None],
) -> bool:
    """The stage of that name; returns whether all went well."""
    from pipeline.commands.visit import visit_run

    return visit_run(
        "evaluate", ("evaluate",), out, settings=settings, redo=redo, address=address, dry_run=dry_run, echo=echo
    )


def measure(
    run: Run,
    model: Path | None,
    only: Sequence[str],
    samples: int | None,
    settings: Sequence[str],
    *,
    echo: Callable[[str], None],
) -> None:
    """Measure the run's models, or those of the folder ``model``, on the people of the run; say where the results are.

    Raises ``ConfigError``, ``DataError`` or ``ResourceError`` before any work where something is missing.
    """
    from pipeline.evaluation.evaluation import chosen_sections, evaluate_models
    from pipeline.run.model_folder import ModelFolder, open_models

    chosen_sections(only)
    if importlib.util.find_spec("cv2") is None:
        raise ResourceError(
            f"cv2, whose face detector judges pictures, is not installed: {install_command('evaluate')}"
        )
    of_generation = [setting for setting in settings if setting.startswith("generate.")]
    models = ModelFolder.of_run(run) if model is None else open_models(model, of_generation)

    def display(section: str) -> AbstractContextManager[Callable[[float, float], None]]:
        return simple_progress(section, "avatar")

    results = evaluate_models(run, models, only=only, samples=samples or SAMPLES, display=display, echo=echo)
    for section in results.sections:
        for bar in section.bars:
            value = "no figure" if bar.figure.value is None else f"{bar.figure.value:.2f}"
            word = {True: "reached", False: "not reached", None: bar.figure.withheld}[bar.reached]
            echo(f"{bar.text}: {value}, {'at least' if bar.at_least else 'at most'} {bar.bound:g}: {word}")
    echo(f"results: {run.layout.report / 'results.md'}")
    echo(next_command("view", "--out", run.layout.root))
