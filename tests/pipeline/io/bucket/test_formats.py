"""Shards, planes and ledgers in a bucket: the same bytes as in a folder, by requests that are counted."""

from pathlib import Path

import numpy as np
import pytest
from support.bucket import Server, count, object_bytes
from support.ledgers import write_render, write_stage

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.contracts.planes import PlaneSpec
from pipeline.contracts.rendering import RenderReport
from pipeline.contracts.stage import StageReport
from pipeline.io.avatar_folder import read_avatar_record
from pipeline.io.ledger import forget_ledgers, read_entries, read_ledger, read_ledgers
from pipeline.io.plane_store import PlaneStore, create_plane_store, extend_plane_store, name_decoder
from pipeline.io.publish import sha256_file
from pipeline.io.shard_index import avatar_index, avatar_spans, index_part, index_shard
from pipeline.io.shards import extract_avatars, read_avatar, read_shard, write_shard

SPEC = PlaneSpec(resolution=8, base_resolution=4, channels=4, extent_m=1.0)


def test_a_shard_has_the_same_bytes_and_each_avatar_is_one_range(
    root: BucketPath, server: Server, folders: list[Path], tmp_path: Path
) -> None:
    sha256, size = write_shard(root / "shard-00000.tar", folders)
    local = tmp_path / "shard-00000.tar"
    assert (sha256, size) == write_shard(local, folders)
    assert object_bytes(server.url, root) == {"shard-00000.tar": local.read_bytes()}
    records = [read_avatar_record(folder) for folder in folders]
    spans = avatar_spans(records)
    for record, span in zip(records, spans.values(), strict=True):
        before = len(server.requests())
        for _ in range(2):
            index = avatar_index(root / "shard-00000.tar", lambda span=span: (span, sha256))
            samples = read_avatar(index, record.avatar)
        assert count(server.requests()[before:], "shard") == {"GET": 1}
        there = read_avatar(local, record.avatar)
        assert [s.record for s in samples] == [s.record for s in there] and len(there) > 1
        assert all(np.array_equal(a.rgba, b.rgba) for a, b in zip(samples, there, strict=True))
    assert sum(size for _, size in spans.values()) <= size


def test_a_shard_of_whose_avatars_nobody_wrote_down_the_places_is_read_whole(
    root: BucketPath, folders: list[Path], tmp_path: Path
) -> None:
    tar = root / "shard-00000.tar"
    write_shard(tar, folders)
    index = avatar_index(tar, lambda: None)
    assert len(index.avatars) == 3 and index.path == tar
    assert len(list(read_shard(tar))) == len(index.samples)
    assert len(extract_avatars(tar, index.avatars, tmp_path)) == 3


def test_a_damaged_shard_is_named_as_it_is_called_in_the_bucket(root: BucketPath, folders: list[Path]) -> None:
    tar = root / "shard-00000.tar"
    sha256, _ = write_shard(tar, folders)
    (offset, size), *_ = avatar_spans([read_avatar_record(folder) for folder in folders]).values()
    with pytest.raises(DataError, match=f"{tar}.* damaged|{tar}.* truncated"):
        index_part(tar, (offset, size - 512), sha256)
    with pytest.raises(DataError, match=f"{tar}"):
        index_part(tar, (offset + 512, size), sha256)
    with pytest.raises(DataError, match=f"{root / 'none.tar'} is missing"):
        index_shard(root / "none.tar")
    with pytest.raises(DataError, match=f"{root / 'none.tar'} is missing"):
        index_part(root / "none.tar", (offset, size), sha256)


def planes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(seed)
    return numbers.normal(size=(3, 4, 8, 8)).astype(np.float16), numbers.normal(size=(3, 4, 4, 4)).astype(np.float16)


@pytest.mark.parametrize("zstd_level", [None, 1])
def test_planes_have_the_same_bytes_and_are_downloaded_once(
    root: BucketPath, server: Server, tmp_path: Path, zstd_level: int | None
) -> None:
    stores = []
    for path in (root / "planes.zarr", tmp_path / "planes.zarr"):
        create_plane_store(path, SPEC, 2, zstd_level=zstd_level)
        name_decoder(path, "d" * 64)
        PlaneStore.open(path).write(1, *planes(1))
        extend_plane_store(path, SPEC, 4)
        store = PlaneStore.open(path, SPEC, "d" * 64)
        store.write(3, *planes(3))
        assert store.num_avatars == 4
        stores.append(store)
    there = {
        str(path.relative_to(tmp_path / "planes.zarr")): path.read_bytes()
        for path in (tmp_path / "planes.zarr").rglob("*")
        if path.is_file()
    }
    assert object_bytes(server.url, root, "planes.zarr") == there
    far, near = stores
    before = len(server.requests())
    for _ in range(3):
        assert np.array_equal(far.read_many((3, 1)), near.read_many((3, 1)))
        assert np.array_equal(far.statistics((1, 3), "base_planes").std, near.statistics((1, 3), "base_planes").std)
    if zstd_level is None:
        assert count(server.requests()[before:], "planes.zarr/planes/c") == {"GET": 2}
        assert count(server.requests()[before:], "planes.zarr/channel_sums/c") == {"GET": 2}
    for store in stores:
        with pytest.raises(DataError, match="holds no planes of avatar 0: fit it first"):
            store.read(0)
        with pytest.raises(DataError, match="holds no sums of avatar 2"):
            store.statistics((2,))
    with pytest.raises(DataError, match=r"is no plane store, there is no zarr\.json"):
        PlaneStore.open(root / "other.zarr")


def test_entries_of_a_stage_are_one_look_and_what_is_new(root: BucketPath, server: Server, tmp_path: Path) -> None:
    layout, local = RunLayout(root), RunLayout(tmp_path)
    names = [format_shard(shard) for shard in range(4)]
    for shard in (0, 2):
        for place in (layout, local):
            write_render(place, shard, (2 * shard,))
    for place in (layout, local):
        assert list(read_entries(place.ledgers("render"), names, RenderReport)) == [names[0], names[2]]
        assert list(read_entries(place.ledgers("fit"), names, RenderReport)) == []
        assert read_ledgers(place.ledgers("render"), RenderReport) == read_ledgers(
            local.ledgers("render"), RenderReport
        )
    before = len(server.requests())
    read_entries(layout.ledgers("render"), names, RenderReport)
    assert count(server.requests()[before:], "") == {"GET": 1}, "the list alone, as nothing has changed"
    write_render(layout, 0, (0, 1))
    assert read_entries(layout.ledgers("render"), names, RenderReport)[names[0]].done == (0, 1)
    forget_ledgers(layout.ledgers("render"))
    assert read_ledger(layout.ledger("render", names[0]), RenderReport) is None


def test_a_damaged_entry_is_an_error(root: BucketPath) -> None:
    from pipeline.io.publish import publish_text

    layout = RunLayout(root)
    report = write_stage(layout, "clip", (1,), {})
    path = layout.ledger("clip", "clip")
    assert read_ledger(path, StageReport) == report and len(sha256_file(path)) == 64
    publish_text(path, "{")
    with pytest.raises(DataError, match=f"{path} is no JSON"):
        read_ledger(path, StageReport)
