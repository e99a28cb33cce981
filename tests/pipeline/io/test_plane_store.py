"""The plane store: exact planes back, statistics from sums, parallel writers, and what strangers read."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.contracts.conventions import PLANE_NAMES, SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.planes import PlaneSpec
from pipeline.io.plane_store import (
    PlaneStore,
    create_plane_store,
    extend_plane_store,
    name_decoder,
    planes_sha256,
)

SPEC = PlaneSpec(resolution=8, base_resolution=4, channels=2, extent_m=0.3)
SHAPE, BASE_SHAPE = (3, 2, 8, 8), (3, 2, 4, 4)


def fitted(avatar: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(avatar)
    return generator.uniform(-1, 1, SHAPE).astype(np.float16), generator.uniform(-1, 1, BASE_SHAPE).astype(np.float16)


def fill(path: Path, avatars: range) -> None:
    store = PlaneStore.open(path, SPEC)
    for avatar in avatars:
        store.write(avatar, *fitted(avatar))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_plane_store(tmp_path / "planes.zarr", SPEC, 5, "ab" * 32)
    return tmp_path / "planes.zarr"


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


halves = npst.arrays(np.float16, SHAPE, elements=st.floats(-65504, 65504, width=16))


@given(halves)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_planes_come_back_bit_for_bit(path: Path, planes: np.ndarray) -> None:
    store = PlaneStore.open(path)
    base = planes[..., ::2, 1::2]
    assert store.write(3, planes, base) == planes_sha256(planes)
    for level, true in (("planes", planes), ("base_planes", base)):
        read = store.read(3, level)  # type: ignore[arg-type]
        assert read.dtype == np.float16 and read.tobytes() == true.tobytes()


def test_float32_is_rounded_once_and_the_hash_is_of_what_is_stored(path: Path) -> None:
    store = PlaneStore.open(path)
    planes = np.linspace(-1, 1, 384, dtype=np.float32).reshape(SHAPE)
    digest = store.write(0, planes, fitted(0)[1])
    np.testing.assert_array_equal(store.read(0), planes.astype(np.float16))
    assert digest == planes_sha256(store.read(0)) != planes_sha256(fitted(0)[0])


@pytest.mark.parametrize("zstd_level", [None, 1])
def test_equal_planes_give_equal_bytes_in_whatever_order(tmp_path: Path, zstd_level: int | None) -> None:
    stores = []
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1, 0))):
        create_plane_store(tmp_path / name, SPEC, 3, "x", zstd_level=zstd_level)
        for avatar in order:
            PlaneStore.open(tmp_path / name).write(avatar, *fitted(avatar))
        stores.append(contents(tmp_path / name))
    assert stores[0] == stores[1]
    chunk = stores[0]["planes/c.2.0.0.0.0"]
    assert (chunk == fitted(2)[0].tobytes()) == (zstd_level is None)


def test_one_avatar_is_one_file_of_each_array_even_if_all_its_values_are_zero(path: Path) -> None:
    PlaneStore.open(path).write(4, np.zeros(SHAPE, np.float16), np.zeros(BASE_SHAPE, np.float16))
    chunks = {name for name in contents(path) if not name.endswith("zarr.json")}
    assert chunks == {"planes/c.4.0.0.0.0", "base_planes/c.4.0.0.0.0", "channel_sums/c.4.0.0.0.0"}
    assert np.count_nonzero(PlaneStore.open(path).read(4)) == 0


def test_what_was_never_written_is_nan_in_the_array_and_an_error_here(path: Path) -> None:
    store = PlaneStore.open(path)
    store.write(1, *fitted(1))
    assert np.isnan(np.asarray(store.levels["planes"][0])).all()
    with pytest.raises(DataError, match="holds no planes of avatar 0"):
        store.read(0)
    with pytest.raises(DataError, match="holds no base_planes of avatar 2"):
        store.read_many((1, 2), "base_planes")
    with pytest.raises(DataError, match="holds no sums of avatar 0"):
        store.statistics((0, 1))
    with pytest.raises(DataError, match="room for 5 avatars, so there is no avatar 5"):
        store.read(5)
    with pytest.raises(DataError, match="no avatar -1"):
        store.write(-1, *fitted(1))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_planes_that_diverged_are_refused_and_nothing_is_written(path: Path, value: float) -> None:
    planes, base = (array.astype(np.float32) for array in fitted(0))
    base[1, 0, 2, 3] = value
    before = contents(path)
    with pytest.raises(DataError, match="base_planes of avatar 0: 1 of 96 values"):
        PlaneStore.open(path).write(0, planes, base)
    assert contents(path) == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_planes_that_were_damaged_since_are_told(path: Path, value: float) -> None:
    store = PlaneStore.open(path)
    store.write(0, *fitted(0))
    store.levels["base_planes"][0, 2, 1, 3, 3] = np.float16(value)
    with pytest.raises(
        DataError, match="1 of 96 values of base_planes of avatar 0 are no finite numbers, so it is damaged"
    ):
        store.read_many((0,), "base_planes")
    np.testing.assert_array_equal(store.read(0), fitted(0)[0])


def test_planes_that_were_cut_off_are_told(path: Path) -> None:
    store = PlaneStore.open(path)
    store.write(0, *fitted(0))
    chunk = path / "planes" / "c.0.0.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(DataError, match=r"planes of avatar 0 cannot be read \(.*\), so it is damaged") as caught:
        store.read(0)
    assert "\n" not in str(caught.value)


def test_read_many_keeps_the_order_asked_for(path: Path) -> None:
    fill(path, range(5))
    read = PlaneStore.open(path).read_many((3, 0, 3))
    np.testing.assert_array_equal(read, np.stack([fitted(avatar)[0] for avatar in (3, 0, 3)]))


def test_statistics_from_sums_are_those_of_the_values(path: Path) -> None:
    fill(path, range(5))
    store = PlaneStore.open(path)
    for level, position in (("planes", 0), ("base_planes", 1)):
        values = np.stack([fitted(avatar)[position] for avatar in (0, 2, 3)]).astype(np.float64)
        found = store.statistics((3, 0, 2), level)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.mean, values.mean((0, 3, 4)), atol=1e-12)
        np.testing.assert_allclose(found.std, values.std((0, 3, 4)), rtol=1e-9)
        again = store.statistics((0, 2, 3), level)  # type: ignore[arg-type]
        assert found.mean.tobytes() == again.mean.tobytes() and found.std.tobytes() == again.std.tobytes()


def test_constant_planes_have_no_deviation(path: Path) -> None:
    PlaneStore.open(path).write(0, np.full(SHAPE, 0.1, np.float16), np.full(BASE_SHAPE, 0.1, np.float16))
    np.testing.assert_allclose(PlaneStore.open(path).statistics((0,)).std, 0, atol=1e-7)


def test_extending_keeps_what_is_stored_and_never_shrinks(path: Path) -> None:
    fill(path, range(5))
    before = contents(path)
    for room in (9, 9, 2):
        extend_plane_store(path, SPEC, room)
        store = PlaneStore.open(path)
        assert store.num_avatars == 9
    np.testing.assert_array_equal(store.read(4), fitted(4)[0])
    store.write(8, *fitted(8))
    after = contents(path)
    assert {name: after[name] for name in before if "zarr.json" not in name} == {
        name: data for name, data in before.items() if "zarr.json" not in name
    }
    with pytest.raises(DataError, match="channels 2, and this run 3"):
        extend_plane_store(path, SPEC.model_copy(update={"channels": 3}), 20)


def test_an_extension_that_was_interrupted_can_be_done_again(path: Path) -> None:
    zarr.open_array(path / "planes", mode="r+").resize((7, *SHAPE))
    assert PlaneStore.open(path).num_avatars == 5
    extend_plane_store(path, SPEC, 7)
    assert PlaneStore.open(path).num_avatars == 7


@pytest.mark.seconds
def test_two_processes_write_different_avatars(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=fill, args=(path, avatars)) for avatars in (range(3), range(3, 5))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    read = PlaneStore.open(path).read_many(range(5))
    np.testing.assert_array_equal(read, np.stack([fitted(avatar)[0] for avatar in range(5)]))
    assert not [name for name in contents(path) if "partial" in name]


def test_a_decoder_is_named_later_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "planes.zarr"
    create_plane_store(path, SPEC, 1)
    assert PlaneStore.open(path).decoder_sha256 is None
    with pytest.raises(DataError, match="is of decoder None, not cdcd"):
        PlaneStore.open(path, decoder_sha256="cd" * 32)
    name_decoder(path, "cd" * 32)
    assert PlaneStore.open(path, SPEC, "cd" * 32).decoder_sha256 == "cd" * 32
    with pytest.raises(DataError, match="is of decoder cdcdcdcdcdcd, not efef"):
        PlaneStore.open(path, decoder_sha256="ef" * 32)


def test_zarr_and_tensorstore_read_what_we_wrote(path: Path) -> None:
    fill(path, range(5))
    group = zarr.open_group(path, mode="r")
    array = group["planes"]
    expected = np.stack([fitted(avatar)[0] for avatar in range(5)])
    np.testing.assert_array_equal(array[:], expected)
    assert array.metadata.dimension_names == ("avatar", "plane", "channel", "row", "column")
    sides = {}
    for level in ("planes", "base_planes"):  # xarray opens no group in which one name has two sizes
        for name, size in zip(group[level].metadata.dimension_names, group[level].shape, strict=True):
            assert sides.setdefault(name, size) == size
    assert array.chunks == (1, *SHAPE) and array.metadata.zarr_format == 3
    assert group.attrs["schema_version"] == SCHEMA_VERSION
    assert group.attrs["plane_names"] == list(PLANE_NAMES)
    assert group.attrs["plane_axes"][1] == ["z along columns", "x along rows"]
    assert group.attrs["world_unit_m"] == 0.3 and group.attrs["decoder_sha256"] == "ab" * 32
    for word in ("texel_rule", "cube", "features", "world_frame"):
        assert group.attrs[word]

    other = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "planes")}}, open=True
    ).result()
    np.testing.assert_array_equal(other.read().result(), expected)
    assert other.domain.labels == ("avatar", "plane", "channel", "row", "column")
    assert other.dtype.numpy_dtype == np.float16


def test_xarray_opens_the_store_with_the_names_of_its_axes(path: Path) -> None:
    fill(path, range(5))
    dataset = xarray.open_zarr(path, consolidated=False)
    expected = np.stack([fitted(avatar)[0] for avatar in range(5)])
    np.testing.assert_array_equal(dataset["planes"].values, expected)
    one = dataset["planes"].isel(avatar=3, plane=1)
    assert one.dims == ("channel", "row", "column")
    np.testing.assert_array_equal(one.values, expected[3, 1])
    assert dataset["base_planes"].dims[0] == "avatar"
    assert dataset.attrs["schema_version"] == SCHEMA_VERSION


def test_tensorstore_reads_nan_where_nothing_was_written(path: Path) -> None:
    fill(path, range(2))
    other = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "planes")}}).result()
    assert np.isnan(other[2].read().result()).all() and not np.isnan(other[1].read().result()).any()


def edit_attributes(path: Path, **changes: object) -> None:
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"] |= changes
    (path / "zarr.json").write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 7}, f"schema version 7, and this program reads version {SCHEMA_VERSION}"),
        ({"plane_names": ["uv", "uw", "vw"]}, "plane_names is .'uv', 'uw'"),
        ({"spec": {"resolution": "8"}}, "damaged spec .resolution: "),
        ({"decoder_sha256": 3}, "decoder_sha256 is 3"),
        ({"spec": {**SPEC.model_dump(), "channels": 3}}, "planes is no float16 array"),
    ],
)
def test_another_schema_is_one_clear_line(path: Path, changes: dict, message: str) -> None:
    edit_attributes(path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        PlaneStore.open(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_store_is_one_clear_line_and_stays_as_it_is(tmp_path: Path, path: Path) -> None:
    with pytest.raises(DataError, match="no plane store"):
        PlaneStore.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    for damaged, content in (("zarr.json", "{"), ("planes/zarr.json", "{"), ("channel_sums/zarr.json", "[]")):
        whole = (path / damaged).read_text()
        (path / damaged).write_text(content)
        with pytest.raises(DataError, match=r"no plane store|no readable array"):
            PlaneStore.open(path)
        (path / damaged).unlink()
        with pytest.raises(DataError, match=r"no plane store|no readable array"):
            PlaneStore.open(path)
        (path / damaged).write_text(whole)
    zarr.create_array(tmp_path / "plain", shape=(3,), dtype="f4")
    with pytest.raises(DataError, match="no plane store"):
        PlaneStore.open(tmp_path / "plain")


def test_another_spec_is_named(path: Path) -> None:
    PlaneStore.open(path, SPEC)
    for name, value in (("resolution", 16), ("base_resolution", 8), ("channels", 4), ("extent_m", 0.25)):
        with pytest.raises(DataError, match=f"has {name} .*, and this run {value}"):
            PlaneStore.open(path, SPEC.model_copy(update={name: value}))
