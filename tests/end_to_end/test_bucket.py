"""A whole run in a bucket by the same commands: the same bytes, also after kills, and no credentials anywhere.

Tasks run one after another in the driver's process: what Ray adds is the same wherever a run lies.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.bucket import Server, count, environment, object_bytes, s3_server
from support.commands import rodin, rodin_passes, rodin_refuses, wait_until
from support.here import DRIVER, without_ray
from support.tiny import NUM_AVATARS, SHARD_SIZE, arguments, recorded_jobs, recording_blender

from pipeline.commands.gallery import Gallery
from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.naming import format_avatar
from pipeline.io.bucket.objects import client, write
from pipeline.run.existing import open_run

pytestmark = pytest.mark.slow

WITHOUT_TIME = ("renders/", "decoder/", "planes.zarr/", "latents/")
"""What must have equal bytes in equal runs; of models and samples, weights and arrays."""
SECRETS = (b"secret-of-tests", b"key-of-tests")


@dataclass
class Both:
    """One configuration carried out in a folder and in a bucket."""

    server: Server
    local: Path
    far: BucketPath
    blender: str
    cache: Path
    said: str
    """By the command whose run is in the bucket."""
    requests: list[tuple[str, str]]
    """Of that command."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    with s3_server(folder / "server") as server, without_ray(), pytest.MonkeyPatch.context() as patch:
        for name, value in environment(server.url, folder / "cache").items():
            patch.setenv(name, value)
        client.cache_clear()
        blender = recording_blender(folder / "blender")
        local, far = folder / "local", server.place("run")
        rodin_passes("run", "--out", local, *arguments(blender))
        before = len(server.requests())
        said = rodin_passes("run", "--out", str(far), *arguments(blender))
        yield Both(server, local, far, blender, folder / "cache", said, server.requests()[before:])
    client.cache_clear()


def comparable(content: dict[str, bytes]) -> dict[str, bytes]:
    """Of a run's files, those that hold no times and no names of places."""
    return {
        name: data
        for name, data in content.items()
        if name.startswith(WITHOUT_TIME) or re.match(r"(models/\w+/weights/|samples/.*\.(npy|png)$)", name)
    }


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_bytes_are_those_of_a_run_in_a_folder(both: Both) -> None:
    there = comparable(object_bytes(both.server.url, both.far))
    assert there == comparable(files_of(both.local))
    assert len(there) > 60 and f"rodin-pipe inspect --out {both.far}" in both.said


def test_no_credentials_are_written_anywhere(both: Both) -> None:
    everything = object_bytes(both.server.url, both.far) | files_of(both.cache)
    assert not [name for name, data in everything.items() if any(secret in data for secret in SECRETS)]
    assert not any(secret.decode() in both.said for secret in SECRETS)


