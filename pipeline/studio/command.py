"""``rodin-pipe studio`` as the command line has it."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import options
from pipeline.commands.shell import for_the_user, require_view_extra
from pipeline.contracts.errors import ConfigError, ResourceError
from pipeline.machine import install_command


def studio(
    out: options.OutOfRun = None,
    model: options.ModelOption = None,
    to: Annotated[Path, typer.Option("--to", help="Folder that all of it stays in.")] = Path("studio"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes a free one.")] = 7860,
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 lets other machines see it.")] = "127.0.0.1",
    set_: options.Settings = None,
) -> None:
    """Make avatars in a browser, of a text, a portrait or nothing at all, turn them and take them home. Without --out
    and --model by the weights that come with this installation.
    """
    with for_the_user():
        if out is not None and model is not None:
            raise ConfigError("--out RUN and --model FOLDER both say whose models are used: give one")
        if importlib.util.find_spec("gradio") is None:
            raise ResourceError(f"gradio not installed: {install_command('studio')}")
        require_view_extra("skimage", "trimesh")
        from pipeline.run.existing import open_run
        from pipeline.run.model_folder import ModelFolder, open_models, open_released
        from pipeline.studio.app import serve
        from pipeline.studio.shelf import Shelf

        settings = set_ or ()
        if out is not None:
            models = ModelFolder.of_run(open_run(out, settings))
        else:
            models = open_models(model, settings) if model is not None else open_released(settings)
        serve(models, Shelf(to.resolve()), host=host, port=port, echo=typer.echo)
