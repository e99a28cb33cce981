"""The configuration of a run, wherever it lies: of one that is there, or of one that is to be made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.config.load import load_config, read_run_toml
from pipeline.config.run import RunConfig
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import RunLayout
from pipeline.io.files import exists, fetched, require_place
from pipeline.run.run import Run


def open_run(root: Path, settings: Sequence[str] = (), *, writes: bool = False) -> Run:
    """The run at a place by its own configuration, with ``settings`` (``key=value``) over it.

    Raises ``DataError`` where there is no run, ``ConfigError`` for a setting, and what
    :func:`pipeline.io.files.require_place` raises where the command ``writes``.
    """
    layout = RunLayout(root.resolve())
    require_place(layout, writes=writes)
    if not exists(layout.config):
        raise DataError(
            f"{layout.root} is no run: it has no run.toml; make one with rodin-pipe run --out {layout.root}"
        )
    return Run(layout, configured(layout, settings=settings))


def configured(
    layout: RunLayout,
    *,
    preset: str | None = None,
    file: Path | None = None,
    settings: Sequence[str] = (),
    renders: Path | None = None,
) -> RunConfig:
    """As :func:`pipeline.config.load.load_config`, for the run of a layout, which may not be there yet.

    Raises ``ConfigError`` with one line, in which files have the names that they have in the run.
    """
    own = layout.config if exists(layout.config) else None
    others = None if renders is None else RunLayout(renders.resolve())
    with _copied(own) as run_toml, _copied(None if others is None else others.config) as renders_toml:
        return load_config(
            run_toml=run_toml,
            preset=preset,
            file=file,
            settings=settings,
            renders=None if others is None else others.root,
            renders_toml=renders_toml,
        )


def written_config(layout: RunLayout) -> RunConfig:
    """The configuration that a run was made with, as it stands in its ``run.toml``; raises ``ConfigError``."""
    with _copied(layout.config) as run_toml:
        assert run_toml is not None
        return read_run_toml(run_toml)


@contextmanager
def _copied(path: Path | None) -> Iterator[Path | None]:
    """A file of this machine with the content of ``path``, which errors name by its own name."""
    if path is None:
        yield None
        return
    try:
        copy = fetched(path)
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist: give another --config") from None
    try:
        yield copy
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(copy), str(path))) from None
