"""The command line: thin. It parses, hands over, prints one line for what the user can mend, and exits with 2.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipeline.contracts.errors import ResourceError, RodinError

app = typer.Typer(
    name="rodin-pipe",
    help="3D avatars by diffusion: render synthetic people, fit tri-planes, train, generate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Run folder.", show_default=False)]
Preset = Annotated[str | None, typer.Option(help="demo, desk or paper; an existing run keeps its own configuration.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file over the preset.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over both, such as fit.steps=500.")]
Redo = Annotated[list[str] | None, typer.Option(help="Stage to do again, with all that depend on it; or 'train'.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what the ledgers list as failed.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to connect to; without it Ray starts here.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, with tasks, disk and hours.")]
Renders = Annotated[Path | None, typer.Option(help="Another run, whose renders are read instead of our own.")]
Avatar = Annotated[int | None, typer.Option(min=0, help="Fitted avatar, by index, such as 12.")]
Own = Annotated[bool, typer.Option("--own", help="With --avatar: its fit with a decoder of its own.")]
Sample = Annotated[str | None, typer.Option(help="Generated avatar below samples/, such as noise/avatar-000.")]


@app.command()
def run(
    out: Out,
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    redo: Redo = None,
    retry_failed: RetryFailed = False,
    renders: Renders = None,
    address: Address = None,
    dry_run: DryRun = False,
) -> None:
    """Everything: render, fit, train, generate, evaluate. The same command goes on after an interruption."""
    from pipeline.run.fingerprint import RUN_STAGES

    _visit("run", RUN_STAGES, out, preset, config, set_, redo, retry_failed, renders, address, dry_run)


@app.command()
def render(
    out: Out,
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    redo: Redo = None,
    retry_failed: RetryFailed = False,
    address: Address = None,
    dry_run: DryRun = False,
) -> None:
    """Make synthetic people and photograph them into WebDataset shards."""
    _visit("render", ("render",), out, preset, config, set_, redo, retry_failed, None, address, dry_run)


@app.command()
def ingest(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Captures in the NeRF layout, one an avatar.")
    ],
    out: Out,
    background: Annotated[
        str | None, typer.Option(help="Colour behind the object in images without alpha: white, black or #rrggbb.")
    ] = None,
    masks: Annotated[str | None, typer.Option(help="Folder in each capture with a mask for each image.")] = None,
    centre: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Centre of the cube that is fitted, in the capture's units; estimated without it."),
    ] = None,
    half_side: Annotated[float | None, typer.Option(help="Half that cube's side, in the same units.")] = None,
    up: Annotated[str | None, typer.Option(help="Axis that points up in the capture: +x -x +y -y +z -z.")] = None,
    caption: Annotated[list[str] | None, typer.Option(help="A sentence for each folder, in their order.")] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    redo: Annotated[bool, typer.Option("--redo", help="Replace what was ingested into this run before.")] = False,
) -> None:
    """Take photographs with known cameras (transforms_train.json, ...) into a run, in place of renders."""
    with _for_the_user():
        import json

        from pipeline.commands.ingest import describe_ingested
        from pipeline.commands.ingest import ingest as ingest_captures
        from pipeline.contracts.naming import RunLayout
        from pipeline.driver.display import simple_progress

        given = {
            "background": background,
            "masks": masks,
            "centre": list(centre) if centre is not None else None,
            "half_side": half_side,
            "up": up,
            "captions": caption or None,
        }
        settings = [f"ingest.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
        layout = RunLayout(out.resolve())
        with simple_progress("ingest", "frame") as progress:
            result = ingest_captures(
                layout,
                folders,
                preset=preset,
                file=config,
                settings=[*(set_ or ()), *settings],
                redo=redo,
                progress=progress,
            )
        typer.echo(describe_ingested(layout, result))


@app.command()
def fit(
    out: Out,
    own_decoder: Annotated[
        bool,
        typer.Option("--own-decoder", help="Fit each avatar with a decoder of its own, into RUN/own; no shared one."),
    ] = False,
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    redo: Redo = None,
    retry_failed: RetryFailed = False,
    renders: Renders = None,
    address: Address = None,
    dry_run: DryRun = False,
) -> None:
    """Fit the shared decoder, then every rendered avatar's tri-planes."""
    stages = ("own",) if own_decoder else ("decoder", "fit")
    _visit("fit", stages, out, preset, config, set_, redo, retry_failed, renders, address, dry_run)


