"""The plane store ``planes.zarr``: every avatar's fitted planes in one Zarr v3 group, one chunk an avatar.

So two tasks never write one chunk, and a chunk is published by rename, as zarr's local store does it too; in a bucket,
where zarr's ``ObjectStore`` reads the group, it is one object. The driver alone creates and extends the store, while
no task runs. A chunk that was never written reads as NaN: which avatars are there is the ledger's to say, and reading
one that is not is an error.

    planes        float16 [avatar, plane, channel, row, column]
    base_planes   the same at the base diffusion's resolution, antialiased
    channel_sums  float64 [avatar, level, moment, plane, channel]: sum and sum of squares over the texels, from
                  which means and deviations over any set of avatars follow without reading planes
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.conventions import PLANE_NAMES
from pipeline.contracts.errors import DataError
from pipeline.contracts.planes import PlaneSpec
from pipeline.io.bucket.objects import asking, client
from pipeline.io.bucket.run_objects import read_trusted
from pipeline.io.files import exists
from pipeline.io.plane_attributes import STORE_REMEDY, attributes_of, parse_attributes, require_equal
from pipeline.io.publish import flush_to_disk, publish_bytes, publish_folder, temporary_path

Level = Literal["planes", "base_planes"]
Half = npt.NDArray[np.float16]
Double = npt.NDArray[np.float64]

LEVELS: Final[tuple[Level, Level]] = ("planes", "base_planes")
"""Order of ``channel_sums``' axis ``level``."""

MOMENTS: Final = ("sum", "sum_of_squares")
"""Order of ``channel_sums``' axis ``moment``."""

_DIMENSIONS: Final = {
    "planes": ("avatar", "plane", "channel", "row", "column"),
    "base_planes": ("avatar", "plane", "channel", "base_row", "base_column"),
}
"""Of arrays of one group, readers such as xarray take equal names for equal sizes."""
_SUM_DIMENSIONS: Final = ("avatar", "level", "moment", "plane", "channel")
_EXPONENT: Final = np.uint16(0x7C00)
"""The exponent bits of a float16."""
_DAMAGED_METADATA = (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError)
"""What zarr raises for a zarr.json that is not there or not one."""


@dataclass(frozen=True)
class PlaneStatistics:
    """Mean and standard deviation of plane values, float64 [plane, channel]."""

    mean: Double
    std: Double


def create_plane_store(
    path: Path,
    spec: PlaneSpec,
    num_avatars: int,
    decoder_sha256: str | None = None,
    *,
    zstd_level: int | None = None,
) -> None:
    """Publish an empty store of full size. An existing one is replaced.

    A store is made before there is a decoder; :func:`name_decoder` tells it later.

    ``zstd_level`` is off by default: fitted planes are noise in the lower half of each float16, so that zstd saves
    a tenth of the bytes and takes two to four times as long to write and to read.
    """
    temporary = temporary_path(path)
    group = zarr.create_group(temporary, zarr_format=3, attributes=attributes_of(spec, decoder_sha256))
    meanings = {
        "planes": "fitted tri-plane features; see the group's attributes",
        "base_planes": "planes resampled with antialiasing; what the base diffusion learns",
    }
    for name in LEVELS:
        _create_array(
            group,
            name,
            shape=(num_avatars, *_plane_shape(spec, name)),
            dtype="float16",
            dimensions=_DIMENSIONS[name],
            zstd_level=zstd_level,
            meaning=meanings[name],
        )
    _create_array(
        group,
        "channel_sums",
        shape=(num_avatars, *_sum_shape(spec)),
        dtype="float64",
        dimensions=_SUM_DIMENSIONS,
        zstd_level=None,
        meaning=f"over the texels of each channel; levels {', '.join(LEVELS)}; moments {', '.join(MOMENTS)}",
    )
    publish_folder(temporary, path)


