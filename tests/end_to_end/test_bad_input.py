"""Damaged or foreign files of a run: one line and exit code 2 before any work has begun."""

import io
import json
import shutil
import tarfile

import pytest
from support.commands import rodin, rodin_passes, rodin_refuses
from support.tiny import arguments

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout
from pipeline.driver import visit as driver

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def no_session(monkeypatch):
    """Everything here is known before Ray starts."""

    def refuse(address):
        raise AssertionError("work has begun")

    monkeypatch.setattr(driver, "ray_session", refuse)


def truncate(tar):
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])


def cut_between_files(tar):
    with tarfile.open(tar) as whole:
        end = whole.getmembers()[6].offset
    tar.write_bytes(tar.read_bytes()[:end])


def drop_a_file(tar):
    """A sound tar in which one sample has no depth image."""
    out = io.BytesIO()
    with tarfile.open(tar) as whole, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as less:
        for member in whole.getmembers():
            if member.name != "a000002_v004.depth.png":
                less.addfile(member, whole.extractfile(member))
    tar.write_bytes(out.getvalue())


def lose_an_avatar(tar):
    """A sound tar that is not the one that was published."""
    out = io.BytesIO()
    with tarfile.open(tar) as whole, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as less:
        for member in whole.getmembers():
            if member.name.startswith("a000002"):
                less.addfile(member, whole.extractfile(member))
    tar.write_bytes(out.getvalue())


DAMAGES = [
    (truncate, "truncated"),
    (cut_between_files, "truncated"),
    (drop_a_file, "a000002_v004 lacks .depth.png"),
    (lose_an_avatar, "lacks a000003"),
    (lambda tar: tar.unlink(), "missing"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES, ids=("cut", "cut-between-files", "file", "avatar", "tar"))
def test_a_damaged_tar(without, damage, told):
    layout = without("fit", "base")
    damage(layout.shard(1))
    for command in (("fit",), ("run",), ("train", "clip", "--redo", "clip")):
        line = rodin_refuses(command[0], "--out", layout.root, *command[1:])
        assert "shard-00001.tar" in line and told in line
    result = rodin("inspect", "--out", layout.root, "--verify", "--no-sheet")
    assert result.exit_code == 1 and "shard-00001.tar" in result.stdout, result.output


def test_a_damaged_tar_that_nothing_will_read_is_no_hindrance(copied):
    truncate(copied.shard(1))
    rodin_passes("fit", "--out", copied.root, "--dry-run")


def test_a_shard_that_a_killed_extension_published_before_its_ledger(without):
    # Then the tar rightly holds more than its ledger says, and the same command must go on.
    layout = without("fit", "base")
    ledger = layout.ledger("render", "shard-00001")
    record = json.loads(ledger.read_text())
    record["done"], record["specs"] = record["done"][:1], record["specs"][:1]
    record["tar_sha256"], record["tar_bytes"] = "0" * 64, 10240
    record["avatar_sha256"] = {"a000002": record["avatar_sha256"]["a000002"]}
    ledger.write_text(json.dumps(record))
    rodin_passes("render", "--out", layout.root, "--dry-run")


def another_schema(layout):
    path = layout.planes / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["schema_version"] = 99
    path.write_text(json.dumps(metadata))


def another_shape(layout):
    path = layout.planes / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["spec"]["extent_m"] = 0.5
    path.write_text(json.dumps(metadata))


def no_store(layout):
    shutil.rmtree(layout.planes)


@pytest.mark.parametrize(
    ("damage", "told"),
    [(another_schema, "schema version 99"), (another_shape, "extent_m"), (no_store, "no plane store")],
)
def test_planes_of_another_schema(without, damage, told):
    layout = without("base")
    (layout.ledger("fit", "shard-00002")).unlink()
    damage(layout)
    for command in (("fit",), ("train", "base"), ("run",)):
        line = rodin_refuses(command[0], "--out", layout.root, *command[1:])
        assert "planes.zarr" in line and told in line
    if damage is not another_shape:
        assert told in rodin_refuses("inspect", "--out", layout.root, "--verify", "--no-sheet")


def test_a_ledger_of_another_schema(copied):
    ledger = copied.ledger("render", "shard-00000")
    ledger.write_text(ledger.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    for command in ("run", "fit", "inspect"):
        line = rodin_refuses(command, "--out", copied.root)
        assert "shard-00000.json" in line and "schema version 99" in line


def test_a_stage_without_what_it_reads_names_the_command(finished, copied, tmp_path):
    empty = tmp_path / "empty"
    line = rodin_refuses("fit", "--out", empty, *arguments(finished.blender))
    assert f"rodin-pipe render --out {empty}" in line
    shutil.rmtree(copied.root / "ledger" / "fit")
    assert f"rodin-pipe fit --out {copied.root}" in rodin_refuses(
        "train", "base", "--out", copied.root, "--redo", "base"
    )
    shutil.rmtree(copied.root / "ledger" / "generate")
    assert "rodin-pipe run" in rodin_refuses("evaluate", "--out", copied.root)


def test_renders_of_a_run_that_has_none(finished, tmp_path):
    other = RunLayout(tmp_path / "other")
    other.root.mkdir()
    other.config.write_text(finished.config.to_toml())
    options = arguments(finished.blender)
    line = rodin_refuses("fit", "--out", tmp_path / "run", *options, "--renders", other.root)
    assert "holds no shard" in line
    line = rodin_refuses("fit", "--out", tmp_path / "run", *options, "--renders", tmp_path / "nowhere")
    assert "nowhere" in line


def test_the_remedy_for_a_damaged_shard_is_accepted(copied):
    # "delete the shard and its ledger entry and run the same command again": what follows is not stale by that.
    copied.shard(1).unlink()
    copied.ledger("render", "shard-00001").unlink()
    plan = rodin_passes("run", "--out", copied.root, "--dry-run")
    words = {line.split()[0]: line.split()[1] for line in plan.splitlines() if line}
    assert words["render"] == "unfinished" and words["decoder"] == words["fit"] == words["evaluate"] == "done"
