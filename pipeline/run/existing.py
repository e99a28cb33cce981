"""Opening a run that is there."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.load import load_config
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.io.files import exists
from pipeline.run.run import Run


def open_run(root: Path, settings: Sequence[str] = ()) -> Run:
    """The run at a folder by its own configuration, with ``settings`` (``key=value``) over it.

    Raises ``DataError`` where there is no run, ``ConfigError`` for a setting.
    """
    layout = RunLayout(root.resolve())
    if not exists(layout.config):
        raise DataError(
            f"{layout.root} is no run: it has no run.toml; make one with rodin-pipe run --out {layout.root}"
        )
    return Run(layout, load_config(run_toml=layout.config, settings=settings))
