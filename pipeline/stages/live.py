"""Avatars for a page that draws them (:mod:`pipeline.report.web`): from tensors to what a browser takes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from pipeline.config.sampling import Sampling
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.planes import FitReport
from pipeline.images import encode_jpeg, to_uint8
from pipeline.io.files import exists, read_text
from pipeline.report.web.field import LiveDecoder, LiveField, live_cells, live_decoder, live_planes
from pipeline.report.web.page import LiveAvatar, StartCamera
from pipeline.run.run import Run
from pipeline.stages.fit.own import turntable_cameras
from pipeline.stages.picture import picture
from pipeline.stages.views import read_samples
from rodin_models.field.decoder import Decoder
from rodin_models.field.march import count_pieces
from rodin_models.field.occupancy import Occupancy, attached
from rodin_models.field.render import planes_occupancy

POSTER_SIDE: Final = 256
MOST_CELLS: Final = 64
"""Along each side of the grid that says where there is matter; what pictures of planes are made with elsewhere."""
Rows: TypeAlias = tuple[tuple[str, str], ...]


def live_avatar(
    name: str,
    planes: torch.Tensor,
    decoder: Decoder,
    *,
    caption: str,
    made: Rows,
    camera: StartCamera,
    samples: int,
    is_generated: bool = False,
    poster_side: int = POSTER_SIDE,
) -> LiveAvatar:
    """Planes (3, channel, side, side) under a decoder as a page shows them, with a poster of what it will draw.

    Raises ``DataError`` for a decoder that is larger than browsers take.
    """
    try:
        field, occupancy = live_field(planes, decoder, samples, is_generated=is_generated)
    except ValueError as error:
        raise DataError(f"no browser draws {name}: {error}; rodin-pipe view draws it on this machine") from None
    size = f"{field.planes.levels.shape[2]}² × {field.planes.levels.shape[1]} channels, 8 bits"
    return LiveAvatar(
        name=name,
        caption=caption,
        made=(*made, ("tri-plane", size), ("samples of a ray", str(samples))),
        poster=_poster(field, decoder, occupancy, camera, poster_side),
        camera=camera,
        field=field,
    )


def live_fit(
    run: Run, fit: FitReport, planes: torch.Tensor, decoder: Decoder, *, own: bool, poster_side: int = POSTER_SIDE
) -> LiveAvatar:
    """A fitted avatar of a run on a page. One of photographs is first seen from where those were taken, about."""
    config, name = run.config, format_avatar(fit.avatar)
    camera = StartCamera(config.render.distance, config.render.fov_deg)
    caption = ""
    if fit.avatar in run.specs():
        caption = run.specs()[fit.avatar].caption
    elif exists(run.tar_of(fit.avatar)):
        views = read_samples(run, fit.avatar, ("train",))
        caption = views[0].record.caption
        cameras = turntable_cameras([view.record.camera for view in views], 1, config.render.resolution)
        camera = seen_from(cameras[0])
    return live_avatar(
        f"own/{name}" if own else name,
        planes,
        decoder,
        caption=caption,
        made=rows_of_fit(run, fit, own=own),
        camera=camera,
        samples=config.fit.render_samples,
        poster_side=poster_side,
    )


def live_sample(
    name: str,
    folder: Path,
    planes: torch.Tensor,
    decoder: Decoder,
    sampling: Sampling,
    models: str,
    *,
    poster_side: int = POSTER_SIDE,
) -> LiveAvatar:
    """A generated avatar on a page; ``models`` says in words whose models made it. Raises ``DataError``."""
    return live_drawn(name, planes, decoder, sampling, sample_record(folder), models, poster_side=poster_side)


def live_drawn(
    name: str,
    planes: torch.Tensor,
    decoder: Decoder,
    sampling: Sampling,
    record: Mapping[str, Any],
    models: str,
    *,
    poster_side: int = POSTER_SIDE,
) -> LiveAvatar:
    """The same of one that no folder holds yet; ``record`` is what its ``avatar.json`` will say."""
    return live_avatar(
        name,
        planes,
        decoder,
        caption=caption_of_sample(record),
        made=rows_of_sample(record, models),
        camera=StartCamera(sampling.distance, sampling.fov_deg),
        samples=sampling.generate.samples,
        is_generated=True,
        poster_side=poster_side,
    )


def sample_record(folder: Path) -> dict[str, Any]:
    """What ``generate`` wrote of how it made an avatar; nothing where it wrote nothing. Raises ``DataError``."""
    path = folder / "avatar.json"
    if not exists(path):
        return {}
    try:
        record = json.loads(read_text(path))
    except ValueError:
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("planes", {}), dict):
        raise DataError(f"{path} is damaged: generate it again")
    return record


def seen_from(camera: Camera) -> StartCamera:
    """Where a camera stands, looking at the cube's middle."""
    position = camera.matrix()[:3, 3]
    distance = float(np.linalg.norm(position))
    side, focal = min((camera.width, camera.fx), (camera.height, camera.fy))
    return StartCamera(
        distance=distance,
        fov_deg=math.degrees(2 * math.atan(side / 2 / focal)),
        azimuth_deg=math.degrees(math.atan2(position[0], position[2])),
        elevation_deg=math.degrees(math.asin(position[1] / distance)),
    )


