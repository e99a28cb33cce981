"""Shards with more labels, or fewer: each run chooses, every reader takes them all, and a missing file is told."""

import json
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds
from support.fake_blender import render_avatar, small_job

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.rendering import SAMPLE_SUFFIXES, RenderPasses, SampleRecord, sample_suffixes
from pipeline.io.shard_index import index_shard
from pipeline.io.shards import decode_normals, decode_sample, extract_avatars, read_shard, write_shard

CHOICES = [
    RenderPasses(depth=False),
    RenderPasses(),
    RenderPasses(segmentation=True),
    RenderPasses(depth=False, normal=True, segmentation=True),
    RenderPasses(normal=True, segmentation=True, landmarks=True),
]


def make_shard(folder: Path, passes: RenderPasses) -> Path:
    job = small_job(folder / "avatars", (3, 4), num_views=3, size=12, passes=passes)
    for avatar in job.avatars:
        render_avatar(avatar, job.settings, Path(job.output))
    write_shard(folder / "shard-00000.tar", [folder / "avatars" / format_avatar(a) for a in (3, 4)])
    return folder / "shard-00000.tar"


def test_the_suffixes_are_those_asked_for_in_the_order_of_the_tar() -> None:
    assert sample_suffixes(RenderPasses()) == ("rgba.png", "depth.png", "json")
    everything = RenderPasses(normal=True, segmentation=True, landmarks=True)
    assert sample_suffixes(everything) == SAMPLE_SUFFIXES
    assert len({sample_suffixes(passes) for passes in CHOICES}) == len(CHOICES)


@pytest.mark.parametrize("passes", CHOICES, ids=lambda passes: "+".join(sample_suffixes(passes)))
def test_a_shard_of_any_passes_is_written_read_and_taken_apart(passes: RenderPasses, tmp_path: Path) -> None:
    tar = make_shard(tmp_path, passes)
    samples = list(read_shard(tar))
    assert len(samples) == 6
    for sample in samples:
        assert sample.record.passes == passes
        for name in ("depth", "normal", "segmentation"):
            image = getattr(sample, name)
            assert (image is not None) == getattr(passes, name), name
            assert image is None or image.shape[:2] == (12, 12)
    extract_avatars(tar, (3, 4), tmp_path / "again")
    write_shard(tmp_path / "again.tar", [tmp_path / "again" / format_avatar(a) for a in (3, 4)])
    assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_with_our_decoder_keeps_every_label(tmp_path: Path) -> None:
    tar = make_shard(tmp_path, CHOICES[-1])
    for read, true in zip(
        wds.WebDataset(str(tar), shardshuffle=False).map(decode_sample), read_shard(tar), strict=True
    ):
        for name in ("rgba", "depth", "normal", "segmentation"):
            np.testing.assert_array_equal(read[f"{name}.png"], getattr(true, name))
        assert read["normal.png"].dtype == read["segmentation.png"].dtype == np.uint8
        assert read["normal.png"].shape == (12, 12, 3) and read["segmentation.png"].shape == (12, 12)
        assert read["segmentation.png"].max() == 1


@pytest.mark.parametrize("lost", ["depth.png", "normal.png", "segmentation.png", "rgba.png", "json"])
def test_a_file_that_the_record_promises_and_that_is_not_there(lost: str, tmp_path: Path) -> None:
    tar = make_shard(tmp_path, CHOICES[-1])
    with tar.open("rb") as handle:
        span = index_shard(tar).samples[(3, 0)]
        raw = {suffix: handle.seek(s.offset) and handle.read(s.size) for suffix, s in span.items()}
    whole = {"__key__": "a000003_v000", "__url__": "x.tar", **raw}
    assert decode_sample(whole)["json"]["passes"]["normal"]
    with pytest.raises(DataError, match=rf"x\.tar: sample a000003_v000 lacks \.{lost}"):
        decode_sample({key: value for key, value in whole.items() if key != lost})


def test_records_from_before_passes_existed_still_read(tmp_path: Path) -> None:
    record = json.loads((make_shard(tmp_path, RenderPasses()).parent / "avatars/a000003/a000003_v000.json").read_text())
    for name in ("passes", "sub_seed", "landmarks"):
        del record[name]
    assert SampleRecord.from_json(json.dumps(record)).passes == RenderPasses()


def test_encoded_normals_come_back_as_unit_vectors_within_half_a_level() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(40, 50, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    encoded = np.rint(127.5 * (normals + 1)).astype(np.uint8)
    encoded[0, 0] = 0
    decoded = decode_normals(encoded)
    assert (decoded[0, 0] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=-1).ravel()[1:], 1, atol=1e-6)
    # Half a level is 0.5 / 127.5 in each of three coordinates.
    angle = np.degrees(np.arccos(np.clip((decoded * normals).sum(-1).ravel()[1:], -1, 1)))
    assert angle.max() < np.degrees(3**0.5 * 0.5 / 127.5) + 0.05
