"""The seam to a run's files: what is there, in order, and forgotten without complaint."""

import os
import threading

import numpy as np
import pytest

from pipeline.contracts.errors import DataError
from pipeline.io import files as module
from pipeline.io.files import (
    exists,
    files_below,
    forget,
    make_folder,
    names,
    read_array,
    read_bytes,
    read_text,
    version,
    wait_until_seen,
)


def test_what_is_there_is_told_in_order(tmp_path):
    for name in ("b", "a", "c/d"):
        make_folder((tmp_path / name).parent)
        (tmp_path / name).write_text(name)
    assert names(tmp_path) == (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert names(tmp_path, "*/*") == (tmp_path / "c" / "d",) == names(tmp_path / "c")
    assert names(tmp_path / "nowhere") == files_below(tmp_path / "nowhere") == ()
    assert files_below(tmp_path) == (tmp_path / "a", tmp_path / "b", tmp_path / "c" / "d")
    assert exists(tmp_path / "c") and not exists(tmp_path / "x")


def test_content_is_read_as_it_is(tmp_path):
    (tmp_path / "t").write_bytes("\u00e4\r\n".encode())
    assert read_text(tmp_path / "t") == "\u00e4\r\n" and read_bytes(tmp_path / "t") == b"\xc3\xa4\r\n"
    np.save(tmp_path / "a.npy", np.arange(3))
    assert read_array(tmp_path / "a.npy").tolist() == [0, 1, 2]
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_array(tmp_path / "o.npy")
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "x")


def test_another_content_is_another_version(tmp_path):
    path = tmp_path / "a"
    assert version(path) is None
    path.write_text("one")
    first = version(path)
    assert first == version(path) and first[1] == 3
    os.utime(path, ns=(0, first[0] + 1))
    assert version(path) != first


def test_what_is_forgotten_is_gone_and_the_rest_stays(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "f").write_text("x")
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    forget(tmp_path / "a", tmp_path / "f", tmp_path / "link", tmp_path / "nothing")
    assert names(tmp_path) == (tmp_path / "kept",), "a link is forgotten, and what it leads to is not"


def test_what_another_machine_published_is_waited_for(tmp_path, monkeypatch):
    late = tmp_path / "ledger.json"
    timer = threading.Timer(0.2, late.touch)
    timer.start()
    wait_until_seen([tmp_path, late])
    timer.join()
    assert late.exists()
    monkeypatch.setattr(module, "SEEN_WITHIN_S", 0.0)
    wait_until_seen([late])
    with pytest.raises(DataError, match=r"other\.json was published on another node and is not seen on .* one folder"):
        wait_until_seen([tmp_path / "other.json"])