def extend_plane_store(path: Path, spec: PlaneSpec, num_avatars: int) -> None:
    """Make room for at least ``num_avatars``; what is stored stays. By the driver, while no task runs.

    Each array's metadata is replaced by rename. After a crash between two of them, extending again ends the work;
    until then :attr:`PlaneStore.num_avatars` is the shortest array's. Raises ``DataError`` as ``PlaneStore.open``.
    """
    store = PlaneStore.open(path, spec)
    for name, array in store.arrays.items():
        if array.shape[0] < num_avatars:
            with _asking(path):
                array.resize((num_avatars, *array.shape[1:]))
            _flush(path / name / "zarr.json")


def name_decoder(path: Path, decoder_sha256: str) -> None:
    """Write the hash of the decoder that the planes are fitted under into the store's attributes.

    By whoever publishes the decoder, before any task that fits under it. Raises ``DataError`` if there is no store.
    """
    store = PlaneStore.open(path)
    if store.decoder_sha256 != decoder_sha256:
        with _asking(path):
            zarr.open_group(_zarr_store(path), mode="r+", zarr_format=3).attrs["decoder_sha256"] = decoder_sha256
        _flush(path / "zarr.json")


@dataclass(frozen=True)
class PlaneStore:
    """An open plane store. Tasks may write different avatars at the same time, from any process."""

    path: Path
    spec: PlaneSpec
    decoder_sha256: str | None
    """Of the decoder that the planes are fitted under; ``None`` while there is none."""
    levels: dict[Level, zarr.Array[Any]]
    channel_sums: zarr.Array[Any]
    read_before: set[BucketPath] = field(default_factory=set, compare=False, repr=False)
    """Chunks in a bucket that were asked for since the store was opened: their copies on this machine are theirs."""

    @classmethod
    def open(cls, path: Path, spec: PlaneSpec | None = None, decoder_sha256: str | None = None) -> Self:
        """Open the store at ``path`` for reading and writing.

        Raises ``DataError`` if there is none, if its schema or arrays are not what this program writes, or if it
        is of another ``spec`` or decoder than the ones given.
        """
        if not exists(path / "zarr.json"):
            raise DataError(f"{path} is no plane store, there is no zarr.json: {STORE_REMEDY}")
        try:
            with _asking(path):
                group = zarr.open_group(_zarr_store(path), mode="r+", zarr_format=3)
        except _DAMAGED_METADATA as error:
            raise DataError(f"{path} is no plane store ({' '.join(str(error).split())}): {STORE_REMEDY}") from None
        stored_spec, stored_decoder = parse_attributes(path, dict(group.attrs))
        if spec is not None:
            require_equal(path, stored_spec, spec)
        if decoder_sha256 is not None and decoder_sha256 != stored_decoder:
            raise DataError(
                f"{path} is of decoder {str(stored_decoder)[:12]}, not {decoder_sha256[:12]}: fit again with --redo fit"
            )
        levels = {name: _open_array(path, name, _plane_shape(stored_spec, name), "float16") for name in LEVELS}
        sums = _open_array(path, "channel_sums", _sum_shape(stored_spec), "float64")
        return cls(path, stored_spec, stored_decoder, levels, sums)

    @property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """All arrays by name; each has one chunk an avatar."""
        return {"channel_sums": self.channel_sums} | {str(name): array for name, array in self.levels.items()}

    @property
    def num_avatars(self) -> int:
        """How many avatars there is room for."""
        return min(int(array.shape[0]) for array in self.arrays.values())

    def write(
        self, avatar: int, planes: npt.NDArray[np.floating[Any]], base_planes: npt.NDArray[np.floating[Any]]
    ) -> str:
        """Store one avatar, flushed to the disk; return the SHA-256 of its full planes as stored.

        Both arrays are [plane, channel, row, column] and are rounded to float16. Writing an avatar again replaces
        it. Raises ``DataError`` for values that float16 cannot hold, which a fit that diverged gives.
        """
        self._require_room(avatar)
        halves = [self._as_half(avatar, name, array) for name, array in zip(LEVELS, (planes, base_planes), strict=True)]
        # Writing waits for the disk, and meanwhile there is enough to reckon.
        with ThreadPoolExecutor(1) as pool:
            levels = [pool.submit(self._publish, n, avatar, half) for n, half in zip(LEVELS, halves, strict=True)]
            self._publish("channel_sums", avatar, np.stack([_moments(half) for half in halves]))
            digest = planes_sha256(halves[0])
        for level in levels:
            level.result()
        return digest

    def _publish(self, name: str, avatar: int, values: npt.NDArray[Any]) -> None:
        """One avatar's chunk of one array, flushed. Bare chunks are the values' bytes, so zarr need not copy them."""
        array, chunk = self.arrays[name], self.chunk(name, avatar)
        if array.compressors:
            array[avatar] = values
            _flush(chunk)
            _flush(chunk.parent)
        else:
            publish_bytes(chunk, np.ascontiguousarray(values, array.dtype.newbyteorder("<")).data)

    def chunk(self, name: str, avatar: int) -> Path:
        """The file that holds one avatar of an array."""
        return self.path / name / self.chunk_name(name)(avatar)

    def chunk_name(self, name: str) -> Callable[[int], str]:
        """How the files of an array are named, by avatar."""
        behind = ".0" * (self.arrays[name].ndim - 1)
        return lambda avatar: f"c.{avatar}{behind}"

    def chunk_bytes(self, name: str) -> int | None:
        """Bytes of each of an array's chunks; ``None`` where they are compressed."""
        array = self.arrays[name]
        return None if array.compressors else int(np.prod(array.chunks)) * array.dtype.itemsize

    def _values(self, name: str, avatar: int) -> npt.NDArray[Any]:
        """One avatar's values of one array; NaN where its chunk is missing. Raises ``ValueError``, ``RuntimeError``."""
        array, chunk = self.arrays[name], self.chunk(name, avatar)
        if not isinstance(chunk, BucketPath) or array.compressors:
            return np.asarray(array[avatar])
        try:
            data = read_trusted(chunk, self.read_before)
        except FileNotFoundError:
            return np.full(array.shape[1:], np.nan, array.dtype)
        return np.frombuffer(data, array.dtype.newbyteorder("<")).reshape(array.shape[1:]).astype(array.dtype)

    def sums(self, avatar: int) -> Double:
        """Sums and sums of squares of one avatar's planes, [level, moment, plane, channel]; NaN where it has none."""
        return np.asarray(self._values("channel_sums", avatar), np.float64)

    def read(self, avatar: int, level: Level = "planes") -> Half:
        """One avatar's planes, float16 [plane, channel, row, column].

        Raises ``DataError`` if it was never written, or is damaged.
        """
        self._require_room(avatar)
        try:
            planes: Half = np.asarray(self._values(level, avatar), np.float16)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:100]
            raise DataError(
                f"{self.path}: {level} of avatar {avatar} cannot be read ({reason}), so it is damaged, in "
                f"{level}/{self.chunk(level, avatar).name}: fit it again with --redo fit"
            ) from None
        wrong = _not_finite(planes)
        if wrong == planes.size:
            raise DataError(f"{self.path} holds no {level} of avatar {avatar}: fit it first")
        # Writing lets none in: the file was changed since.
        if wrong:
            raise DataError(
                f"{self.path}: {wrong} of {planes.size} values of {level} of avatar {avatar} are no finite numbers, so "
                "it is damaged: fit it again with --redo fit"
            )
        return planes

    def read_many(self, avatars: Sequence[int], level: Level = "planes") -> Half:
        """Planes of several avatars, in the order asked for: float16 [avatar, plane, channel, row, column]."""
        shape = (len(avatars), *self.levels[level].shape[1:])
        planes: Half = np.empty(shape, np.float16)
        for i, avatar in enumerate(avatars):
            planes[i] = self.read(avatar, level)
        return planes

    def statistics(self, avatars: Sequence[int], level: Level = "planes") -> PlaneStatistics:
        """Mean and deviation over the texels of ``avatars``, from their stored sums, whatever their order.

        Raises ``DataError`` for an avatar without sums.
        """
        sums = np.zeros((len(MOMENTS), len(PLANE_NAMES), self.spec.channels))
        for avatar in sorted(avatars):
            self._require_room(avatar)
            one = self.sums(avatar)[LEVELS.index(level)]
            if np.isnan(one.flat[0]):
                raise DataError(f"{self.path} holds no sums of avatar {avatar}: fit it first")
            sums += one
        assert len(avatars) > 0, "statistics of no avatar"
        mean, mean_of_squares = sums / (len(avatars) * self.levels[level].shape[-1] ** 2)
        return PlaneStatistics(mean, np.sqrt(np.maximum(mean_of_squares - mean**2, 0.0)))

    def _require_room(self, avatar: int) -> None:
        if not 0 <= avatar < self.num_avatars:
            raise DataError(
                f"{self.path} has room for {self.num_avatars} avatars, so there is no avatar {avatar}: "
                "run the command again, which extends the store to render.num_avatars"
            )

    def _as_half(self, avatar: int, level: Level, planes: npt.NDArray[np.floating[Any]]) -> Half:
        expected = self.levels[level].shape[1:]
        assert planes.shape == expected, f"{level} of shape {planes.shape}, not {expected}"
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(planes, dtype=np.float16)
        wrong = _not_finite(half)
        if wrong:
            raise DataError(
                f"{level} of avatar {avatar}: {wrong} of {half.size} values are no finite float16, "
                "so the fit diverged: lower its learning rates"
            )
        return half


