"""Names in a bucket are paths in all but one thing: the file system does not get them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.bucket_path import CACHE_DIR, BucketPath, place
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.naming import RunLayout

RUN = place("s3://avatars/runs/demo")


def test_a_name_keeps_its_scheme_whatever_is_made_of_it() -> None:
    made = (RUN / "renders" / "a.tar").with_name("b").parent / "c.json"
    assert str(made) == "s3://avatars/runs/demo/renders/c.json" and isinstance(made, BucketPath)
    assert (made.scheme, made.bucket, made.key) == ("s3", "avatars", "runs/demo/renders/c.json")
    assert made.resolve() == made.absolute() == pickle.loads(pickle.dumps(made)) == place(str(made)) == place(made)
    assert str(made.relative_to(RUN)) == "renders/c.json" and not isinstance(made.relative_to(RUN), BucketPath)


@pytest.mark.parametrize("given", ["s3://b/x", "gs://b/x", "az://b/x"])
def test_what_a_user_gives_is_told_by_its_scheme(given: str) -> None:
    assert isinstance(place(given), BucketPath) and str(place(Path(given))) == given
    assert type(place(given.replace("://", "-"))) is type(Path())


def test_a_bucket_must_be_named() -> None:
    with pytest.raises(ConfigError, match="say which bucket"):
        place("s3://")


@pytest.mark.parametrize(
    "use",
    [open, Path.exists, Path.read_bytes, Path.mkdir, Path.is_dir, Path.unlink, lambda path: list(path.glob("*"))],
)
def test_the_file_system_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="s3://avatars/runs/demo lies in a bucket"):
        use(RUN)


def test_scratch_is_on_this_machine_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    layout = RunLayout(RUN)
    scratch = tmp_path / "work/s3/avatars/runs/demo/.work"
    assert layout.scratch == scratch and layout.work == RUN / ".work"
    assert layout.attempts("render", "x") == scratch / "attempts/render/x"
    assert layout.parts("render", 1) == scratch / "parts/render/shard-00001"
    assert layout.parts("fit", 1) == RUN / ".work/parts/fit/shard-00001"
    local = RunLayout(tmp_path)
    assert local.scratch == local.work == tmp_path / ".work"
