"""A token that expires while a run in a bucket is under way: one line, what is done stays, the same command goes on.

A proxy before the server answers 403 ``ExpiredToken`` from some request on, to whoever asks.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.bucket import Server, environment, object_bytes
from support.commands import rodin_passes
from support.here import DRIVER, without_ray
from support.s3_proxy import Proxy, Refusal, Request, s3_proxy
from support.tiny import arguments, recorded_jobs, recording_blender

from pipeline.contracts.bucket_path import BucketPath
from pipeline.io.bucket.objects import client

pytestmark = pytest.mark.slow

SAID = re.compile(
    r"rodin-pipe: .*s3://\S+: the credentials have expired \(ExpiredToken\): renew them, and the same command goes on; "
    r"what is done stays done"
)
COMMANDS = ("render", "fit", "train")
COMPARED = ("renders/", "decoder/", "planes.zarr/", "models/clip/weights/")


@dataclass
class Calm:
    """A server, a proxy before it, and the files of a run that nothing disturbed."""

    server: Server
    proxy: Proxy
    blender: str
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def calm(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calm]:
    folder = tmp_path_factory.mktemp("tokens")
    with s3_proxy(server.url) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(proxy.url, folder / "cache").items():
            patch.setenv(name, value)
        client.cache_clear()
        blender = recording_blender(folder / "blender")
        place = server.place("calm")
        with without_ray():
            for command in COMMANDS:
                rodin_passes(*words(command, place, blender))
        yield Calm(server, proxy, blender, object_bytes(server.url, place))
    client.cache_clear()


def words(command: str, place: BucketPath, blender: str) -> list[str]:
    models = ["clip"] if command == "train" else []
    return [command, *models, "--out", str(place), *arguments(blender)]


class Expiry:
    """A rule of a proxy: a request that matches is the first that is refused."""

    def __init__(self, first: str) -> None:
        self._first, self._is_over = re.compile(first), False

    def __call__(self, request: Request) -> Refusal | None:
        self._is_over = self._is_over or self._first.search(f"{request.method} {request.path}") is not None
        return Refusal(403, "ExpiredToken") if self._is_over else None


@pytest.mark.parametrize(
    ("with_ray", "command", "first_refused", "kept", "avatars_left"),
    [
        (False, "render", r"PUT .*/renders/shard-00001\.tar", "ledger/render/shard-00000.json", 2),
        (False, "render", r"PUT .*/ledger/render/shard-00001", "renders/shard-00001.tar", 2),
        (False, "fit", r"PUT .*/planes\.zarr/planes/c\.1\b", "ledger/decoder/decoder.json", 0),
        pytest.param(True, "train", r"PUT .*/models/clip/", "ledger/fit/shard-00002.json", 0, marks=pytest.mark.ray),
    ],
)
def test_it_stops_with_one_line_and_goes_on(
    calm: Calm, with_ray: bool, command: str, first_refused: str, kept: str, avatars_left: int
) -> None:
    place = calm.server.place(re.sub(r"\W+", "-", first_refused))
    with without_ray():
        for before in COMMANDS[: COMMANDS.index(command)]:
            rodin_passes(*words(before, place, calm.blender))
    calm.proxy.rule = Expiry(first_refused)
    try:
        start = ["-m", "pipeline.cli"] if with_ray else ["-c", DRIVER]
        done = subprocess.run(
            [sys.executable, *start, *words(command, place, calm.blender)],
            env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
            | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
    finally:
        calm.proxy.rule = None
    assert done.returncode == 2, (done.stdout, done.stderr)
    said = [line for line in done.stderr.splitlines() if line.startswith("rodin-pipe: ")]
    assert len(said) == 1 and SAID.match(said[0]) and "Traceback" not in done.stderr, done.stderr
    assert kept in object_bytes(calm.server.url, place)
    jobs = len(recorded_jobs(calm.blender))
    with without_ray():
        for after in COMMANDS:
            rodin_passes(*words(after, place, calm.blender))
    rendered = sum(len(job) for job in recorded_jobs(calm.blender)[jobs:])
    assert rendered == avatars_left, "what was rendered is kept, published or not"
    there = object_bytes(calm.server.url, place)
    assert {name: data for name, data in there.items() if name.startswith(COMPARED)} == {
        name: data for name, data in calm.files.items() if name.startswith(COMPARED)
    }