def planes_sha256(planes: Half) -> str:
    """SHA-256 of float16 planes, little-endian, in C order: the bytes of an uncompressed chunk."""
    return hashlib.sha256(np.ascontiguousarray(planes, dtype="<f2").data).hexdigest()


def _not_finite(half: Half) -> int:
    """How many values are infinite or NaN."""
    # Four times as quick as isfinite: all exponent bits set is what they are.
    if int(np.bitwise_and(half.view(np.uint16), _EXPONENT).max()) < _EXPONENT:
        return 0
    return int(np.count_nonzero(~np.isfinite(half)))


def _plane_shape(spec: PlaneSpec, level: Level) -> tuple[int, ...]:
    side = spec.resolution if level == "planes" else spec.base_resolution
    return len(PLANE_NAMES), spec.channels, side, side


def _sum_shape(spec: PlaneSpec) -> tuple[int, ...]:
    return len(LEVELS), len(MOMENTS), len(PLANE_NAMES), spec.channels


def _moments(planes: Half) -> Double:
    sums = np.empty((2, *planes.shape[:2]))
    for place in np.ndindex(planes.shape[:2]):  # one channel fits into the cache, all of them do not
        values = planes[place].astype(np.float64)
        sums[:, *place] = values.sum(), np.square(values, out=values).sum()
    return sums