def rows_of_fit(run: Run, fit: FitReport, *, own: bool) -> Rows:
    """How a fitted avatar was made."""
    source = "photographs" if run.config.is_ingested else "renders"
    measured = "" if fit.psnr_db is None else f"{fit.psnr_db:.1f} dB over white, on views that no fit has read"
    return (
        ("what", f"tri-plane fitted to {source} of {format_avatar(fit.avatar)}"),
        ("decoder", "its own" if own else "shared by all avatars of the run"),
        ("steps", f"{fit.steps:,}"),
        *((("PSNR", measured),) if measured else ()),
        ("run", f"{run.layout.root.name}, preset {run.config.preset}, seed {run.config.seed}"),
    )


def rows_of_sample(record: Mapping[str, Any], models: str) -> Rows:
    """How a generated avatar was made, by what ``generate`` wrote beside it."""
    if not record:
        return (("what", "generated; nothing beside it says how"), ("models", models))
    words = {
        "noise": "from noise",
        "text": "from a text",
        "portrait": "from a portrait",
        "edit": "from a portrait and an edit",
        "like": "like another one",
    }
    portrait, prepared = record.get("portrait"), record.get("portrait_prepared")
    rows = (
        ("what", f"generated {words.get(record['source'], record['source'])}"),
        ("text", record.get("prompt")),
        ("portrait", PurePath(portrait).name if portrait else None),
        ("prepared", prepared),
        ("seed", f"{record['seed']}, number {record['index']}"),
        ("guidance", f"{record['guidance']:g}"),
        ("models", models),
    )
    return tuple((name, str(value)) for name, value in rows if value)


def caption_of_sample(record: Mapping[str, Any]) -> str:
    """A few words below the name."""
    return str(record.get("prompt") or "") or {
        "noise": "drawn from noise",
        "portrait": "after a portrait",
        "like": "like another one",
    }.get(str(record.get("source")), "")


def live_field(
    planes: torch.Tensor, decoder: Decoder, samples: int, *, is_generated: bool = False
) -> tuple[LiveField, Occupancy]:
    """The field of planes (3, channel, side, side) in eight bits, and where those hold matter.

    Of what ``is_generated`` without what floats beside the person.

    Raises ``ValueError`` for a decoder that is larger than browsers take.
    """
    in_blocks = decoder_blocks(decoder)
    coarse = live_planes(planes.cpu().float().numpy())
    # Cells much finer than texels would hold the same again.
    resolution = min(MOST_CELLS, 2 * planes.shape[-1])
    occupancy = planes_occupancy(torch.from_numpy(coarse.full()).to(planes.device), decoder, resolution)
    if is_generated:
        occupancy = attached(occupancy)
    low, high = ((float(x), float(y), float(z)) for x, y, z in (occupancy.low.tolist(), occupancy.high.tolist()))
    cells = live_cells(occupancy.density.cpu().numpy().astype(np.float32), low, high, count_pieces(occupancy))
    return LiveField(coarse, cells, in_blocks, samples), occupancy


def live_withheld(decoder: Decoder) -> str:
    """Why no browser draws what is under a decoder; empty where it does."""
    try:
        decoder_blocks(decoder)
    except ValueError as error:
        return f"of the decoder, {error}"
    return ""


def decoder_blocks(decoder: Decoder) -> LiveDecoder:
    """A decoder's weights as a browser takes them; raises ``ValueError`` where that is too many."""
    return live_decoder(
        {name: tensor.detach().cpu().float().numpy() for name, tensor in decoder.state_dict().items()},
        channels=decoder.settings.channels,
        octaves=decoder.settings.frequencies,
        direction_octaves=decoder.settings.direction_frequencies,
    )


def _poster(field: LiveField, decoder: Decoder, occupancy: Occupancy, camera: StartCamera, side: int) -> bytes:
    seen_from = Camera.look_at(
        orbit_position(camera.azimuth_deg, camera.elevation_deg, camera.distance),
        np.zeros(3),
        fov_deg=camera.fov_deg,
        width=side,
        height=side,
    )
    planes = torch.from_numpy(field.planes.full()).to(occupancy.density.device)
    image = picture(planes, decoder, seen_from, occupancy, samples=field.samples)
    return encode_jpeg(to_uint8(image.rgb.cpu().numpy()))
