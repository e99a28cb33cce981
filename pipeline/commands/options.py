"""What options of the command line are; imports nothing heavy, so that ``--help`` answers at once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.completion import sections, settings_of, stages
from pipeline.commands.shell import fail
from pipeline.config.presets import PRESETS
from pipeline.contracts import bucket_path
from pipeline.contracts.errors import ConfigError


def place(given: str) -> Path:
    """A path, or a prefix in a bucket; what is neither ends the command with one line."""
    try:
        return bucket_path.place(given)
    except ConfigError as error:
        fail(error)


Out = Annotated[
    Path,
    typer.Option("--out", "-o", parser=place, metavar="PLACE", help="Run folder, or s3://bucket/prefix."),
]
OutOfRun = Annotated[
    Path | None,
    typer.Option("--out", "-o", parser=place, metavar="PLACE", help="Run whose own models are used."),
]
OutToCheck = Annotated[
    Path | None,
    typer.Option("--out", "-o", parser=place, metavar="PLACE", help="Run folder whose disk, or bucket, is checked."),
]
OutOfExport = Annotated[
    Path | None, typer.Option("--out", "-o", parser=place, metavar="PLACE", help="Run folder, or s3://bucket/prefix.")
]
Generated = Annotated[
    Path | None,
    typer.Option(
        help="With web: folder that generate wrote without --out, such as avatars/NAME, or an avatar's in it; with "
        "glb and splats an avatar's.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", parser=place, metavar="PLACE", help="Run, or folder of export models, whose models are used."
    ),
]
ToAvatars = Annotated[
    Path | None, typer.Option("--to", help="Without --out: folder to write below; avatars/.", show_default=False)
]
Preset = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(PRESETS)}; an existing run keeps its own configuration.", autocompletion=lambda: PRESETS
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file over the preset.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value over preset and file, such as fit.steps=500.", autocompletion=settings_of),
]
OfModels = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="key=value over what the models say, such as generate.views=48.", autocompletion=settings_of
    ),
]
Redo = Annotated[
    list[str] | None,
    typer.Option(help="Stage to do again, with all that depend on it; or 'train'.", autocompletion=stages),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what the ledgers list as failed.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to connect to; without it Ray starts here.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.5, help="With --own-decoder: about how long an avatar takes on two CPU cores; chooses own.steps."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, with tasks, disk and hours.")]
Renders = Annotated[
    Path | None,
    typer.Option(parser=place, metavar="PLACE", help="Another run, whose renders are read instead of our own."),
]
Avatar = Annotated[int | None, typer.Option(min=0, help="Fitted avatar, by index, such as 12.")]
Own = Annotated[bool, typer.Option("--own", help="With --avatar: its fit with a decoder of its own.")]
Sample = Annotated[str | None, typer.Option(help="Generated avatar below samples/, such as noise/avatar-000.")]
Folders = Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Captures in the NeRF layout, one an avatar.")]
Background = Annotated[
    str | None, typer.Option(help="Colour behind the object in images without alpha: white, black or #rrggbb.")
]
Centre = Annotated[
    tuple[float, float, float] | None,
    typer.Option(help="Centre of the cube that is fitted, in the capture's units; estimated without it."),
]


class ExportFormat(StrEnum):
    """What ``export`` can write."""

    GLB = "glb"
    NERF = "nerf"
    PERSON = "person"
    MODELS = "models"
    WEB = "web"
    SPLATS = "splats"

    @property
    def is_of_a_run(self) -> bool:
        """Whether it takes more than planes and a decoder."""
        return self in (ExportFormat.NERF, ExportFormat.PERSON, ExportFormat.MODELS)


Format = Annotated[
    ExportFormat,
    typer.Argument(
        metavar="[glb|web|splats|nerf|person|models]",
        help="A mesh of the planes, a page that draws them, 3D Gaussians, the photographs in the NeRF layout, the "
        "mesh that was photographed, or the run's decoder and models as a compact folder.",
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        help="File or folder to write; RUN/meshes/NAME.glb, RUN/web/NAME.html, RUN/splats/NAME.ply or RUN/nerf/NAME.",
        show_default=False,
    ),
]
To = Annotated[Path | None, typer.Option("--to", help="Folder to write the models to.", show_default=False)]
LinearMib = Annotated[float, typer.Option("--linear-mib", min=0, help="MiB that eigen-planes may take.")]
Measured = Annotated[
    Path | None,
    typer.Option(
        "--model",
        parser=place,
        metavar="PLACE",
        help="Measure these models, another run's or exported ones, on --out's people.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(help="Measure at length, this section alone; may be repeated.", autocompletion=sections),
]
Samples = Annotated[
    int | None, typer.Option(min=4, help="Measure at length, with so many avatars from noise, such as 200.")
]
