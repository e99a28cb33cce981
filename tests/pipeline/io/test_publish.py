"""Publication by rename."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io import publish
from pipeline.io.publish import (
    TEMPORARY_SUFFIX,
    empty_folder,
    publish_bytes,
    publish_folder,
    publish_text,
    publishing,
    remove_temporaries,
    sha256_file,
    temporary_path,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_content_comes_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    publish_bytes(tmp_path / "deep" / "a.bin", b"\x00\r\n")
    publish_text(tmp_path / "deep" / "b.txt", "ä\r\n")
    assert (tmp_path / "deep" / "a.bin").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "deep" / "b.txt").read_bytes() == "ä\r\n".encode()
    assert names(tmp_path / "deep") == {"a.bin", "b.txt"}


def test_until_the_block_ends_the_name_holds_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    publish_text(path, "old")
    with publishing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent and temporary.name.endswith(TEMPORARY_SUFFIX)
    assert path.read_text() == "new"


def test_a_block_that_raises_publishes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(KeyError), publishing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert names(tmp_path) == set()


def test_files_are_flushed_before_the_rename_and_the_folder_after(tmp_path: Path, monkeypatch) -> None:
    flushed: list[tuple[str, bool]] = []
    path = tmp_path / "a.txt"
    monkeypatch.setattr(publish, "flush_to_disk", lambda p: flushed.append((p.name, path.exists())))
    with publishing(path) as temporary:
        temporary.write_text("x")
    assert flushed == [(temporary.name, False), (tmp_path.name, True)]


def test_a_killed_writer_leaves_only_a_temporary_that_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    publish_text(path, "old")
    code = (
        "import os, sys; from pathlib import Path; from pipeline.io.publish import publishing\n"
        "with publishing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    root = Path(publish.__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old" and len(names(path.parent)) == 2
    folder = temporary_path(tmp_path / "b")
    (folder / "deeper").mkdir(parents=True)
    removed = remove_temporaries(tmp_path)
    assert len(removed) == 2 and folder in removed
    assert names(path.parent) == {"a.txt"} and names(tmp_path) == {"sub"}


def test_a_folder_replaces_another_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        source = tmp_path / "work" / content
        source.mkdir(parents=True)
        (source / f"{content}.txt").write_text(content)
        publish_folder(source, tmp_path / "final")
        assert names(tmp_path / "final") == {f"{content}.txt"}
    assert names(tmp_path) == {"work", "final"} and names(tmp_path / "work") == set()


def test_an_emptied_folder_is_there_and_empty(tmp_path: Path) -> None:
    for _ in range(2):
        folder = empty_folder(tmp_path / "a" / "b")
        assert folder == tmp_path / "a" / "b" and names(folder) == set()
        (folder / "old").mkdir()
        (folder / "old" / "file").write_text("x")


@given(data=st.binary(max_size=300_000))
def test_sha256_is_that_of_the_content(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    import hashlib

    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(data)
    assert sha256_file(path) == hashlib.sha256(data).hexdigest()


def test_published_files_have_the_mode_of_new_ones(tmp_path):
    before = os.umask(0o027)
    try:
        with publishing(tmp_path / "weights") as temporary:
            temporary.write_bytes(b"x")
            temporary.chmod(0o600)
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "weights").write_bytes(b"x")
        (tmp_path / "work" / "weights").chmod(0o600)
        publish_folder(tmp_path / "work", tmp_path / "final")
    finally:
        os.umask(before)
    for path in (tmp_path / "weights", tmp_path / "final" / "weights"):
        assert path.stat().st_mode & 0o777 == 0o640
