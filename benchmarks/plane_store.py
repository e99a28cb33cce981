"""How fast planes reach the disk against a raw write of the same bytes, and what each codec would give.

    python -m benchmarks.plane_store PLANES [--folder .] [--rounds 30] [--upsampled 256]

PLANES is a run's ``planes.zarr`` or a folder of float16 arrays ``*.npy`` (plane, channel, row, column). ``--folder`` is
on the disk to measure. Both sides write the same files with the same bytes and flush each file and its folder; the raw
side is open, write, rename. They alternate, so that whatever else the machine does strikes both, and the ratio is of
their medians. Beside it the raw write of all bytes into one file, flushed once, and both without the flushes, which
say what the store's own work takes. The table has each codec's ratio of bytes and MB/s of planes written and read,
again in turns and not flushed. The last line is one JSON object; ``bandwidth_share`` is raw over the store's seconds.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from pipeline.contracts.planes import PlaneSpec
from pipeline.io import plane_store, publish
from pipeline.io.plane_store import LEVELS, PlaneStore, create_plane_store
from pipeline.io.publish import flush_to_disk, temporary_path
from rodin_models.field.triplane import downsample

CODECS: dict[str, Any] = {
    "none": None,
    "zstd 1": ZstdCodec(level=1),
    "zstd 3": ZstdCodec(level=3),
    "blosc zstd 1, bit shuffle": BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=2),
    "blosc zstd 3, bit shuffle": BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=2),
    "blosc lz4 5, bit shuffle": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2),
}
BASE_SIDE = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("planes", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that is measured")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--upsampled", type=int, help="side to resize the planes to: no fitted ones, and marked so")
    given = parser.parse_args()
    avatars = load_planes(given.planes)
    if given.upsampled:
        avatars = [resize(planes, given.upsampled) for planes in avatars]
    side, channels = avatars[0].shape[-1], avatars[0].shape[1]
    kind = f"upsampled to {side}" if given.upsampled else "as fitted"
    print(f"{len(avatars)} avatars, planes {side}^2 x {channels} float16, {kind}")
    scratch = Path(tempfile.mkdtemp(prefix="plane-store-", dir=given.folder))
    try:
        seconds = compare(scratch, avatars, given.rounds)
        table = codecs(scratch, avatars, max(5, given.rounds // 3))
    finally:
        shutil.rmtree(scratch)
    megabytes = avatars[0].nbytes / 1e6
    for name, taken in seconds.items():
        print(f"{name}: {taken * 1e3:.2f} ms an avatar, {megabytes / taken:.0f} MB/s")
    print(f"{'codec':<28} {'ratio':>6} {'write MB/s':>11} {'read MB/s':>10}")
    for name, row in table.items():
        print(f"{name:<28} {row['ratio']:>6.3f} {row['write_mb_s']:>11.0f} {row['read_mb_s']:>10.0f}")
    summary = {
        "bandwidth_share": round(seconds["raw"] / seconds["store"], 3),
        "bandwidth_share_one_file": round(seconds["raw, one file"] / seconds["store"], 3),
        "bandwidth_share_not_flushed": round(seconds["raw, not flushed"] / seconds["store, not flushed"], 3),
        "side": side,
        "channels": channels,
        "fitted": given.upsampled is None,
        "codecs": table,
        "load": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(summary))


def load_planes(path: Path) -> list[npt.NDArray[np.float16]]:
    """Fitted planes of a run or of a folder of arrays."""
    if (path / "zarr.json").exists():
        array: Any = zarr.open_array(path / "planes", mode="r")
        every = [np.asarray(array[avatar], np.float16) for avatar in range(array.shape[0])]
        return [planes for planes in every if not np.isnan(planes.flat[0])]
    return [np.load(file) for file in sorted(path.glob("*.npy"))]


def resize(planes: npt.NDArray[np.float16], side: int) -> npt.NDArray[np.float16]:
    """Planes at another side, antialiased."""
    resized: npt.NDArray[np.float16] = downsample(torch.from_numpy(planes).float(), side).half().numpy()
    return resized


def compare(scratch: Path, avatars: list[npt.NDArray[np.float16]], rounds: int) -> dict[str, float]:
    """Median seconds an avatar of each way to write."""
    base = [resize(planes, BASE_SIDE) for planes in avatars]
    store = new_store(scratch / "store", avatars)
    store.write(0, avatars[0], base[0])
    files = {name: chunk_path(store, name, 0).read_bytes() for name in store.arrays}
    raw = scratch / "raw"
    for name in files:
        (raw / name).mkdir(parents=True)

    def write_raw(turn: int, *, flush: bool) -> None:
        for name, data in files.items():
            publish_raw(raw / name / f"{turn}-{flush}", data, flush=flush)

    def write_store(turn: int, *, flush: bool) -> None:
        number = turn % len(avatars)
        if flush:
            store.write(2 * turn + 2, avatars[number], base[number])
        else:
            flushes = (mock.patch.object(module, "flush_to_disk", _nothing) for module in (plane_store, publish))
            with next(flushes), next(flushes):
                store.write(2 * turn + 3, avatars[number], base[number])

    ways: dict[str, Callable[[int], None]] = {
        "raw": lambda turn: write_raw(turn, flush=True),
        "store": lambda turn: write_store(turn, flush=True),
        "raw, one file": lambda turn: publish_raw(raw / str(turn), b"".join(files.values()), flush=True),
        "raw, not flushed": lambda turn: write_raw(turn, flush=False),
        "store, not flushed": lambda turn: write_store(turn, flush=False),
    }
    return in_turns(ways, rounds)


def _nothing(path: Path) -> None:
    """In place of a flush."""


def publish_raw(path: Path, data: bytes, *, flush: bool) -> None:
    """Open, write, rename, as plainly as it can be."""
    temporary = temporary_path(path)
    temporary.write_bytes(data)
    temporary.rename(path)
    if flush:
        flush_to_disk(path)
        flush_to_disk(path.parent)


def codecs(scratch: Path, avatars: list[npt.NDArray[np.float16]], rounds: int) -> dict[str, dict[str, float]]:
    """Ratio of bytes, and MB of planes a second written and read, of each codec; not flushed."""
    shape = avatars[0].shape
    arrays = {
        name: zarr.create_array(
            scratch / f"codec-{number}",
            shape=(len(avatars), *shape),
            chunks=(1, *shape),
            dtype="float16",
            compressors=codec,
            config={"write_empty_chunks": True},
        )
        for number, (name, codec) in enumerate(CODECS.items())
    }

    def writing(array: Any) -> Callable[[int], None]:
        return lambda turn: array.__setitem__(turn % len(avatars), avatars[turn % len(avatars)])

    def reading(array: Any) -> Callable[[int], None]:
        return lambda turn: array[turn % len(avatars)]

    rounds = max(rounds, len(avatars))
    written = in_turns({name: writing(array) for name, array in arrays.items()}, rounds)
    read = in_turns({name: reading(array) for name, array in arrays.items()}, rounds)
    stored = {
        name: sum(file.stat().st_size for file in (scratch / f"codec-{number}").rglob("c/*/**/*") if file.is_file())
        for number, name in enumerate(arrays)
    }
    megabytes = avatars[0].nbytes / 1e6
    return {
        name: {
            "ratio": round(stored[name] / (len(avatars) * avatars[0].nbytes), 4),
            "write_mb_s": round(megabytes / written[name], 1),
            "read_mb_s": round(megabytes / read[name], 1),
        }
        for name in arrays
    }


def in_turns(ways: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, called in turns; the first round only warms up."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, call in ways.items():
            start = time.perf_counter()
            call(turn)
            spent[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


def new_store(path: Path, avatars: list[npt.NDArray[np.float16]]) -> PlaneStore:
    """An empty store with room for the rounds, planes of the avatars' shape."""
    _, channels, side, _ = avatars[0].shape
    spec = PlaneSpec(resolution=side, base_resolution=BASE_SIDE, channels=channels, extent_m=0.25)
    create_plane_store(path, spec, 10_000)
    return PlaneStore.open(path)


def chunk_path(store: PlaneStore, name: str, avatar: int) -> Path:
    """Where an avatar's chunk lies."""
    assert name in store.arrays and len(LEVELS) == 2
    dimensions = store.arrays[name].ndim
    return store.path / name / ".".join(("c", str(avatar), *["0"] * (dimensions - 1)))


if __name__ == "__main__":
    main()