def _create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: str,
    dimensions: tuple[str, ...],
    zstd_level: int | None,
    meaning: str,
) -> None:
    group.create_array(
        name,
        shape=shape,
        chunks=(1, *shape[1:]),
        dtype=dtype,
        fill_value=float("nan"),
        compressors=None if zstd_level is None else ZstdCodec(level=zstd_level),
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=dimensions,
        attributes={"meaning": meaning},
        config={"write_empty_chunks": True},
    )


def _asking(path: Path) -> AbstractContextManager[None]:
    """Around what zarr does: a bucket that refuses it becomes one line."""
    return asking(path, "read or write") if isinstance(path, BucketPath) else nullcontext()


def _flush(path: Path) -> None:
    """Flush what zarr wrote; an object is there once it is written."""
    if not isinstance(path, BucketPath):
        flush_to_disk(path)


def _zarr_store(path: Path) -> Any:
    """What zarr is given for a store: a folder, or in a bucket a client of this process."""
    if not isinstance(path, BucketPath):
        return path
    from zarr.storage import ObjectStore

    return ObjectStore(client(path.scheme, path.bucket, prefix=path.key))


def _open_array(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> zarr.Array[Any]:
    try:
        with _asking(path):
            array = zarr.open_array(
                _zarr_store(path), path=name, mode="r+", zarr_format=3, config={"write_empty_chunks": True}
            )
    except _DAMAGED_METADATA as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} has no readable array {name} ({reason}): {STORE_REMEDY}") from None
    if array.shape[1:] != shape or array.chunks != (1, *shape) or array.dtype != np.dtype(dtype):
        raise DataError(f"{path}: {name} is no {dtype} array of one {shape} chunk an avatar: {STORE_REMEDY}")
    return array
