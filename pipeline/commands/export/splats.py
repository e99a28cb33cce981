"""``rodin-pipe export splats``: an avatar's field as 3D Gaussians in the PLY that splat viewers open."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.commands.gallery import Exhibit
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.errors import ConfigError, DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.units import bytes_text
from pipeline.io.files import is_folder
from pipeline.io.publish import publish_bytes
from pipeline.report.web.page import StartCamera
from pipeline.stages.picture import splat_view
from rodin_models.field.splats import Splats, SplatView, contributions, extract_splats

SUFFIX: Final = ".ply"
VIEWS: Final = 24
"""That the Gaussians are made from, and as many between them that they are measured on."""
ELEVATIONS_DEG: Final = (-10.0, 10.0, 30.0)
SIDE: Final = 192
"""Pixels of a view: about one a cell."""
RAY_SAMPLES: Final = 32
LEAST_DB: Final = 28.0
"""Below it an avatar is told to be no good as Gaussians."""
_SH_0: Final = 0.5 / math.sqrt(math.pi)
"""The constant spherical harmonic: colours are 0.5 + it times what the file says."""
PROPERTIES: Final = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
"""Of each Gaussian, float32, as Kerbl et al. write them."""


def splats_path(layout: RunLayout, name: str) -> Path:
    """Where an avatar's Gaussians go by default: ``splats/`` of the run."""
    return layout.root / "splats" / (name.replace("/", "-") + SUFFIX)


def check_splats_path(path: Path) -> None:
    """Raises ``ConfigError`` unless ``path`` can be their file's name."""
    if path.suffix.lower() != SUFFIX or is_folder(path):
        raise ConfigError(f"--file {path} is no name of a {SUFFIX} file")


def export_splats(
    exhibit: Exhibit,
    start: StartCamera,
    extent_m: float,
    resolution: int,
    path: Path,
    progress: Callable[[float, float], None],
) -> str:
    """Publish an avatar's Gaussians as ``path``; returns what to say of them.

    ``extent_m`` metres are a world unit, the cube has ``resolution`` cells along each side, and ``start`` says from how
    far they are looked at. Raises ``DataError`` when the avatar has no surface, ``ResourceError`` when the file cannot
    be written.
    """
    done = 0

    def view(azimuth: float, elevation: float) -> SplatView:
        nonlocal done
        camera = Camera.look_at(
            orbit_position(azimuth, elevation, start.distance),
            np.zeros(3),
            fov_deg=start.fov_deg,
            width=SIDE,
            height=SIDE,
        )
        made = splat_view(exhibit.planes, exhibit.decoder, camera, exhibit.occupancy, samples=RAY_SAMPLES)
        done += 1
        progress(done, 2 * VIEWS + 1)
        return made

    azimuths = [360 * number / VIEWS for number in range(VIEWS)]
    heights = [ELEVATIONS_DEG[number % len(ELEVATIONS_DEG)] for number in range(VIEWS)]
    given = [view(azimuth, elevation) for azimuth, elevation in zip(azimuths, heights, strict=True)]
    splats = extract_splats(exhibit.field(), given, resolution=resolution)
    if not len(splats.opacity):
        raise DataError(f"{exhibit.name} has no surface: its planes are too thin to be seen; nothing is written")
    between = [view(a + 180 / VIEWS, e) for a, e in zip(azimuths, (*heights[1:], heights[0]), strict=True)]
    psnr = float(np.mean([psnr_db(splats, one) for one in between]))
    data = encode_ply(splats, extent_m)
    try:
        publish_bytes(path, data)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written ({error.strerror}): give another --file") from None
    progress(2 * VIEWS + 1, 2 * VIEWS + 1)
    said = (
        f"{path}: {len(splats.opacity)} Gaussians, {bytes_text(len(data))}, {psnr:.1f} dB to the field in {VIEWS} views"
    )
    poor = "" if psnr >= LEAST_DB else f", which is little (below {LEAST_DB:g}): export web draws the field itself"
    return f"{said}{poor}; viewers of 3D Gaussians, such as SuperSplat, open it"


def psnr_db(splats: Splats, view: SplatView) -> float:
    """Of the Gaussians' picture to the field's own, over white, in dB."""
    height, width = view.rgb.shape[:2]
    made = contributions(splats, view.cam2world, view.intrinsics, height, width).picture(splats.colours)
    error = float((made - view.rgb.reshape(-1, 3)).square().mean())
    return -10 * math.log10(max(error, 1e-12))


def encode_ply(splats: Splats, extent_m: float) -> bytes:
    """Binary little-endian PLY with :data:`PROPERTIES`, in metres, +y down as in scenes of COLMAP's cameras.

    So a viewer of such scenes shows avatars upright. Turned by 180 degrees about z: x and y change their signs.
    """
    count = len(splats.opacity)
    table: npt.NDArray[np.float32] = np.zeros((count, len(PROPERTIES)), "<f4")
    table[:, :3] = splats.centres.cpu().numpy() * (-extent_m, -extent_m, extent_m)
    table[:, 6:9] = (splats.colours.cpu().numpy() - 0.5) / _SH_0
    opacity = splats.opacity.double().cpu().numpy()
    table[:, 9] = np.log(opacity / (1 - opacity))
    table[:, 10:13] = math.log(splats.deviation * extent_m)
    table[:, 13] = 1  # the quaternion of no rotation, w first
    header = "\n".join(
        (
            "ply",
            "format binary_little_endian 1.0",
            f"element vertex {count}",
            *(f"property float {name}" for name in PROPERTIES),
            "end_header\n",
        )
    )
    return header.encode("ascii") + table.tobytes()
