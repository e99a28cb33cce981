"""What the command line says to people: one line and an exit code; nothing heavy is imported."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from pipeline.contracts.errors import ConfigError, ResourceError, RodinError
from pipeline.contracts.naming import format_avatar
from pipeline.machine import extra_of


def exit_unless(well: bool) -> None:
    """Exit with code 1 unless all went well."""
    if not well:
        raise typer.Exit(1)


def shown(avatar: int | None, own: bool, sample: str | None) -> str | None:
    """The name in :mod:`pipeline.commands.gallery` of what was asked for, if anything was.

    Raises ``ConfigError`` where two things were asked for.
    """
    if avatar is not None and sample is not None:
        raise ConfigError("--avatar and --sample exclude each other")
    if own and avatar is None:
        raise ConfigError("--own is of an avatar: say which one, such as --avatar 0 --own")
    return sample if avatar is None else f"{'own/' if own else ''}{format_avatar(avatar)}"


def require_view_extra(*packages: str) -> None:
    """Raise ``ResourceError`` unless all that is imported to look into a run is installed."""
    missing = [name for name in ("torch", *packages) if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(f"{', '.join(missing)} not installed: pip install -e .[view]")


@contextmanager
def for_the_user() -> Iterator[None]:
    """What the user can mend becomes one line and exit code 2; Ctrl-C a word on how to go on."""
    try:
        yield
    except RodinError as error:
        fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "?").partition(".")[0]
        fail(ResourceError(f"the package {package} is not installed here: pip install -e '.[{extra_of(package)}]'"))
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


def fail(error: RodinError) -> NoReturn:
    """Say an error in one line and exit with code 2."""
    typer.echo(f"rodin-pipe: {' '.join(str(error).split())}", err=True)
    sys.exit(2)
