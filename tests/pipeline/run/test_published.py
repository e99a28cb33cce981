"""Every kind of file that a run holds, emptied, cut, changed and taken away: told by name before any work begins."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.load import read_run_toml, toml_of_run
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import RunLayout
from pipeline.driver.request import Visit
from pipeline.driver.visit import check
from pipeline.run.published import find_damage
from pipeline.run.run import Run

DONE = ("render", "decoder", "fit", "clip", "encode", "base", "upsampler", "latent", "frontal", "head", "refiner")
PUBLISHED = ("renders/*", "decoder/*", "planes.zarr/**/*", "latents/*", "models/*/weights/*")
ONE_OF = ("c.0.0.0.0.0", "c.1.0.0.0.0", "c.0.0.0.0", "zarr.json")
"""Of the chunks, and all metadata: the rest is of the same kinds."""


@pytest.fixture(scope="module")
def run(made, tmp_path_factory) -> Run:
    """A copy with times of its own, as by ``cp -r``; each test leaves it as it was."""
    root = tmp_path_factory.mktemp("published") / "run"
    shutil.copytree(made.layout.root, root, copy_function=shutil.copyfile)
    layout = RunLayout(root)
    layout.config.write_text(toml_of_run(made.config))
    return Run(layout, made.config)


def published_files(run: Run) -> list[Path]:
    files = [path for pattern in PUBLISHED for path in sorted(run.layout.root.glob(pattern)) if path.is_file()]
    return [path for path in files if path.parent.parent != run.layout.planes or path.name in ONE_OF]


@contextmanager
def changed(path: Path, data: bytes | None) -> Iterator[None]:
    """The file with other content, or without it, for a while."""
    before, status = path.read_bytes(), path.stat()
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    yield
    path.write_bytes(before)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def refused(run: Run) -> str:
    """What is told of the run where it is asked for all that is done already."""
    with pytest.raises(DataError) as caught:
        check(Visit(run.snapshot(), DONE, "run"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.seconds
def test_a_run_that_was_copied_is_as_published(run):
    states, _ = check(Visit(run.snapshot(), DONE, "run"))
    assert {states[stage].word for stage in DONE} == {"done"}


@pytest.mark.seconds
def test_every_file_that_is_empty_cut_or_gone_is_told_with_a_remedy(run):
    files = published_files(run)
    assert {path.relative_to(run.layout.root).parts[0] for path in files} == {
        "renders",
        "decoder",
        "planes.zarr",
        "latents",
        "models",
    }
    for path in files:
        whole = path.read_bytes()
        for data in (b"", whole[: len(whole) // 2], None):
            with changed(path, data):
                line = refused(run)
            where = path.name if path.name != "zarr.json" else "planes.zarr"
            assert where in line or str(path.parent) in line, (path, line)
            assert "again" in line and str(run.layout.root) in line, line


@pytest.mark.seconds
@pytest.mark.parametrize(
    "name",
    ["decoder/state.safetensors", "planes.zarr/planes/c.3.0.0.0.0", "models/base/weights/state.safetensors"],
)
def test_a_file_that_was_changed_since_is_hashed(run, name):
    path = run.layout.root / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with changed(path, bytes(data)):
        assert "is not what was published" in refused(run)


@pytest.mark.seconds
def test_only_what_a_command_does_or_reads_is_looked_at(run):
    with changed(run.layout.shard(0), b""):
        check(Visit(run.snapshot(), ("fit",), "fit"))
        with pytest.raises(DataError, match=r"shard-00000\.tar is empty: .*rodin-pipe render renders this shard again"):
            check(Visit(run.snapshot(), ("render",), "render"))
        check(Visit(run.snapshot(), ("render",), "render", redo=("render",)))


@pytest.mark.seconds
def test_the_remedy_for_a_shard_fits_where_it_came_from(run):
    other = replace(run, config=run.config.model_copy(update={"renders_from": str(run.layout.root)}))
    ingest = run.config.ingest.model_copy(update={"sha256": "x", "captures": ("photographs",)})
    ingested = replace(run, config=run.config.model_copy(update={"ingest": ingest}))
    with changed(run.layout.shard(1), None):
        for asked, told in (
            (run, "rodin-pipe render renders this shard again"),
            (other, f"it is of the run {run.layout.root}"),
            (ingested, f"rodin-pipe ingest photographs --out {run.layout.root} puts it right"),
        ):
            damage = find_damage(asked, "render")
            assert damage is not None and damage.reason == "is missing" and told in damage.remedy


@pytest.mark.seconds
def test_a_configuration_that_is_cut_off_is_none(run):
    whole = run.layout.config.read_bytes()
    assert read_run_toml(run.layout.config) == run.config
    for length in (0, 20, *range(100, len(whole) - 2, 331)):
        with changed(run.layout.config, whole[:length]):
            with pytest.raises(ConfigError, match=r"run\.toml .*copy it again") as caught:
                read_run_toml(run.layout.config)
            assert "\n" not in str(caught.value)
