"""``rodin-pipe export`` as the command line has it: options that fit together, one line on what was written."""

from typing import Annotated

import typer

from pipeline.commands import options
from pipeline.commands.export.mesh_request import MeshRequest
from pipeline.commands.shell import for_the_user, require_view_extra, shown
from pipeline.contracts.errors import ConfigError


def export(
    format_: options.Format = options.ExportFormat.GLB,
    out: options.OutOfExport = None,
    avatar: options.Avatar = None,
    own: options.Own = False,
    sample: options.Sample = None,
    generated: options.Generated = None,
    model: options.ModelOption = None,
    resolution: Annotated[
        int | None,
        typer.Option(min=16, max=512, help="Of glb and splats: cells along each axis of the cube; 128 and 160."),
    ] = None,
    triangles: Annotated[
        int | None,
        typer.Option(min=100, help="Of glb: most triangles; 20000 with a texture, else what the cells give."),
    ] = None,
    texture: Annotated[
        int | None, typer.Option(min=64, max=4096, help="Of glb: side of a texture, such as 1024; else vertex colours.")
    ] = None,
    file: options.File = None,
    to: options.To = None,
    linear_mib: options.LinearMib = 16.0,
    set_: options.Settings = None,
) -> None:
    """Write a fitted or a generated avatar as a coloured mesh (glb, in metres), or as one HTML file that anyone can
    open and turn (web; without --avatar and --sample a page of several), or as 3D Gaussians (splats), an avatar's
    photographs with their cameras in the NeRF layout (nerf), which other programs and `ingest` read, the synthetic
    person's own mesh (person), or the run's models (models), which `generate --model` and `train.start_from` read;
    --set generate.views=24 is then kept with them.
    """
    with for_the_user():
        from pipeline.commands.export.export import export as export_avatar
        from pipeline.commands.export.export import export_generated, export_weights
        from pipeline.run.existing import open_run

        cells = resolution or (160 if format_ is options.ExportFormat.SPLATS else 128)
        mesh = MeshRequest(cells, triangles, texture)
        packages = ["skimage", "trimesh"] if format_ is options.ExportFormat.GLB else []
        packages += ["fast_simplification"] if packages and mesh.most_triangles else []
        packages += ["xatlas"] if packages and texture else []
        if generated is not None:
            if out is not None or avatar is not None or sample is not None or own:
                raise ConfigError("--generated is of avatars outside of a run: leave out --out, --avatar and --sample")
            if format_.is_of_a_run:
                raise ConfigError(f"--generated is of export web, glb and splats, not of export {format_.value}")
            require_view_extra(*packages)
            typer.echo(export_generated(generated, format_, model=model, mesh=mesh, file=file))
            return
        if model is not None:
            raise ConfigError("--model names the models of --generated; the avatars of a run are under its own")
        if out is None:
            raise ConfigError("export: say of which run, with --out RUN")
        if format_ is options.ExportFormat.MODELS:
            typer.echo(export_weights(open_run(out, set_ or ()), to=to, linear_mib=linear_mib))
            return
        if to is not None or set_:
            raise ConfigError(f"--to and --set are of export models; export {format_.value} writes --file")
        name = shown(avatar, own, sample)
        if packages:
            require_view_extra(*packages)
        run = open_run(out)
        typer.echo(export_avatar(run, format_, name=name, avatar=avatar, mesh=mesh, file=file))
