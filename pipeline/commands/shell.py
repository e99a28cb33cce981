"""What the command line says to people: one line and an exit code; nothing heavy is imported."""

import errno
import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import typer

from pipeline.contracts.errors import ConfigError, ResourceError, RodinError
from pipeline.contracts.naming import format_avatar
from pipeline.machine import extra_of, install_command

_REMEDIES: Final = {
    errno.ENOSPC: "make room (rodin-pipe clean removes dead attempts), then the same command goes on",
    errno.EDQUOT: "make room, then the same command goes on",
    errno.EROFS: "it cannot be written there: copy the run to where it can, or give another --out",
    errno.EACCES: "give yourself the right to write there, or another --out",
    errno.EPERM: "give yourself the right to write there, or another --out",
    errno.ENOLCK: "this file system has no locks: give an --out on another one",
    errno.EXDEV: "a folder of the run lies on another file system: put it beside the others, without a link",
}
"""What helps against what a file system refuses."""


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
        raise ResourceError(f"{', '.join(missing)} not installed: {install_command('view')}")


@contextmanager
def for_the_user() -> Iterator[None]:
    """What the user can mend becomes one line and exit code 2; Ctrl-C, however often, a word on how to go on."""
    try:
        with _first_interrupt_only():
            yield
    except RodinError as error:
        fail(error)
    except OSError as error:
        fail(ResourceError(_of_the_system(error)))
    except ModuleNotFoundError as error:
        package = (error.name or "?").partition(".")[0]
        fail(ResourceError(f"the package {package} is not installed here: {install_command(extra_of(package))}"))
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _first_interrupt_only() -> Iterator[None]:
    """Ctrl-C interrupts once; from then on it is ignored, so that what was begun is ended in order.

    Where it is another's already (a shell that ignores it, a thread that is not the main one), nothing is changed.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _of_the_system(error: OSError) -> str:
    """What the file system refused, where, and what helps."""
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    said = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0, "see to it and give the same command again")
    return f"{where}: {said}; {remedy}" if where else f"{said}; {remedy}"


def fail(error: RodinError) -> NoReturn:
    """Say an error in one line and exit with code 2."""
    typer.echo(f"rodin-pipe: {' '.join(str(error).split())}", err=True)
    sys.exit(2)
