"""``rodin-pipe generate``: by a run's own models, by those of another folder, or by those of this installation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.contracts.errors import ConfigError, ResourceError
from pipeline.contracts.naming import next_command
from pipeline.contracts.stage import Progress
from pipeline.run.existing import open_run
from pipeline.run.model_folder import ModelFolder, open_models, open_released
from pipeline.stages.generate import Request, generate_request

MOST_CHARACTERS: Final = 1000
"""Of a text or an edit. Captions have some 150, and an encoder reads no more than ``clip.max_tokens`` of them."""


def generate(
    request: Request, *, out: Path | None, model: Path | None, to: Path, settings: Sequence[str], progress: Progress
) -> Path:
    """Make what is asked for, below ``out/samples`` by the models of that run, else below ``to``; returns the folder.

    Models are those of ``model``, or without it the released ones. Raises ``RodinError`` with one line.
    """
    check_request(request)
    if out is not None:
        run = open_run(out, settings)
        layout = run.layout
        return generate_request(ModelFolder.of_run(run), request, progress, to=layout.samples)
    models = open_models(model, settings) if model is not None else open_released(settings)
    to = to.resolve()
    try:
        return generate_request(models, request, progress, to=to)
    except OSError as error:
        raise ResourceError(f"{to} cannot be written ({error.strerror}): give another --to") from None


def next_of(folder: Path, out: Path | None, model: Path | None) -> str:
    """What to try with the avatars of a folder: the first one as a page that draws it."""
    if out is not None:
        return next_command("export", "web", "--out", out, "--sample", f"{folder.name}/avatar-000")
    return next_command("export", "web", "--generated", folder, *(() if model is None else ("--model", model)))


def check_request(request: Request) -> None:
    """Raises ``ConfigError`` for what excludes each other, and for a text that is none or too long."""
    if request.portrait is not None and request.text is not None:
        raise ConfigError("--portrait and --text exclude each other; to change a portrait use --edit")
    if request.edit is not None and request.portrait is None:
        raise ConfigError("--edit changes a portrait: give one with --portrait")
    if request.as_is and request.portrait is None:
        raise ConfigError("--as-is is about a portrait: give one with --portrait")
    for option, text in (("--text", request.text), ("--edit", request.edit)):
        if text is not None and not text.strip():
            raise ConfigError(f"{option} is empty: say what the person looks like")
        if text is not None and len(text) > MOST_CHARACTERS:
            raise ConfigError(
                f"{option} has {len(text)} characters, {MOST_CHARACTERS} are the most: a sentence such as 'an old "
                "woman with grey curly hair and round glasses' says what models understand"
            )
