"""Copies on this machine take no more than they may, and the oldest go first."""

import os
import time
from pathlib import Path

import pytest

from pipeline.contracts.bucket_path import CACHE_DIR, CACHE_GIB
from pipeline.contracts.errors import ConfigError
from pipeline.io.bucket import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    return tmp_path


def keep(kind: str, name: str, size: int, age_s: float) -> Path:
    def write(path: Path) -> None:
        if kind == "folders":
            path.mkdir()
            (path / "file").write_bytes(bytes(size))
        else:
            path.write_bytes(bytes(size))

    entry = cache.keep(cache.entry(kind, name), write)
    os.utime(entry, (time.time() - age_s,) * 2)
    return entry


def test_what_was_used_longest_ago_goes_first() -> None:
    entries = [keep(kind, "x", 1000, age) for kind, age in (("objects", 300), ("folders", 200), ("ranges", 100))]
    assert cache.shrink(3000) == 3000 and all(entry.exists() for entry in entries)
    assert cache.take(entries[0]) == bytes(1000)  # now it is the youngest
    assert cache.shrink(2500) == 2000
    assert [entry.exists() for entry in entries] == [True, False, True]
    assert cache.shrink(0) == 1000 and entries[0].exists(), "what was used just now stays"
    assert cache.shrink(0, young_s=0.0) == 0


def test_the_limit_is_kept_as_copies_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_GIB, str(10_000 / 2**30))
    for number in range(40):
        keep("ranges", str(number), 1000, 3600 - number)
    taken = sum(path.stat().st_size for path in (cache.cache_folder() / "ranges").iterdir())
    assert 5000 <= taken <= 11_000


def test_what_another_made_meanwhile_is_taken() -> None:
    first = keep("folders", "x", 10, 0)
    assert keep("folders", "x", 10, 0) == first and (first / "file").stat().st_size == 10
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_limit_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_GIB, "much")
    with pytest.raises(ConfigError, match="'much', not a number of GiB"):
        cache.limit_bytes()