@app.command()
def train(
    out: Out,
    models: Annotated[
        list[str] | None, typer.Argument(help="clip, encode, base, upsampler, latent, refiner; all by default.")
    ] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    redo: Redo = None,
    address: Address = None,
    dry_run: DryRun = False,
) -> None:
    """Train the models on the fitted planes and the renders; resumes from the last checkpoint."""
    from pipeline.contracts.errors import ConfigError
    from pipeline.run.fingerprint import MODELS

    for name in models or ():
        if name not in MODELS:
            _fail(ConfigError(f"train {name}: there is no such model; there are {', '.join(MODELS)}"))
    stages = tuple(name for name in MODELS if not models or name in models)
    _visit("train", stages, out, preset, config, set_, redo, False, None, address, dry_run)


@app.command()
def generate(
    out: Out,
    num: Annotated[int, typer.Option(min=1, help="Avatars to make from noise.")] = 4,
    portrait: Annotated[Path | None, typer.Option(help="Image of a face to make an avatar of.")] = None,
    text: Annotated[str | None, typer.Option(help="Sentence to make an avatar of.")] = None,
    edit: Annotated[str | None, typer.Option(help="With --portrait: what to change, such as 'with glasses'.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another avatar.")] = 0,
    name: Annotated[str | None, typer.Option(help="Folder below samples/; made from the request by default.")] = None,
    set_: Settings = None,
) -> None:
    """Generate avatars from noise, a portrait or a sentence: planes, turntable, strip."""
    with _for_the_user():
        from pipeline.contracts.errors import ConfigError

        if portrait is not None and text is not None:
            raise ConfigError("--portrait and --text exclude each other; to change a portrait use --edit")
        if edit is not None and portrait is None:
            raise ConfigError("--edit changes a portrait: give one with --portrait")
        from pipeline.config.load import load_config
        from pipeline.contracts.naming import RunLayout
        from pipeline.driver.display import simple_progress
        from pipeline.stages.generate import Request, generate_request

        layout = RunLayout(out.resolve())
        config = load_config(run_toml=_existing_run(layout), settings=set_ or ())
        request = Request(num=num, portrait=portrait, text=text, edit=edit, seed=seed, name=name)
        with simple_progress("generate", "avatar") as progress:
            folder = generate_request(layout, config, request, progress)
        typer.echo(f"{folder}: planes, turntable and strip of each avatar")


@app.command()
def evaluate(
    out: Out, set_: Settings = None, redo: Redo = None, address: Address = None, dry_run: DryRun = False
) -> None:
    """Measure fits and generated avatars, and write the report page."""
    _visit("evaluate", ("evaluate",), out, None, None, set_, redo, False, None, address, dry_run)


@app.command()
def inspect(
    out: Out,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every published file again.")] = False,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="Write a contact sheet of the renders.")] = True,
    attributes: Annotated[
        bool, typer.Option("--attributes", help="Draw how each attribute is distributed over the avatars.")
    ] = False,
) -> None:
    """Say what is in a run: counts, cameras, failures, stale stages; write a contact sheet."""
    with _for_the_user():
        from pipeline.commands.inspect import inspect_run
        from pipeline.contracts.naming import RunLayout

        layout = RunLayout(out.resolve())
        _existing_run(layout)
        if not inspect_run(layout, verify=verify, sheet=sheet, echo=typer.echo, attributes=attributes):
            raise typer.Exit(1)


class ExportFormat(StrEnum):
    """What ``export`` can write."""

    GLB = "glb"
    NERF = "nerf"
    PERSON = "person"


