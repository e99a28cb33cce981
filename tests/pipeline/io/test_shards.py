"""Shards: equal bytes for equal samples, exact samples back, and no damaged tar that reads."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.fake_blender import render_avatar, render_view, small_job

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_sample
from pipeline.contracts.rendering import RenderPasses, SampleRecord, sample_suffixes
from pipeline.io.avatar_folder import avatar_sha256, verify_avatar_folder
from pipeline.io.shard_index import index_shard
from pipeline.io.shards import (
    Sample,
    decode_png,
    extract_avatars,
    read_avatar,
    read_shard,
    read_view,
    write_shard,
)

Files = list[tuple[str, bytes]]
SUFFIXES = sample_suffixes(RenderPasses())


def same(a: Sample, b: Sample) -> bool:
    return a.record == b.record and np.array_equal(a.rgba, b.rgba) and np.array_equal(a.depth, b.depth)


def members(path: Path) -> Files:
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def write_tar(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def test_equal_samples_give_equal_bytes_whenever_and_in_whatever_order(finished: Path, tmp_path: Path) -> None:
    folders = sorted(path for path in finished.iterdir() if path.is_dir())
    first = write_shard(tmp_path / "first.tar", folders)
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name, copy_function=shutil.copy)) for folder in folders]
    for path in (tmp_path / "a000003").iterdir():
        path.chmod(0o600)
    second = write_shard(tmp_path / "sub" / "second.tar", copies[::-1])
    data = (tmp_path / "first.tar").read_bytes()
    assert first == second == (hashlib.sha256(data).hexdigest(), len(data))
    assert (tmp_path / "sub" / "second.tar").read_bytes() == data


def test_rendering_again_gives_the_same_tar(finished: Path, shard: Path, tmp_path: Path) -> None:
    job = small_job(tmp_path / "again", (12, 4, 3), num_views=4, size=12)
    for avatar in job.avatars:
        render_avatar(avatar, job.settings, Path(job.output))
    write_shard(tmp_path / "again.tar", [tmp_path / "again" / folder for folder in ("a000012", "a000003", "a000004")])
    assert (tmp_path / "again.tar").read_bytes() == shard.read_bytes()


def test_headers_say_nothing_of_time_user_or_machine(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        headers = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in headers} == {
        (0, 0, 0, "", "", 0o644, tarfile.REGTYPE)
    }
    assert [m.name for m in headers] == [
        f"{format_sample(avatar, view)}.{suffix}" for avatar in (3, 4, 12) for view in range(4) for suffix in SUFFIXES
    ]


def test_samples_come_back_exactly(shard: Path, tmp_path: Path) -> None:
    job = small_job(tmp_path, (3, 4, 12), num_views=4, size=12)
    samples = list(read_shard(shard))
    expected = [(avatar, view) for avatar in job.avatars for view in avatar.views]
    for sample, (avatar, view) in zip(samples, expected, strict=True):
        rgba, depth = render_view(avatar.spec, view, job.settings.depth_scale)
        np.testing.assert_array_equal(sample.rgba, rgba)
        np.testing.assert_array_equal(sample.depth, depth)
        assert sample.rgba.dtype == np.uint8 and sample.depth.dtype == np.uint16
        assert sample.record.camera == view.camera and sample.record.caption == avatar.spec.caption
    assert max(int(sample.depth.max()) for sample in samples) > 255
    assert {0, 255} < set(np.unique(samples[0].rgba[..., 3])), "alpha has steps between"


def test_avatars_and_splits_select(shard: Path) -> None:
    everything = list(read_shard(shard))
    index = index_shard(shard)
    assert index.avatars == (3, 4, 12)
    for avatars in (None, (12,), (4, 3), ()):
        for splits in (None, ("train",), ("held_out", "frontal"), ()):
            read = list(read_shard(index, avatars, splits))  # type: ignore[arg-type]
            wanted = [
                sample
                for sample in everything
                if (avatars is None or int(sample.record.avatar_id[1:]) in avatars)
                and (splits is None or sample.record.split in splits)
            ]
            assert len(read) == len(wanted) and all(map(same, read, wanted))
    assert all(map(same, read_avatar(shard, 4), everything[4:8]))
    assert [sample.record.split for sample in read_avatar(index, 4, ("frontal",))] == ["frontal"]
    with pytest.raises(DataError, match="holds no avatar 5"):
        read_shard(shard, (3, 5))


def test_one_view_is_the_one_asked_for(shard: Path) -> None:
    index = index_shard(shard)
    for sample in read_shard(index):
        assert same(read_view(index, int(sample.record.avatar_id[1:]), sample.record.view), sample)
    for avatar, view in ((3, 4), (5, 0)):
        with pytest.raises(DataError, match=r"shard-00000\.tar holds no"):
            read_view(shard, avatar, view)


def test_one_avatar_is_read_without_the_others(shard: Path, tmp_path: Path) -> None:
    index = index_shard(shard)
    copy = tmp_path / "shard.tar"
    copy.write_bytes(shard.read_bytes())
    copied = index_shard(copy)
    data = bytearray(shard.read_bytes())
    for (avatar, _), files in index.samples.items():
        for span in files.values():
            if avatar != 4:
                data[span.offset : span.offset + span.size] = bytes(span.size)
    copy.write_bytes(data)
    assert all(map(same, read_avatar(copied, 4), read_avatar(shard, 4)))
    with pytest.raises(DataError):
        read_avatar(copied, 3)


def test_extracted_avatars_verify_and_give_the_same_tar(shard: Path, folders: list[Path], tmp_path: Path) -> None:
    rendered = extract_avatars(shard, (12, 3), tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["a000003", "a000012"]
    for one, original in zip(rendered, (folders[0], folders[2]), strict=True):
        assert verify_avatar_folder(tmp_path / "parts" / original.name) == one
        assert avatar_sha256(one) == avatar_sha256(verify_avatar_folder(original))
    parts = [tmp_path / "parts" / "a000003", tmp_path / "parts" / "a000012", folders[1]]
    write_shard(tmp_path / "again.tar", parts)
    assert (tmp_path / "again.tar").read_bytes() == shard.read_bytes()
    with pytest.raises(DataError, match="holds no avatar 5"):
        extract_avatars(shard, (5,), tmp_path / "parts")


def test_a_folder_damaged_after_it_was_finished_is_not_published(folders: list[Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[0], tmp_path / "parts" / folders[0].name))
    (folder / "a000003_v002.depth.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a000003_v002\.depth\.png"):
        write_shard(tmp_path / "out" / "shard.tar", [folder])
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tar_cut_anywhere_is_an_error_before_the_first_sample(shard: Path, tmp_path: Path) -> None:
    data = shard.read_bytes()
    cut = tmp_path / "cut.tar"
    lengths = {length + more for length in range(0, len(data), 512) for more in (0, 1, 511)}
    for length in sorted(length for length in lengths if length < len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.tar is (truncated|no tar)") as caught:
            read_shard(cut)
        assert "\n" not in str(caught.value) and "run the same command again" in str(caught.value)


def test_a_damaged_header_never_hides_what_follows(shard: Path, tmp_path: Path) -> None:
    # Two tiny samples stand in one record of 10240 bytes, so that the tar's size tells nothing.
    names = [f"{format_sample(3, view)}.{suffix}" for view in range(2) for suffix in SUFFIXES]
    tiny = write_tar(tmp_path / "tiny.tar", [(name, b"x") for name in names])
    assert len(index_shard(tiny).samples) == 2
    bad = tmp_path / "bad.tar"
    for path in (tiny, shard):
        with tarfile.open(path) as tar:
            offsets = [member.offset for member in tar]
        for offset in offsets:
            data = bytearray(path.read_bytes())
            data[offset + 3] ^= 1
            bad.write_bytes(data)
            with pytest.raises(DataError, match=r"bad\.tar is truncated"):
                index_shard(bad)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_never_give_other_images(shard: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(shard.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.tar"
    path.write_bytes(content)
    try:
        read = list(read_shard(path))
    except DataError as error:
        assert "flipped.tar" in str(error) and "\n" not in str(error)
    else:
        for sample, true in zip(read, read_shard(shard), strict=True):
            np.testing.assert_array_equal(sample.rgba, true.rgba)
            np.testing.assert_array_equal(sample.depth, true.depth)


def change_record(change: Callable[[dict], object]) -> Callable[[Files], Files]:
    """A damage to the json of the second sample."""

    def damage(files: Files) -> Files:
        name, data = files[5]
        record = json.loads(data)
        change(record)
        return [*files[:5], (name, json.dumps(record).encode()), *files[6:]]

    return damage


DAMAGES: dict[str, tuple[Callable[[Files], Files], str]] = {
    "missing file": (lambda f: f[:4] + f[5:], r"a000003_v001 lacks \.depth\.png"),
    "missing record": (lambda f: f[:-1], r"a000012_v003 lacks \.json"),
    "file twice": (lambda f: f[:4] + f[3:], "a000003_v001.rgba.png twice"),
    "scattered": (lambda f: f[1:] + f[:1], "a000003_v000 do not stand together"),
    "foreign key": (lambda f: [("b1.json", b"{}"), *f], "'b1' is not a sample key"),
    "foreign suffix": (lambda f: [("a000001_v000.exr", b""), *f], "ends in none of"),
    "folder in name": (lambda f: [("x/a000001_v000.json", b"{}"), *f], "is not a sample key"),
    "text for image": (lambda f: [(f[0][0], b"hello"), *f[1:]], r"a000003_v000: \.rgba\.png is no readable PNG"),
    "cut image": (lambda f: [f[0], (f[1][0], f[1][1][:-20]), *f[2:]], r"a000003_v000: \.depth\.png is no readable"),
    "8-bit depth": (lambda f: [f[0], (f[1][0], png(np.zeros((12, 12), np.uint8))), *f[2:]], "kind L, not I;16"),
    "no alpha": (lambda f: [(f[0][0], png(np.zeros((12, 12, 3), np.uint8))), *f[1:]], "kind RGB, not RGBA"),
    "other size": (lambda f: [(f[0][0], png(np.zeros((12, 11, 4), np.uint8))), *f[1:]], r"its camera \(12, 12\)"),
    "other schema": (change_record(lambda r: r.update(schema_version=99)), "schema version 99, and this program reads"),
    "unknown field": (change_record(lambda r: r.update(colour=2)), "a000003_v001: .json is no valid SampleRecord"),
    "other view": (change_record(lambda r: r.update(view=3)), "a000003_v001 says it is view 3 of a000003"),
    "no json": (lambda f: [*f[:2], (f[2][0], b"{"), *f[3:]], r"a000003_v000: \.json is no JSON"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_sample_is_one_clear_line(shard: Path, tmp_path: Path, kind: str) -> None:
    damage, message = DAMAGES[kind]
    path = write_tar(tmp_path / "shard.tar", damage(members(shard)))
    with pytest.raises(DataError, match=message) as caught:
        list(read_shard(path))
    assert "shard.tar" in str(caught.value) and "\n" not in str(caught.value)


def test_links_in_a_tar_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("a000001_v000.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="no plain file"):
        index_shard(path)


def test_a_missing_an_empty_and_a_compressed_shard_are_errors(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        index_shard(tmp_path / "none.tar")
    import gzip

    for content in (b"", gzip.compress(shard.read_bytes())):
        (tmp_path / "other.tar").write_bytes(content)
        with pytest.raises(DataError, match=r"other\.tar is truncated or no tar"):
            index_shard(tmp_path / "other.tar")


def test_a_plain_tar_of_the_same_files_is_read_too(shard: Path, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "other.tar", members(shard))
    assert all(map(same, read_shard(path), read_shard(shard)))


def test_a_record_of_another_shape_is_no_png_matter() -> None:
    with pytest.raises(DataError, match="here is no readable PNG"):
        decode_png(b"\x89PNG\r\n\x1a\n", "RGBA", "here")


def test_the_record_in_the_tar_is_the_contract(shard: Path) -> None:
    name, data = members(shard)[2]
    assert name == "a000003_v000.json"
    assert SampleRecord.from_json(data).to_json().encode() == data
