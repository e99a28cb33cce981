"""The command line: thin. It parses, hands over, prints one line for what the user can mend, and exits with 2.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands import completion, options
from pipeline.commands.cache_options import App
from pipeline.commands.export.command import export
from pipeline.commands.shell import exit_unless, fail, for_the_user, require_view_extra, shown
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.naming import RunLayout
from pipeline.studio.command import studio

if TYPE_CHECKING:
    from pipeline.run.run import Run

app = App(
    name="rodin-pipe",
    help="3D avatars by diffusion: render synthetic people, fit tri-planes, train, generate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(
    out: options.Out,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Settings = None,
    redo: options.Redo = None,
    retry_failed: options.RetryFailed = False,
    renders: options.Renders = None,
    address: options.Address = None,
    dry_run: options.DryRun = False,
) -> None:
    """Everything: render, fit, train, generate, evaluate. The same command goes on after an interruption."""
    with for_the_user():
        from pipeline.commands.visit import visit_run
        from pipeline.run.stage_table import stages_of

        exit_unless(
            visit_run(
                "run",
                stages_of("run"),
                out,
                preset=preset,
                config_file=config,
                settings=set_,
                redo=redo,
                retry_failed=retry_failed,
                renders=renders,
                address=address,
                dry_run=dry_run,
                echo=typer.echo,
            )
        )


@app.command()
def render(
    out: options.Out,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Settings = None,
    redo: options.Redo = None,
    retry_failed: options.RetryFailed = False,
    address: options.Address = None,
    dry_run: options.DryRun = False,
) -> None:
    """Make synthetic people and photograph them into WebDataset shards."""
    with for_the_user():
        from pipeline.commands.visit import visit_run

        exit_unless(
            visit_run(
                "render",
                ("render",),
                out,
                preset=preset,
                config_file=config,
                settings=set_,
                redo=redo,
                retry_failed=retry_failed,
                address=address,
                dry_run=dry_run,
                echo=typer.echo,
            )
        )


@app.command()
def ingest(
    folders: options.Folders,
    out: options.Out,
    background: options.Background = None,
    masks: Annotated[str | None, typer.Option(help="Folder in each capture with a mask for each image.")] = None,
    centre: options.Centre = None,
    half_side: Annotated[float | None, typer.Option(help="Half that cube's side, in the same units.")] = None,
    up: Annotated[str | None, typer.Option(help="Axis that points up in the capture: +x -x +y -y +z -z.")] = None,
    caption: Annotated[list[str] | None, typer.Option(help="A sentence for each folder, in their order.")] = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Settings = None,
    redo: Annotated[bool, typer.Option("--redo", help="Replace what was ingested into this run before.")] = False,
) -> None:
    """Take photographs with known cameras (transforms_train.json, ...) into a run, in place of renders."""
    with for_the_user():
        from pipeline.commands.ingest import describe_ingested, ingest_settings
        from pipeline.commands.ingest import ingest as ingest_captures
        from pipeline.driver.display import simple_progress

        settings = ingest_settings(
            background=background, masks=masks, centre=centre, half_side=half_side, up=up, captions=caption
        )
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
    out: options.Out,
    own_decoder: Annotated[
        bool,
        typer.Option("--own-decoder", help="Fit each avatar with a decoder of its own, into RUN/own; no shared one."),
    ] = False,
    minutes: options.Minutes = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Settings = None,
    redo: options.Redo = None,
    retry_failed: options.RetryFailed = False,
    renders: options.Renders = None,
    address: options.Address = None,
    dry_run: options.DryRun = False,
) -> None:
    """Fit the shared decoder, then every rendered avatar's tri-planes."""
    with for_the_user():
        from pipeline.commands.visit import visit_run

        exit_unless(
            visit_run(
                "fit",
                ("own",) if own_decoder else ("decoder", "fit"),
                out,
                preset=preset,
                config_file=config,
                settings=set_,
                redo=redo,
                retry_failed=retry_failed,
                renders=renders,
                address=address,
                dry_run=dry_run,
                minutes=minutes,
                echo=typer.echo,
            )
        )


@app.command()
def train(
    out: options.Out,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="clip, encode, base, upsampler, latent, frontal, head, refiner; all by default.",
            autocompletion=completion.models,
        ),
    ] = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Settings = None,
    redo: options.Redo = None,
    renders: options.Renders = None,
    address: options.Address = None,
    dry_run: options.DryRun = False,
) -> None:
    """Train the models on the fitted planes and the renders; resumes from the last checkpoint."""
    from pipeline.run.stage_table import stages_of

    known = stages_of("train")
    for name in models or ():
        if name not in known:
            fail(ConfigError(f"train {name}: there is no such model; there are {', '.join(known)}"))
    stages = tuple(name for name in known if not models or name in models)
    with for_the_user():
        from pipeline.commands.visit import visit_run

        exit_unless(
            visit_run(
                "train",
                stages,
                out,
                preset=preset,
                config_file=config,
                settings=set_,
                redo=redo,
                renders=renders,
                address=address,
                named=bool(models),
                dry_run=dry_run,
                echo=typer.echo,
            )
        )


