"""What is kept, so that an evaluation goes on where it was interrupted: strips of pictures, and numbers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.contracts.errors import DataError
from pipeline.images import decode_image, encode_png
from pipeline.io.files import exists, read_bytes
from pipeline.io.publish import publish_bytes, publish_text
from pipeline.report.pictures import strip


@dataclass(frozen=True)
class Kept:
    """A folder of strips: square pictures side by side, one PNG an avatar."""

    folder: Path

    def has(self, *names: str) -> bool:
        """Whether all of these strips are there."""
        return all(exists(self._path(name)) for name in names)

    def keep(self, name: str, pictures: Tensor) -> Tensor:
        """Publish pictures (view, 3, side, side) in [0, 1] and return them as they will be read again."""
        pixels = (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        publish_bytes(self._path(name), encode_png(strip(list(pixels)), optimize=False))
        return _tensor(pixels)

    def read(self, name: str) -> Tensor:
        """What :meth:`keep` returned; raises ``DataError`` for a damaged file."""
        path = self._path(name)
        pixels = decode_image(read_bytes(path), name=str(path))[..., :3]
        side = pixels.shape[0]
        if pixels.shape[1] % side:
            raise DataError(f"{path} has {pixels.shape[1]} x {side} pixels, no row of squares: delete it")
        return _tensor(np.stack(np.split(pixels, pixels.shape[1] // side, axis=1)))

    def pictures(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """The strip of that name, made if it is not there yet."""
        return self.read(name) if self.has(name) else self.keep(name, make())

    def numbers(
        self, name: str, make: Callable[[], dict[str, float]], pictures: Sequence[str] = ()
    ) -> dict[str, float]:
        """The numbers of that name, measured if they, or ``pictures`` that ``make`` keeps, are not there yet.

        Raises ``DataError`` for a damaged file.
        """
        path = self.folder / f"{name}.json"
        if not exists(path) or not self.has(*pictures):
            publish_text(path, json.dumps(make()) + "\n")
        try:
            return {key: float(value) for key, value in json.loads(read_bytes(path)).items()}
        except (ValueError, TypeError, AttributeError):
            raise DataError(f"{path} is no record of numbers: delete it") from None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"


def _tensor(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
