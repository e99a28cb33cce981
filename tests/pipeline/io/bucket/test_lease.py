"""The lock of a run in a bucket: one holder, who is named, who is told when it is no longer the holder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.bucket import Server
from support.commands import wait_until
from support.ledgers import write_stage

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import RunLockedError
from pipeline.contracts.naming import RunLayout
from pipeline.io.bucket import lease as module
from pipeline.io.bucket.objects import head, read, write
from pipeline.io.ledger import write_ledger
from pipeline.io.publish import publish_text
from pipeline.io.run_lock import run_lock


def foreign(root: BucketPath) -> bytes:
    """What a driver of another machine would have written."""
    record = {"owner": "other", "host": "elsewhere", "pid": 7, "process": "b pid:[1] 7 8", "started_at": 0.0, "beat": 3}
    return json.dumps(record).encode()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.2)
    monkeypatch.setattr(module, "FENCE_S", 0.0)


def test_a_second_holder_is_told_who_the_first_is(root: BucketPath) -> None:
    with run_lock(root / ".lock"), pytest.raises(RunLockedError) as caught, run_lock(root / ".lock"):
        pass
    said = str(caught.value)
    assert f"{root} is in use by process {os.getpid()} on {os.uname().nodename}, started 2" in said
    assert "\n" not in said and "last heard of" in said
    with run_lock(root / ".lock"):
        pass
    assert module.LEASE not in os.environ


def test_a_lock_of_a_process_of_this_machine_dies_with_it(root: BucketPath) -> None:
    code = (
        "import sys, time; from pipeline.contracts.bucket_path import place\n"
        "from pipeline.io.run_lock import run_lock\n"
        "with run_lock(place(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    folder = Path(module.__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root / ".lock")], cwd=folder, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError, match=f"process {holder.pid}"), run_lock(root / ".lock"):
            pass
        holder.kill()
    with run_lock(root / ".lock"):
        pass


def test_a_living_lock_of_another_machine_is_left_to_it(
    root: BucketPath, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / ".lock", foreign(root))
    with pytest.raises(RunLockedError, match="process 7 on elsewhere"), run_lock(root / ".lock"):
        pass
    # It looks expired by this machine's clock, and is not: it beats while it is watched.
    monkeypatch.setattr(module, "EXPIRES_S", -1.0)
    sleep, beats = time.sleep, []

    def beat(seconds: float) -> None:
        beats.append(seconds)
        write(root / ".lock", foreign(root).replace(b'"beat": 3', b'"beat": 4'))
        sleep(seconds)

    monkeypatch.setattr(module.time, "sleep", beat)
    with pytest.raises(RunLockedError, match="process 7 on elsewhere"), run_lock(root / ".lock"):
        pass
    assert beats


def test_a_dead_lock_of_another_machine_is_taken_over(
    root: BucketPath, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXPIRES_S", -1.0)
    write(root / ".lock", foreign(root))
    with run_lock(root / ".lock"):
        assert json.loads(read(root / ".lock")[0])["pid"] == os.getpid()
    assert read(root / ".lock")[0] == b""


def test_a_lock_is_renewed(root: BucketPath, quick: None) -> None:
    with run_lock(root / ".lock"):
        first = head(root / ".lock")
        assert first is not None
        wait_until(lambda: (now := head(root / ".lock")) is not None and now.etag != first.etag)


def test_who_lost_the_lock_stops_and_publishes_nothing(root: BucketPath, quick: None, server: Server) -> None:
    seen: list[str] = []
    with pytest.raises(RunLockedError, match="taken over by process 7 on elsewhere"), run_lock(root / ".lock"):
        publish_text(root / "x", "mine")
        found = head(root / ".lock")
        assert found is not None
        write(root / ".lock", foreign(root))
        for publish in (
            lambda: publish_text(root / "y", "mine no longer"),
            lambda: write_stage(RunLayout(root), "clip", (), {}),
        ):
            try:
                publish()
            except RunLockedError as error:
                seen.append(str(error))
        time.sleep(300)  # the next beat interrupts it
        seen.append("it was not interrupted")
    assert [text.partition(" was ")[2][:10] for text in seen] == ["taken over"] * 2
    assert (
        head(root / "x") is not None
        and head(root / "y") is None
        and head(RunLayout(root).ledger("clip", "clip")) is None
    )
    assert json.loads(read(root / ".lock")[0])["owner"] == "other"


def test_an_entry_that_somebody_else_wrote_meanwhile_is_left(root: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.io.bucket import run_objects

    layout = RunLayout(root)
    report = write_stage(layout, "clip", (1,), {})
    path = layout.ledger("clip", "clip")
    monkeypatch.setattr(run_objects, "head", lambda path: None)  # it was not there when it was looked for
    with pytest.raises(RunLockedError, match="written by somebody else"):
        write_stage(layout, "clip", (2,), {})
    write_ledger(path, report)  # an answer that was lost: the same entry is there already
    found = head(path)
    assert found is not None
    monkeypatch.setattr(run_objects, "head", lambda path: found)
    write_stage(layout, "clip", (3,), {})
    with pytest.raises(RunLockedError, match="written by somebody else"):
        write_stage(layout, "clip", (4,), {})
