"""What a run has to show: its fitted avatars and its samples by name, and pictures of them from any camera.

A fitted avatar's name is its id (``a000012``), that of a fit with a decoder of its own ``own/a000012``, a sample's its
folders below ``samples/`` (``noise/avatar-000``).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.camera import Camera
from pipeline.contracts.conventions import PLANE_NAMES
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar, parse_avatar
from pipeline.contracts.planes import PlaneSpec
from pipeline.contracts.rendering import Split
from pipeline.images import over_white, to_uint8
from pipeline.io.files import exists, names, read_array
from pipeline.io.plane_store import PlaneStore
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.stages.device import choose_device
from pipeline.stages.fit.decoder_file import decoder_digest, load_decoder, load_own
from pipeline.stages.live import sample_record
from pipeline.stages.picture import picture
from pipeline.stages.views import read_samples
from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import Occupancy, attached
from rodin_models.field.render import PlaneField, planes_occupancy

AVATAR_ID = re.compile(r"a\d{6}")
PLANES_FILE = "planes.npy"
OWN = "own/"
"""Begins the name of an avatar with a decoder of its own."""
NAMES_IN_ERROR = 6
"""Most names that an error lists."""


@dataclass(frozen=True)
class Exhibit:
    """One avatar, ready to be looked at."""

    name: str
    planes: torch.Tensor
    """float32 (3, channel, side, side), on the gallery's device."""
    decoder: Decoder
    """The run's, or the avatar's own."""
    occupancy: Occupancy

    def field(self) -> PlaneField:
        """Its radiance field."""
        return PlaneField.of_planes(self.planes, self.decoder)