@app.command()
def export(
    out: Out,
    format_: Annotated[
        ExportFormat,
        typer.Argument(
            metavar="[glb|nerf|person]",
            help="A mesh of the planes, the photographs in the NeRF layout, or the mesh that was photographed.",
        ),
    ] = ExportFormat.GLB,
    avatar: Avatar = None,
    own: Own = False,
    sample: Sample = None,
    resolution: Annotated[int, typer.Option(min=16, max=512, help="Cells along each axis of the cube.")] = 128,
    file: Annotated[
        Path | None,
        typer.Option(help="File or folder to write; RUN/meshes/NAME.glb or RUN/nerf/NAME.", show_default=False),
    ] = None,
) -> None:
    """Write a fitted or a generated avatar as a coloured mesh (GLB, in metres), an avatar's photographs with their
    cameras in the NeRF layout, which other programs and `ingest` read, or the synthetic person's own mesh.
    """
    with _for_the_user():
        from pipeline.contracts.errors import ConfigError

        name = _shown(avatar, own, sample)
        if format_ is not ExportFormat.GLB:
            if avatar is None:
                raise ConfigError(f"export {format_.value}: say whose, with --avatar 12; samples have none")
            (_export_nerf if format_ is ExportFormat.NERF else _export_person)(out, avatar, file)
            return
        if name is None:
            raise ConfigError("export: say which one, with --avatar 12 or --sample noise/avatar-000")
        layout, config = _run_to_show(out, "skimage", "trimesh")
        from pipeline.commands.export_mesh import check_mesh_path, export_mesh, mesh_path
        from pipeline.commands.gallery import Gallery

        path = file or mesh_path(layout, name)
        check_mesh_path(path)
        mesh = export_mesh(Gallery.open(layout, config), name, resolution, path)
        typer.echo(f"{path}: {len(mesh.faces)} triangles, {len(mesh.vertices)} vertices")


@app.command()
def view(
    out: Out,
    avatar: Avatar = None,
    own: Own = False,
    sample: Sample = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 lets other machines see it.")] = "127.0.0.1",
) -> None:
    """Look at fitted and generated avatars in a browser."""
    with _for_the_user():
        name = _shown(avatar, own, sample)
        layout, config = _run_to_show(out, "viser")
        from pipeline.commands.gallery import Gallery
        from pipeline.commands.view import Viewer

        gallery = Gallery.open(layout, config)
        viewer = Viewer(gallery, name or gallery.names()[0], host=host, port=port)
        try:
            typer.echo(f"{viewer.url} shows {out}; Ctrl-C ends it")
            viewer.wait()
        except KeyboardInterrupt:
            typer.echo("closed")
        finally:
            viewer.close()


@app.command()
def clean(
    out: Out, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False
) -> None:
    """Remove dead attempts and half-written temporaries; published files and resumable parts stay."""
    with _for_the_user():
        from pipeline.commands.inspect import clean_run
        from pipeline.contracts.naming import RunLayout

        layout = RunLayout(out.resolve())
        _existing_run(layout)
        clean_run(layout, dry_run=dry_run, echo=typer.echo)


@app.command()
def doctor(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder whose disk is checked.")] = None,
    preset: Annotated[str, typer.Option(help="Preset whose needs are checked.")] = "demo",
    address: Address = None,
) -> None:
    """Check Python, Blender (one real frame), Ray, GPU and disk, and name what is missing."""
    with _for_the_user():
        from pipeline.commands.doctor import examine

        if not examine(out or Path.cwd(), preset, address, echo=typer.echo):
            raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def submit(
    context: typer.Context,
    address: Annotated[str, typer.Option(help="Ray dashboard of the cluster, such as http://head:8265.")],
    working_dir: Annotated[Path | None, typer.Option(help="Folder to upload; nothing when installed there.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job's log until it ends.")] = False,
) -> None:
    """Submit a command to a Ray cluster: rodin-pipe submit --address http://head:8265 -- run --out /shared/run."""
    with _for_the_user():
        from cluster.submit import submit_job
        from pipeline.contracts.errors import ConfigError

        known = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
        if not context.args or context.args[0] not in known - {"submit"}:
            raise ConfigError("submit: give the command after --, such as: -- run --preset desk --out /mnt/run")
        job = submit_job(
            address, ["rodin-pipe", *context.args, "--address", "auto"], working_dir=working_dir, env={}, wait=wait
        )
        typer.echo(job)


def main() -> None:
    """Entry point of ``rodin-pipe``."""
    app()


