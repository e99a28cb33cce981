"""``rodin-pipe export web``: avatars as one HTML file that opens anywhere and draws their fields live."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.commands.gallery import OWN, Exhibit, Gallery, generated
from pipeline.contracts.errors import ConfigError, ResourceError
from pipeline.contracts.naming import RunLayout, parse_avatar
from pipeline.contracts.units import bytes_text
from pipeline.io.files import is_folder
from pipeline.io.publish import publish_text
from pipeline.report.web.page import LiveAvatar, web_page
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.stages.live import live_fit, live_sample

SUFFIX: Final = ".html"
MOST_AVATARS: Final = 12
"""Of a gallery: its page is loaded whole."""
GALLERY: Final = "gallery"


def web_path(layout: RunLayout, name: str | None) -> Path:
    """Where the page of an avatar, or of several, goes by default: ``web/`` of the run."""
    return layout.root / "web" / ((name or GALLERY).replace("/", "-") + SUFFIX)


def export_run(run: Run, name: str | None, file: Path | None) -> str:
    """Publish the page of an avatar of a run, or without a name of its first ones; returns what to say of it.

    Raises ``RodinError`` with one line.
    """
    path = file or web_path(run.layout, name)
    _check_path(path)
    gallery = Gallery.open(run.snapshot())
    every = gallery.names() if name is None else (name,)
    shown = every[:MOST_AVATARS]
    avatars = [_of_run(gallery, gallery.exhibit(one)) for one in shown]
    return _publish(path, avatars, name or run.layout.root.name, left_out=len(every) - len(shown))


def export_generated(folder: Path, models: ModelFolder, file: Path | None) -> str:
    """Publish the page of avatars that ``generate`` wrote to a folder, or of one of them, and say so.

    Raises ``RodinError`` with one line.
    """
    folder = folder.resolve()
    exhibits = generated(folder, models)
    alone = exhibits[0].name == folder.name
    path = file or folder / ((folder.name if alone else GALLERY) + SUFFIX)
    _check_path(path)
    by = "released with rodin-pipe" if models.record is not None else models.layout.root.name
    avatars = [
        live_sample(
            exhibit.name,
            folder if alone else folder / exhibit.name,
            exhibit.planes,
            exhibit.decoder,
            models.sampling,
            by,
        )
        for exhibit in exhibits[:MOST_AVATARS]
    ]
    return _publish(path, avatars, folder.name, left_out=len(exhibits) - len(avatars))


def _of_run(gallery: Gallery, exhibit: Exhibit) -> LiveAvatar:
    run, name = gallery.run, exhibit.name
    if name in gallery.samples():
        folder, sampling = run.layout.samples / name, run.config.sampling()
        return live_sample(
            name, folder, exhibit.planes, exhibit.decoder, sampling, f"of the run {run.layout.root.name}"
        )
    own = name.startswith(OWN)
    avatar = parse_avatar(name.removeprefix(OWN))
    if own:
        fit = run.own_reports()[avatar].fit
        assert fit is not None, "the gallery names those that are fitted"
    else:
        fit = next(fit for report in run.fit_reports().values() for fit in report.fits if fit.avatar == avatar)
    return live_fit(run, fit, exhibit.planes, exhibit.decoder, own=own)


def _publish(path: Path, avatars: Sequence[LiveAvatar], title: str, *, left_out: int) -> str:
    page = web_page(avatars, f"{title} · rodin-pipe")
    try:
        publish_text(path, page)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written ({error.strerror}): give another --file") from None
    whom = avatars[0].name if len(avatars) == 1 else f"{len(avatars)} avatars"
    more = f", {left_out} more left out" if left_out else ""
    return f"{path}: {whom}{more}, {bytes_text(len(page.encode()))}; open it in any browser"


def _check_path(path: Path) -> None:
    if path.suffix.lower() != SUFFIX or is_folder(path):
        raise ConfigError(f"--file {path} is no name of a {SUFFIX} file")
