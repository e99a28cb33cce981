"""A server that speaks S3 on loopback, as a process of its own, since Ray's workers are processes too."""

import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import from_url

from pipeline.contracts.bucket_path import CACHE_DIR, BucketPath, place

BUCKET = "avatars"
_REQUEST = re.compile(r'"(?:\x1b\[[0-9;]*m)*(GET|PUT|HEAD|DELETE|POST) (\S+) HTTP')


@dataclass(frozen=True)
class Server:
    """A running server with one bucket."""

    url: str
    log: Path

    def place(self, name: str) -> BucketPath:
        """A run of that name in its bucket."""
        found = place(f"s3://{BUCKET}/{name}")
        assert isinstance(found, BucketPath)
        return found

    def requests(self) -> list[tuple[str, str]]:
        """(method, address) of each request so far."""
        return [(method, address) for method, address in _REQUEST.findall(self.log.read_text())]


def environment(url: str, cache: Path) -> dict[str, str]:
    """What a process that reads and writes the server's bucket has in its environment."""
    return {
        "AWS_ACCESS_KEY_ID": "key-of-tests",
        "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        CACHE_DIR: str(cache),
    }


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """Start a server with an empty bucket; it does not outlive the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "requests.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        url = f"http://127.0.0.1:{port}"
        make_bucket(url, BUCKET)
        yield Server(url, log)
    finally:
        process.kill()
        process.wait()


def make_bucket(url: str, name: str) -> None:
    """An empty bucket on a server that knows no permissions."""
    import urllib.request

    request = urllib.request.Request(f"{url}/{name}", method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def object_bytes(url: str, run: BucketPath, below: str = "") -> dict[str, bytes]:
    """Every object below a run, or below a folder of it, by its name there; read past all that is tested."""
    store = from_url(
        f"s3://{run.bucket}",
        config={"endpoint": url, "region": "us-east-1", "access_key_id": "k", "secret_access_key": "s"},
        client_options={"allow_http": True},
    )
    root = run / below
    paths = [meta["path"] for page in obstore.list(store, f"{root.key}/") for meta in page]
    return {path.removeprefix(f"{root.key}/"): bytes(obstore.get(store, path).bytes()) for path in sorted(paths)}


def count(requests: list[tuple[str, str]], pattern: str) -> Counter[str]:
    """How many requests there were of each method whose addresses match a pattern."""
    return Counter(method for method, address in requests if re.search(pattern, address))