@dataclass(frozen=True)
class Gallery:
    """A run's avatars under its decoder. What is there is looked up anew each time: a run may go on meanwhile."""

    run: Run
    device: torch.device
    decoder: Decoder | None
    """The shared one; a run that only has avatars with decoders of their own has none."""

    @classmethod
    def open(cls, run: Run) -> "Gallery":
        """Raises ``DataError`` when the run has no decoder of any kind yet."""
        device = choose_device(run.config)
        alone = run.decoder_report() is None and bool(run.own_reports())
        return cls(run, device, None if alone else load_decoder(run.layout, device)[0])

    def fitted(self) -> tuple[str, ...]:
        """Avatars that are fitted under the decoder there is now."""
        decoder = self.run.decoder_report()
        return tuple(
            format_avatar(fit.avatar)
            for report in self.run.fit_reports().values()
            if decoder is not None and report.decoder_sha256 == decoder.decoder_sha256
            for fit in report.fits
        )

    def own(self) -> tuple[str, ...]:
        """Avatars with a decoder of their own."""
        reports = self.run.own_reports()
        return tuple(OWN + format_avatar(avatar) for avatar, report in reports.items() if report.fit is not None)

    def samples(self) -> tuple[str, ...]:
        """Generated avatars."""
        if self.decoder is None:
            return ()
        found = names(self.run.layout.samples, f"*/*/{PLANES_FILE}")
        return tuple(str(path.parent.relative_to(self.run.layout.samples)) for path in found)

    def names(self) -> tuple[str, ...]:
        """Everything there is to show; ``DataError`` when that is nothing."""
        names = self.fitted() + self.own() + self.samples()
        if not names:
            raise DataError(f"{self.run.layout.root} has no fitted avatar and no sample: run rodin-pipe fit first")
        return names

    def exhibit(self, name: str) -> Exhibit:
        """Load one; raises ``DataError`` when it is not there or damaged."""
        if name.startswith(OWN):
            planes, decoder = self._read_own(name)
        else:
            stored = self._read(name)
            assert self.decoder is not None, "what is fitted or generated has a decoder"
            planes, decoder = torch.from_numpy(stored).to(self.device).float(), self.decoder
        occupancy = planes_occupancy(planes, decoder)
        return Exhibit(name, planes, decoder, attached(occupancy) if name in self.samples() else occupancy)

    def picture(self, exhibit: Exhibit, camera: Camera) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Colour over white, uint8 (row, column, 3), and z-depth in world units (row, column).

        Depth is infinite where more than half of the background is seen.
        """
        samples = self.run.config.fit.render_samples
        image = picture(exhibit.planes, exhibit.decoder, camera, exhibit.occupancy, samples=samples)
        depth = torch.where(image.alpha > 0.5, image.depth, torch.inf)
        return to_uint8(image.rgb.cpu().numpy()), depth.cpu().numpy()

    def training_views(self, name: str) -> tuple[tuple[Camera, npt.NDArray[np.uint8]], ...]:
        """Cameras and photographs over white that an avatar was fitted to; none of a sample.

        Raises ``DataError`` when the renders are not there any more.
        """
        if name not in self.fitted() + self.own():
            return ()
        train: tuple[Split, ...] = ("train",)
        views = read_samples(self.run, parse_avatar(name.removeprefix(OWN)), train)
        return tuple((view.record.camera, over_white(view.rgba)) for view in views)

    def _read(self, name: str) -> npt.NDArray[np.float16]:
        fitted = self.fitted()
        if name in fitted:
            return PlaneStore.open(self.run.layout.planes, self.run.config.plane_spec()).read(parse_avatar(name))
        samples = self.samples()
        if name in samples:
            return _read_planes(self.run.layout.samples / name / PLANES_FILE, self.run.config.plane_spec())
        if AVATAR_ID.fullmatch(name):
            raise DataError(
                f"{self.run.layout.root} has no avatar {name} fitted under its decoder; fitted are {_listed(fitted)}; "
                "rodin-pipe inspect says what failed"
            )
        raise DataError(f"{self.run.layout.samples} has no sample {name!r}; it has {_listed(samples)}")

    def _read_own(self, name: str) -> tuple[torch.Tensor, Decoder]:
        own = self.own()
        if name not in own:
            raise DataError(
                f"{self.run.layout.root} has no {name.removeprefix(OWN)} with a decoder of its own; it has "
                f"{_listed(own)}: run rodin-pipe fit --own-decoder --out {self.run.layout.root}"
            )
        return load_own(self.run.layout.own / name.removeprefix(OWN), self.device)


def generated(folder: Path, models: ModelFolder) -> tuple[Exhibit, ...]:
    """The avatars of a folder that ``generate`` wrote, or the one of an avatar's own folder, under the decoder of
    ``models``; names are those of their folders.

    Raises ``DataError`` where there is none, one is damaged, or one was made under another decoder.
    """
    alone = exists(folder / PLANES_FILE)
    folders = (folder,) if alone else tuple(path.parent for path in names(folder, f"avatar-*/{PLANES_FILE}"))
    if not folders:
        raise DataError(
            f"{folder} holds no avatar: give a folder that rodin-pipe generate wrote, or one of its avatars"
        )
    device = choose_device(models.sampling)
    decoder, _ = load_decoder(models.layout, device)
    digest = decoder_digest(decoder)
    exhibits = []
    for place in folders:
        planes = torch.from_numpy(_read_planes(place / PLANES_FILE, models.sampling.planes)).to(device).float()
        made_under = sample_record(place).get("planes", {}).get("decoder_sha256", digest)
        if made_under != digest:
            raise DataError(f"{place} was generated by other models than {models.layout.root}: name them with --model")
        exhibits.append(Exhibit(place.name, planes, decoder, attached(planes_occupancy(planes, decoder))))
    return tuple(exhibits)


def _read_planes(path: Path, spec: PlaneSpec) -> npt.NDArray[np.float16]:
    expected = (len(PLANE_NAMES), spec.channels, spec.resolution, spec.resolution)
    try:
        planes = read_array(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no readable array ({' '.join(str(error).split())}): generate it again") from None
    if planes.shape != expected or planes.dtype != np.float16 or not np.isfinite(planes).all():
        raise DataError(
            f"{path} holds {planes.dtype} of shape {planes.shape}, not finite float16 of shape {expected}: "
            "generate it again"
        )
    found: npt.NDArray[np.float16] = planes
    return found


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:NAMES_IN_ERROR]) or "none"
    return shown + (f" and {len(names) - NAMES_IN_ERROR} more" if len(names) > NAMES_IN_ERROR else "")