def _visit(
    command: str,
    stages: tuple[str, ...],
    out: Path,
    preset: str | None,
    config_file: Path | None,
    settings: list[str] | None,
    redo: list[str] | None,
    retry_failed: bool,
    renders: Path | None,
    address: str | None,
    dry_run: bool,
) -> None:
    with _for_the_user():
        from pipeline.config.load import load_config
        from pipeline.contracts.naming import RunLayout
        from pipeline.driver.display import stage_display
        from pipeline.driver.summary import describe_plan, describe_result
        from pipeline.driver.visit import Visit, carry_out, check

        layout = RunLayout(out.resolve())
        run_toml = layout.config if layout.config.exists() else None
        if run_toml is None and preset is None and config_file is None:
            preset = "demo"
        config = load_config(
            run_toml=run_toml, preset=preset, file=config_file, settings=settings or (), renders=renders
        )
        visit = Visit(layout, config, stages, command, tuple(redo or ()), retry_failed, address)
        if dry_run:
            states, _ = check(visit)
            typer.echo(describe_plan(visit, states))
            return
        result = carry_out(visit, stage_display)
        typer.echo(describe_result(visit, result))
        if result.report.failed_tasks:
            raise typer.Exit(1)


def _shown(avatar: int | None, own: bool, sample: str | None) -> str | None:
    """The name in :mod:`pipeline.commands.gallery` of what was asked for, if anything was."""
    from pipeline.contracts.errors import ConfigError
    from pipeline.contracts.naming import format_avatar

    if avatar is not None and sample is not None:
        raise ConfigError("--avatar and --sample exclude each other")
    if own and avatar is None:
        raise ConfigError("--own is of an avatar: say which one, such as --avatar 0 --own")
    return sample if avatar is None else f"{'own/' if own else ''}{format_avatar(avatar)}"


def _run_to_show(out: Path, *packages: str) -> "tuple[RunLayout, RunConfig]":  # type: ignore[name-defined]
    """A run, once all that is imported to look into it is installed."""
    from pipeline.config.load import load_config
    from pipeline.contracts.errors import ResourceError
    from pipeline.contracts.naming import RunLayout

    missing = [name for name in ("torch", *packages) if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(f"{', '.join(missing)} not installed: pip install -e .[view]")
    layout = RunLayout(out.resolve())
    return layout, load_config(run_toml=_existing_run(layout))


def _export_nerf(out: Path, avatar: int, file: Path | None) -> None:
    from pipeline.commands.export_nerf import export_nerf, nerf_path
    from pipeline.config.load import load_config
    from pipeline.contracts.naming import RunLayout

    layout = RunLayout(out.resolve())
    folder = file or nerf_path(layout, avatar)
    views = export_nerf(layout, load_config(run_toml=_existing_run(layout)), avatar, folder)
    typer.echo(f"{folder}: {views} views, OpenGL cameras; rodin-pipe ingest {folder} reads it back")


def _export_person(out: Path, avatar: int, file: Path | None) -> None:
    from pipeline.commands.export_person import export_person, person_path
    from pipeline.config.load import load_config
    from pipeline.contracts.naming import RunLayout

    layout = RunLayout(out.resolve())
    path = file or person_path(layout, avatar)
    export_person(layout, load_config(run_toml=_existing_run(layout)), avatar, path)
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, one node a part, with classes and landmarks")


def _existing_run(layout: "RunLayout") -> Path:  # type: ignore[name-defined]
    from pipeline.contracts.errors import DataError

    if not layout.config.exists():
        raise DataError(
            f"{layout.root} is no run: it has no run.toml; make one with rodin-pipe run --out {layout.root}"
        )
    path: Path = layout.config
    return path


@contextmanager
def _for_the_user() -> Iterator[None]:
    """What the user can mend becomes one line and exit code 2; Ctrl-C a word on how to go on."""
    try:
        yield
    except RodinError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "?").partition(".")[0]
        _fail(ResourceError(f"the package {package} is not installed here: pip install -e '.[{_extra_of(package)}]'"))
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


def _extra_of(package: str) -> str:
    """The extra of ours that brings a package."""
    if package in ("bpy", "anny", "scipy", "OpenEXR"):
        return "render"
    return "view" if package in ("viser", "trimesh", "skimage") else "train"


def _fail(error: RodinError) -> NoReturn:
    typer.echo(f"rodin-pipe: {' '.join(str(error).split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