@app.command()
def generate(
    out: options.OutOfRun = None,
    model: options.ModelOption = None,
    to: options.ToAvatars = None,
    num: Annotated[int, typer.Option(min=1, help="Avatars to make from noise or of a text.")] = 4,
    portrait: Annotated[Path | None, typer.Option(help="Image of a face to make an avatar of.")] = None,
    text: Annotated[str | None, typer.Option(help="Sentence to make an avatar of.")] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="The portrait is framed as renders are, over white: change nothing.")
    ] = False,
    edit: Annotated[str | None, typer.Option(help="With --portrait: what to change, such as 'with glasses'.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another avatar.")] = 0,
    name: Annotated[str | None, typer.Option(help="Folder to make; named after the request by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace avatars of that name.")] = False,
    set_: options.OfModels = None,
) -> None:
    """Generate avatars from noise, a portrait or a sentence: planes, turntable, strip. Without --out by the weights
    that come with this installation.
    """
    with for_the_user():
        if out is not None and (model is not None or to is not None):
            raise ConfigError("--out RUN uses a run's models and writes below RUN/samples: leave out --model and --to")
        from pipeline.commands.generate import generate as generate_avatars
        from pipeline.commands.generate import next_of
        from pipeline.driver.display import simple_progress
        from pipeline.stages.generate import Request

        request = Request(num, portrait, text, edit, seed, name, as_is, overwrite)
        with simple_progress("generate", "avatar") as progress:
            folder = generate_avatars(
                request, out=out, model=model, to=to or Path("avatars"), settings=set_ or (), progress=progress
            )
        typer.echo(f"{folder}: planes, turntable and strip of each avatar\n{next_of(folder, out, model)}")


@app.command()
def evaluate(
    out: options.Out,
    model: options.Measured = None,
    only: options.Only = None,
    samples: options.Samples = None,
    set_: options.Settings = None,
    redo: options.Redo = None,
    address: options.Address = None,
    dry_run: options.DryRun = False,
) -> None:
    """Measure fits and generated avatars, and write the report page. With --samples, --only or --model, measure at
    length, against held-out people and baselines, into report/results.json instead; the same command goes on.
    """
    with for_the_user():
        from pipeline.commands import evaluate as command

        if model is not None or only or samples is not None:
            if redo or address or dry_run:
                raise ConfigError("--redo, --address and --dry-run are of the page, not of --samples, --only, --model")
            command.measure(_open(out, set_ or ()), model, only or (), samples, set_ or (), echo=typer.echo)
        else:
            exit_unless(command.write_page(out, set_, redo, address, dry_run=dry_run, echo=typer.echo))


@app.command()
def inspect(
    out: options.Out,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every published file again.")] = False,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="Write a contact sheet of the renders.")] = True,
    attributes: Annotated[
        bool, typer.Option("--attributes", help="Draw how each attribute is distributed over the avatars.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="First show how far it goes, whoever drives it, until it is done.")
    ] = False,
) -> None:
    """Say what is in a run: counts, cameras, failures, stale stages; write a contact sheet."""
    with for_the_user():
        from pipeline.commands.inspect import inspect_run

        if watch:
            from pipeline.commands.watch import watch_run
            from pipeline.driver.display import stage_display

            with stage_display() as show:
                watch_run(_open(out), show)
        exit_unless(inspect_run(_open(out), verify=verify, sheet=sheet, echo=typer.echo, attributes=attributes))


app.command()(export)
app.command()(studio)


@app.command()
def view(
    out: options.Out,
    avatar: options.Avatar = None,
    own: options.Own = False,
    sample: options.Sample = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 lets other machines see it.")] = "127.0.0.1",
) -> None:
    """Look at fitted and generated avatars in a browser."""
    with for_the_user():
        name = shown(avatar, own, sample)
        require_view_extra("viser")
        run = _open(out)
        from pipeline.commands.view import view_run

        view_run(run, name, host=host, port=port, echo=typer.echo)


@app.command()
def clean(
    out: options.Out, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False
) -> None:
    """Remove dead attempts and half-written temporaries; published files and resumable parts stay."""
    with for_the_user():
        from pipeline.commands.clean import clean_run

        clean_run(_open(out, writes=True).layout, dry_run=dry_run, echo=typer.echo)


@app.command()
def doctor(
    out: options.OutToCheck = None,
    preset: Annotated[str, typer.Option(help="Preset whose needs are checked.")] = "demo",
    address: options.Address = None,
) -> None:
    """Check Python, Blender (one real frame), Ray, GPU and disk, and name what is missing."""
    with for_the_user():
        from pipeline.commands.doctor import examine, next_of

        exit_unless(examine(out or Path.cwd(), preset, address, echo=typer.echo))
        typer.echo(next_of(out, preset))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def submit(
    context: typer.Context,
    address: Annotated[str, typer.Option(help="Ray dashboard of the cluster, such as http://head:8265.")],
    working_dir: Annotated[Path | None, typer.Option(help="Folder to upload; nothing when installed there.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job's log until it ends.")] = False,
) -> None:
    """Submit a command to a Ray cluster: rodin-pipe submit --address http://head:8265 -- run --out /shared/run."""
    with for_the_user():
        from cluster.submit import submit_job

        known = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
        if not context.args or context.args[0] not in known - {"submit"}:
            raise ConfigError("submit: give the command after --, such as: -- run --preset desk --out /mnt/run")
        words = ["rodin-pipe", *context.args, "--address", "auto"]
        on_log = partial(typer.echo, nl=False)
        job = submit_job(address, words, working_dir=working_dir, wait=wait, on_log=on_log)
        typer.echo(f"{job}: done" if wait else f"{job}\nnext: ray job logs --follow --address {address} {job}")


def main() -> None:
    """Entry point of ``rodin-pipe``."""
    app()


def _open(out: Path, settings: Sequence[str] = (), *, writes: bool = False) -> "Run":
    from pipeline.run.existing import open_run

    return open_run(out, settings, writes=writes)


if __name__ == "__main__":
    main()
