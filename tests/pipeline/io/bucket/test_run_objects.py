"""A run's files in a bucket are what they are in a folder: the same questions have the same answers."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from support.bucket import Server, count, object_bytes

from pipeline.contracts.bucket_path import BucketPath
from pipeline.io import files
from pipeline.io.bucket.objects import write
from pipeline.io.bucket.run_objects import MARKER
from pipeline.io.publish import (
    delivering,
    empty_folder,
    publish_bytes,
    publish_folder,
    publish_text,
    publishing,
    remove_temporaries,
    sha256_file,
    temporary_path,
)

TREE = {"a.json": "1", "b/step-00000001/x": "2", "b/step-00000002/x": "3", "b/c/d/planes.npy": "4", "e/.hidden": "5"}


@pytest.fixture
def local(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        publish_text(tmp_path / "run" / name, text)
    return tmp_path / "run"


@pytest.mark.parametrize("pattern", ["*", "*/*", "*/*/*", "b/step-????????", "*/step-*", "*/*/*/planes.npy", "x*"])
def test_names_match_as_in_a_folder(root: BucketPath, local: Path, pattern: str) -> None:
    for name, text in TREE.items():
        publish_text(root / name, text)
    found = [str(path.relative_to(root)) for path in files.names(root, pattern)]
    assert found == [str(path.relative_to(local)) for path in files.names(local, pattern)]
    assert [str(path.relative_to(root)) for path in files.files_below(root)] == [
        str(path.relative_to(local)) for path in files.files_below(local)
    ]


def test_what_was_published_is_read_and_forgotten(root: BucketPath, local: Path) -> None:
    for folder in (root, local):
        path = folder / "b" / "picture"
        assert not files.exists(path) and files.version(path) is None
        publish_bytes(path, b"one")
        first = files.version(path)
        publish_bytes(path, memoryview(np.arange(3, dtype="<f2")))
        assert files.read_bytes(path) == np.arange(3, dtype="<f2").tobytes()
        assert sha256_file(path) == hashlib.sha256(files.read_bytes(path)).hexdigest()
        assert first is not None and first[1] == 3 and files.version(path) != first
        assert files.exists(path) and files.exists(folder / "b")
        files.forget(folder / "b", folder / "nothing")
        assert not files.exists(path) and not files.exists(folder / "b")
        with pytest.raises(FileNotFoundError):
            files.read_bytes(path)
        with pytest.raises(FileNotFoundError):
            sha256_file(path)


def test_arrays_are_read_and_execute_nothing(root: BucketPath, tmp_path: Path) -> None:
    for name, array in (("a.npy", np.arange(3)), ("o.npy", np.array([{}], dtype=object))):
        np.save(tmp_path / name, array)
        publish_bytes(root / name, (tmp_path / name).read_bytes())
    assert files.read_array(root / "a.npy").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="allow_pickle"):
        files.read_array(root / "o.npy")


def test_a_block_that_raises_publishes_nothing(root: BucketPath) -> None:
    with pytest.raises(KeyError), publishing(root / "x") as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert not files.exists(root / "x") and not temporary.exists()
    with publishing(root / "x") as temporary:
        temporary.write_bytes(b"whole")
    assert files.read_bytes(root / "x") == b"whole" and not temporary.exists()
    with delivering(root / "y.glb") as written:
        written.write_bytes(b"mesh")
    assert written.name == "y.glb" and files.read_bytes(root / "y.glb") == b"mesh" and not written.exists()


def test_a_large_file_arrives_whole(root: BucketPath) -> None:
    content = os.urandom(11 * 2**20)  # three parts
    with publishing(root / "tar") as temporary:
        temporary.write_bytes(content)
    assert files.fetched(root / "tar").read_bytes() == content
    assert sha256_file(root / "tar") == hashlib.sha256(content).hexdigest()


def staged(final: BucketPath, names: tuple[str, ...], text: str) -> Path:
    folder = empty_folder(final.with_name("staged"))
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_folder_is_replaced_by_another(root: BucketPath, server: Server) -> None:
    final = root / "decoder"
    publish_folder(staged(final, ("state.json", "old", "deep/x"), "1"), final)
    source = staged(final, ("state.json", "new"), "2")
    with pytest.raises(FileExistsError):
        publish_folder(source, final, replace=False)
    publish_folder(source, final)
    assert not source.exists()
    assert object_bytes(server.url, root) == {"decoder/new": b"2", "decoder/state.json": b"2"}
    copy = files.fetched(final)
    assert sorted(path.name for path in copy.iterdir()) == ["new", "state.json"]
    assert (files.fetched(final / "new").name, files.fetched(final / "new").read_text()) == ("new", "2")


def test_a_folder_that_was_published_in_part_is_not_there(root: BucketPath) -> None:
    final = root / "models" / "step-00000002"
    publish_folder(staged(root / "models" / "step-00000001", ("state.json",), "1"), root / "models" / "step-00000001")
    write(final / MARKER, b"")
    write(final / "state.safetensors", b"half")
    assert files.exists(final.parent) and not files.exists(final)
    assert files.names(final.parent, "step-????????") == (root / "models" / "step-00000001",)
    assert files.files_below(root) == (root / "models" / "step-00000001" / "state.json",)
    with pytest.raises(FileNotFoundError):
        files.fetched(final)
    assert remove_temporaries(root) == (final,)
    publish_folder(staged(final, ("state.json",), "2"), final)
    assert files.exists(final)


def test_an_object_is_downloaded_once_until_it_changes(root: BucketPath, server: Server) -> None:
    publish_text(root / "x", "1")
    assert files.read_text(root / "x") == "1"
    before = len(server.requests())
    assert files.read_text(root / "x") == "1"
    assert [method for method, _ in server.requests()[before:]] == ["GET"]
    assert server.log.read_text().splitlines()[-1].split()[-2] == "304"
    publish_text(root / "x", "2")
    assert files.read_text(root / "x") == "2"
    before = len(server.requests())
    copy = files.fetched(root)
    assert files.fetched(root) == copy
    assert count(server.requests()[before:], f"{root.name}/x") == {"GET": 1}


def test_temporaries_are_on_this_machine(root: BucketPath, tmp_path: Path) -> None:
    assert temporary_path(root / "x").is_relative_to(tmp_path / "cache")
    assert files.own_disk(root) is None and files.own_disk(tmp_path) == tmp_path
