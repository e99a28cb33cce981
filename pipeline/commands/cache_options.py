"""``--cache-dir`` and ``--cache-gib``, which every command has that takes the place of a run.

They say where copies of objects in a bucket are kept on this machine, and how much room they may take; of a run in a
folder nothing is copied. They are handed on as environment variables, since the processes of a visit go by them too.
"""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.contracts.bucket_path import CACHE_DIR, CACHE_GIB

CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Of a run in a bucket: folder for copies.", show_default=False)
]
CacheGib = Annotated[
    float | None,
    typer.Option("--cache-gib", min=0.0, help="Of a run in a bucket: GiB that copies take at most; 50."),
]


class App(typer.Typer):
    """A command line whose commands with ``out`` have the two options besides their own."""

    def command(  # type: ignore[override]
        self, *given: Any, **named: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """As ``typer.Typer.command``."""
        register = super().command(*given, **named)

        def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
            takes_place = "out" in inspect.signature(function).parameters
            register(_with_cache_options(function) if takes_place else function)
            return function

        return with_options


def _with_cache_options(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def command(*given: Any, cache_dir: Path | None, cache_gib: float | None, **named: Any) -> Any:
        if cache_dir is not None:
            os.environ[CACHE_DIR] = str(cache_dir.absolute())
        if cache_gib is not None:
            os.environ[CACHE_GIB] = str(cache_gib)
        return function(*given, **named)

    signature = inspect.signature(function)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in (("cache_dir", CacheDir), ("cache_gib", CacheGib))
    ]
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    command.__annotations__ = function.__annotations__ | {parameter.name: parameter.annotation for parameter in more}
    del command.__wrapped__  # typer would look there
    return command
