"""Finished avatars and a shard of them, rendered once by the stand-in for Blender."""

from pathlib import Path

import pytest
from support.fake_blender import render_avatar, small_job

from pipeline.contracts.naming import format_avatar
from pipeline.io.shards import write_shard

AVATARS = (3, 4, 12)
NUM_VIEWS = 4
SIZE = 12


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished folders of ``AVATARS``."""
    job = small_job(tmp_path_factory.mktemp("finished"), AVATARS, num_views=NUM_VIEWS, size=SIZE)
    for avatar in job.avatars:
        render_avatar(avatar, job.settings, Path(job.output))
    return Path(job.output)


@pytest.fixture(scope="session")
def folders(finished: Path) -> list[Path]:
    return [finished / format_avatar(avatar) for avatar in AVATARS]


@pytest.fixture(scope="session")
def shard(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The avatars as a tar that tests only read."""
    path = tmp_path_factory.mktemp("shard") / "shard-00000.tar"
    write_shard(path, folders)
    return path
