"""What others' readers make of a shard: stock webdataset and ray.data, 16-bit depth and alpha intact."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds

from pipeline.contracts.errors import DataError
from pipeline.contracts.rendering import RenderPasses, SampleRecord, sample_suffixes
from pipeline.io.shards import decode_sample, read_shard

pytestmark = pytest.mark.filterwarnings(  # stock webdataset leaves its file to the garbage collector
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def assert_intact(read: Iterable[dict[str, Any]], shard: Path) -> None:
    for sample, true in zip(read, read_shard(shard), strict=True):
        np.testing.assert_array_equal(sample["rgba.png"], true.rgba)
        np.testing.assert_array_equal(sample["depth.png"], true.depth)
        assert sample["depth.png"].dtype == np.uint16 and sample["rgba.png"].shape[-1] == 4
        assert sample["json"]["caption"] == true.record.caption
        assert sample["__key__"] == f"{true.record.avatar_id}_v{true.record.view:03d}"


def test_stock_webdataset_groups_our_files_into_samples(shard: Path) -> None:
    samples = list(wds.WebDataset(str(shard), shardshuffle=False))
    assert len(samples) == 3 * 4
    for sample in samples:
        assert set(sample_suffixes(RenderPasses())) == {name for name in sample if not name.startswith("__")}
        assert SampleRecord.from_json(sample["json"]).avatar_id == sample["__key__"][:7]


def test_stock_webdataset_with_our_decoder_keeps_depth_and_alpha(shard: Path) -> None:
    assert_intact(wds.WebDataset(str(shard), shardshuffle=False).map(decode_sample), shard)


def test_the_stock_decoder_loses_both_which_is_why_there_is_ours(shard: Path) -> None:
    sample = next(iter(wds.WebDataset(str(shard), shardshuffle=False).decode("pil")))
    assert sample["depth.png"].mode == "RGB" and sample["rgba.png"].mode == "RGB"


def test_our_decoder_names_the_sample_that_it_cannot_decode() -> None:
    whole = {"__key__": "a000001_v000", "__url__": "x.tar", "rgba.png": b"", "depth.png": b"", "json": b"{}"}
    with pytest.raises(DataError, match=r"x\.tar: sample a000001_v000: \.rgba\.png is no readable PNG"):
        decode_sample(whole)
    with pytest.raises(DataError, match=r"sample a000001_v000: \.json cannot be read"):
        decode_sample(whole | {"json": b"{"})
    with pytest.raises(DataError, match=r"lacks \.depth\.png"):
        decode_sample({name: value for name, value in whole.items() if name != "depth.png"})


@pytest.fixture
def ray_data() -> Iterator[Any]:
    import ray
    import ray.data

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray.data
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of ray's own making
def test_ray_data_reads_a_shard_as_it_is(shard: Path, ray_data: Any) -> None:
    rows = ray_data.read_webdataset(str(shard)).take_all()
    assert_intact(sorted(rows, key=lambda row: row["__key__"]), shard)
