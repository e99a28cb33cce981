"""One server for the tests of this folder; each test has a run and a cache of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bucket import Server, environment, s3_server

from pipeline.contracts.bucket_path import BucketPath
from pipeline.io.bucket.objects import client

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def root(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketPath]:
    """An empty place in the bucket that this process can read and write."""
    for name, value in environment(server.url, tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    client.cache_clear()
    yield server.place(f"test-{next(_NUMBERS)}")
    client.cache_clear()