def test_requests_of_an_avatar_are_a_constant(both: Both) -> None:
    asked = both.requests
    assert count(asked, r"/renders/shard-\d+\.tar") == {"PUT": NUM_AVATARS // SHARD_SIZE, "GET": NUM_AVATARS}
    for avatar in range(NUM_AVATARS):
        fitted = count(asked, rf"planes\.zarr/\w+/c\.{avatar}\.|parts/fit/.*{format_avatar(avatar)}")
        assert fitted["PUT"] == 4 and fitted["HEAD"] == 1, "three chunks and a record, which is looked for first"
        # Training reads planes of one kind and sums; each of the stages that open the store asks for them once.
        for name in ("planes", "base_planes", "channel_sums"):
            assert count(asked, rf"planes\.zarr/{name}/c\.{avatar}\.")["GET"] <= 3
    shards = NUM_AVATARS // SHARD_SIZE
    entries = count(asked, r"ledger/render/shard")
    assert entries["GET"] <= 12 * shards and entries["HEAD"] == entries["PUT"] == shards


def test_the_same_command_has_nothing_to_do(both: Both) -> None:
    before, begun = object_bytes(both.server.url, both.far), len(both.server.requests())
    rodin_passes("run", "--out", str(both.far))
    asked = both.server.requests()[begun:]
    after = object_bytes(both.server.url, both.far)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert all(name.startswith("ledger/driver/") for name in changed), changed
    assert not count(asked, r"\.tar|/c\.")


def test_what_is_in_it_is_told_and_verified(both: Both) -> None:
    far, near = (rodin_passes("inspect", "--verify", "--out", str(place)) for place in (both.far, both.local))
    verified = [line for line in near.splitlines() if "avatars" in line or "verified" in line or "fits" in line]
    assert len(verified) == 3 and set(verified) <= set(far.splitlines())
    assert (
        object_bytes(both.server.url, both.far)["report/renders.png"]
        == (both.local / "report/renders.png").read_bytes()
    )
    name = next(
        name for name in object_bytes(both.server.url, both.far, "planes.zarr/planes") if name.startswith("c.1")
    )
    chunk = both.far / "planes.zarr/planes" / name
    content = object_bytes(both.server.url, both.far)[f"planes.zarr/planes/{name}"]
    write(chunk, content[:-2] + b"\0\0")
    result = rodin("inspect", "--verify", "--no-sheet", "--out", str(both.far))
    write(chunk, content)
    assert result.exit_code == 1 and "planes of a000001" in result.output


def test_it_is_looked_at_and_exported(both: Both, tmp_path: Path) -> None:
    rodin_passes("export", "nerf", "--avatar", "1", "--out", str(both.far))
    rodin_passes("export", "nerf", "--avatar", "1", "--out", both.local)
    assert object_bytes(both.server.url, both.far, "nerf") == files_of(both.local / "nerf")
    assert "is there and not an empty folder" in rodin_refuses(
        "export", "nerf", "--avatar", "1", "--out", str(both.far)
    )
    rodin_passes("export", "models", "--to", tmp_path / "far", "--out", str(both.far))
    rodin_passes("export", "models", "--to", tmp_path / "near", "--out", both.local)
    far, near = files_of(tmp_path / "far"), files_of(tmp_path / "near")
    assert far.keys() == near.keys()
    assert all(far[name] == near[name] for name in far if name.endswith(".safetensors"))
    shown = [Gallery.open(open_run(place)) for place in (both.far, both.local)]
    assert shown[0].names() == shown[1].names() and len(shown[0].names()) > NUM_AVATARS
    for name in (shown[0].names()[0], "noise/avatar-000"):
        planes = [gallery.exhibit(name).planes for gallery in shown]
        assert np.array_equal(planes[0], planes[1])


def test_more_are_generated(both: Both) -> None:
    for place in (both.far, both.local):
        rodin_passes("generate", "--out", str(place), "--num", "1", "--seed", "3", "--name", "third")
    there = object_bytes(both.server.url, both.far, "samples/third")
    assert there["avatar-000/planes.npy"] == (both.local / "samples/third/avatar-000/planes.npy").read_bytes()
    assert "is there already: --overwrite replaces it" in rodin_refuses(
        "generate", "--out", str(both.far), "--num", "1", "--name", "third"
    )


def test_captures_are_taken_in_and_fitted_there(both: Both, tmp_path: Path) -> None:
    rodin_passes("export", "nerf", "--avatar", "1", "--out", str(both.far), "--file", tmp_path / "capture")
    small = ("resolution=16", "base_resolution=8", "channels=4")
    chosen = (*(f"planes.{setting}" for setting in small), "fit.hull_resolution=16", "own.steps=20")
    settings = [word for setting in chosen for word in ("--set", setting)]
    far, near = both.server.place("captures"), tmp_path / "captures"
    for place in (far, near):
        rodin_passes("ingest", tmp_path / "capture", "--out", str(place))
        rodin_passes("fit", "--own-decoder", "--out", str(place), *settings)
    weights = {name: data for name, data in files_of(near / "own").items() if name.endswith((".safetensors", ".npy"))}
    there = object_bytes(both.server.url, far, "own")
    assert weights and all(there[name] == data for name, data in weights.items())


def test_a_run_reads_renders_and_starts_from_models_there(both: Both, tmp_path: Path) -> None:
    second = both.server.place("second")
    settings = arguments(both.blender, f"train.start_from={both.far}")
    rodin_passes("fit", "--out", str(second), "--renders", str(both.far), *settings)
    given, taken = (object_bytes(both.server.url, place, "decoder") for place in (both.far, second))
    assert taken["state.safetensors"] == given["state.safetensors"]
    assert object_bytes(both.server.url, second, "planes.zarr").keys() >= {"zarr.json"}
    made = rodin_passes(
        "generate", "--model", str(both.far), "--num", "1", "--to", tmp_path / "made", "--set", "generate.views=2"
    )
    assert (tmp_path / "made").is_dir() and "made" in made


def test_it_is_extended_and_done_again(both: Both) -> None:
    more = ("--set", f"render.num_avatars={NUM_AVATARS + 1}", "--out")
    jobs = len(recorded_jobs(both.blender))
    for place in (both.far, both.local):
        rodin_passes("render", *more, str(place))
        rodin_passes("fit", *more, str(place))
    assert recorded_jobs(both.blender)[jobs:] == [(NUM_AVATARS,)] * 2
    before = object_bytes(both.server.url, both.far)
    assert comparable(before) == comparable(files_of(both.local))
    rodin_passes("fit", "--redo", "fit", "--out", str(both.far))
    after = object_bytes(both.server.url, both.far)
    assert comparable(after) == comparable(before)
    assert after["ledger/fit/shard-00000.json"] != before["ledger/fit/shard-00000.json"]


def test_a_killed_one_goes_on_to_the_same_bytes(both: Both, tmp_path: Path) -> None:
    place = both.server.place("killed")
    command = ("render", "--out", str(place), *arguments(both.blender))
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, *command], stdout=log, stderr=log, env=variables)
    try:
        seen = re.compile("PUT /avatars/killed/ledger/render/shard-00000")
        wait_until(lambda: seen.search(both.server.log.read_text()), process=driver)
        assert "in use by process" in rodin_refuses(*command)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
    finally:
        driver.kill()
        driver.wait()
    rodin_passes(*command)
    rodin_passes("fit", "--out", str(place))
    there = object_bytes(both.server.url, place)
    near = {name: data for name, data in comparable(files_of(both.local)).items() if name in there}
    assert {name: data for name, data in comparable(there).items() if not name.endswith("zarr.json")} == {
        name: data
        for name, data in near.items()
        if not name.endswith("zarr.json") and not name.startswith(("models/", "samples/", "latents/"))
    }
    assert sum(name.startswith("planes.zarr/planes/c.") for name in there) == NUM_AVATARS
    assert not [name for name in there if name.startswith(".work/")]
