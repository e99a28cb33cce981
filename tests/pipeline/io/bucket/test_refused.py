"""What a bucket does not do is one line that says what helps, and holds no credentials."""

import time
from collections.abc import Iterator

import pytest
from support.bucket import BUCKET, Server, object_bytes
from support.s3_proxy import Proxy, Refusal, Request, s3_proxy

from pipeline.contracts.bucket_path import BucketPath, place
from pipeline.contracts.errors import ResourceError, RodinError
from pipeline.contracts.naming import RunLayout
from pipeline.io.bucket import lease
from pipeline.io.bucket.objects import client
from pipeline.io.files import require_place
from pipeline.io.publish import publish_text
from pipeline.io.run_lock import run_lock


@pytest.fixture
def proxy(server: Server, root: BucketPath, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with s3_proxy(server.url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        client.cache_clear()
        yield running


def refused(layout: RunLayout, *, writes: bool = True) -> str:
    with pytest.raises(RodinError) as caught:
        require_place(layout, writes=writes)
    said = str(caught.value)
    assert "\n" not in said and "secret-of-tests" not in said and "key-of-tests" not in said
    return said


def test_a_place_that_can_be_a_run_is_taken_and_left_as_it_was(root: BucketPath, server: Server) -> None:
    require_place(RunLayout(root), writes=True)
    assert object_bytes(server.url, root) == {}
    publish_text(root / "run.toml", "")
    publish_text(root / "renders" / "x", "")
    require_place(RunLayout(root), writes=True)


def test_no_such_bucket(root: BucketPath) -> None:
    assert refused(RunLayout(place("s3://nobodys/run"))).startswith("s3://nobodys: there is no such bucket: make it")


def test_what_is_no_run(root: BucketPath) -> None:
    publish_text(root / "holiday" / "1.jpg", "")
    assert f"{root} holds holiday and no run.toml, so it is no run" in refused(RunLayout(root))
    require_place(RunLayout(root), writes=False)


def test_no_right_to_write(root: BucketPath, proxy: Proxy) -> None:
    proxy.rule = lambda request: Refusal(403, "AccessDenied") if request.method == "PUT" else None
    assert f"s3://{BUCKET} does not let you write (AccessDenied)" in refused(RunLayout(root))
    require_place(RunLayout(root), writes=False)


def test_no_right_to_read(root: BucketPath, proxy: Proxy) -> None:
    proxy.rule = lambda request: Refusal(403, "InvalidAccessKeyId")
    assert f"s3://{BUCKET} does not let you list (InvalidAccessKeyId)" in refused(RunLayout(root), writes=False)


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_a_service_without_conditional_writes(root: BucketPath, proxy: Proxy, condition: str) -> None:
    def without(request: Request) -> None:
        for name in [name for name in request.headers if name.lower() == condition.lower()]:
            del request.headers[name]

    proxy.rule = without
    assert f"ignores {condition}, so that two drivers could write one run" in refused(RunLayout(root))
    proxy.rule = None
    require_place(RunLayout(root), writes=True)


def test_nobody_answers(root: BucketPath, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    client.cache_clear()
    assert f"s3://{BUCKET} cannot be asked to list" in refused(RunLayout(root), writes=False)


def test_credentials_that_expire_stop_the_holder_of_a_lock(
    root: BucketPath, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.2)
    said = r"credentials have expired \(ExpiredToken\): renew them, and the same command"
    with pytest.raises(ResourceError, match=said), run_lock(root / ".lock"):
        publish_text(root / "x", "done")
        proxy.rule = lambda request: Refusal(400, "ExpiredToken")
        time.sleep(300)  # the next beat interrupts it
        raise AssertionError("it was not interrupted")
    proxy.rule = None
    assert object_bytes(proxy.url, root)["x"] == b"done"
