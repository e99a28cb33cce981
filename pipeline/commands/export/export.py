"""``rodin-pipe export``: which exporter writes what, and where by default."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.export.mesh_request import MeshRequest
from pipeline.commands.options import ExportFormat
from pipeline.config.sampling import Sampling
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.naming import next_command
from pipeline.io.files import version
from pipeline.run.run import Run

if TYPE_CHECKING:
    from pipeline.commands.gallery import Exhibit


def export(
    run: Run, form: ExportFormat, *, name: str | None, avatar: int | None, mesh: MeshRequest, file: Path | None
) -> str:
    """Write one avatar in one format and say so in a line.

    ``name`` is the avatar's in :mod:`pipeline.commands.gallery`, for a mesh or a page of its planes; ``avatar`` its
    index, for what only rendered or captured ones have. Raises ``RodinError`` with one line.
    """
    if form is ExportFormat.GLB:
        if name is None:
            raise ConfigError("export glb: say whose, with --avatar 12 or --sample noise/avatar-000")
        return _mesh(run, name, mesh, file)
    if form is ExportFormat.SPLATS:
        if name is None:
            raise ConfigError("export splats: say whose, with --avatar 12 or --sample noise/avatar-000")
        return _splats(run, name, mesh.resolution, file)
    if form is ExportFormat.WEB:
        from pipeline.commands.export.web import export_run

        return export_run(run, name, file)
    if avatar is None:
        raise ConfigError(f"export {form.value}: say whose, with --avatar 12; samples have none")
    return (_nerf if form is ExportFormat.NERF else _person)(run, avatar, file)


def export_weights(run: Run, *, to: Path | None, linear_mib: float) -> str:
    """Write a run's decoder and models as a compact folder and say so in a line. Raises ``RodinError``."""
    if to is None:
        raise ConfigError("export models: say where, with --to FOLDER")
    from pipeline.commands.export.models import export_models

    return export_models(run, to, linear_bytes=int(linear_mib * 2**20))


def export_generated(
    folder: Path, form: ExportFormat, *, model: Path | None, mesh: MeshRequest, file: Path | None
) -> str:
    """Write avatars that no run has, as a page, or one of them as a mesh, and say so in a line. Raises ``RodinError``.

    They were made by the models at ``model``, or by the released ones.
    """
    from pipeline.run.model_folder import open_models, open_released

    models = open_models(model) if model is not None else open_released()
    if form is ExportFormat.WEB:
        from pipeline.commands.export.web import export_generated as export_page

        return export_page(folder, models, file)
    from pipeline.commands.gallery import generated

    exhibits = generated(folder.resolve(), models)
    if len(exhibits) > 1:
        raise ConfigError(
            f"export {form.value}: {folder} holds {len(exhibits)} avatars; give one's folder, {exhibits[0].name}"
        )
    sampling, name = models.sampling, folder.resolve() / exhibits[0].name
    if form is ExportFormat.SPLATS:
        return _splats_of(exhibits[0], sampling, mesh.resolution, file or name.with_name(name.name + ".ply"))
    from pipeline.commands.export.mesh import SUFFIX, check_mesh_path, export_mesh

    path = file or name.with_name(name.name + SUFFIX)
    check_mesh_path(path)
    return export_mesh(exhibits[0], sampling.planes.extent_m, mesh, path)


def _mesh(run: Run, name: str, request: MeshRequest, file: Path | None) -> str:
    from pipeline.commands.export.mesh import check_mesh_path, export_mesh, mesh_path
    from pipeline.commands.gallery import Gallery

    path = file or mesh_path(run.layout, name)
    check_mesh_path(path)
    return export_mesh(Gallery.open(run).exhibit(name), run.config.render.extent_m, request, path)


def _splats(run: Run, name: str, resolution: int, file: Path | None) -> str:
    from pipeline.commands.export.splats import splats_path
    from pipeline.commands.gallery import Gallery

    path = file or splats_path(run.layout, name)
    return _splats_of(Gallery.open(run).exhibit(name), run.config.sampling(), resolution, path)


def _splats_of(exhibit: "Exhibit", sampling: Sampling, resolution: int, path: Path) -> str:
    from pipeline.commands.export.splats import check_splats_path, export_splats
    from pipeline.driver.display import simple_progress
    from pipeline.report.web.page import StartCamera

    check_splats_path(path)
    start = StartCamera(sampling.distance, sampling.fov_deg)
    with simple_progress("export splats", "view") as progress:
        return export_splats(exhibit, start, sampling.planes.extent_m, resolution, path, progress)


def _nerf(run: Run, avatar: int, file: Path | None) -> str:
    from pipeline.commands.export.nerf import export_nerf, nerf_path

    folder = file or nerf_path(run.layout, avatar)
    views = export_nerf(run, avatar, folder)
    again = next_command("ingest", folder, "--out", f"{folder}-run")
    return f"{folder}: {views} views, OpenGL cameras\n{again}"


def _person(run: Run, avatar: int, file: Path | None) -> str:
    from pipeline.commands.export.person import export_person, person_path

    path = file or person_path(run.layout, avatar)
    export_person(run, avatar, path)
    written = version(path)
    assert written is not None
    following = next_command("export", "nerf", "--out", run.layout.root, "--avatar", avatar)
    return f"{path}: {written[1] / 1e6:.1f} MB, one node a part, with classes and landmarks\n{following}"
