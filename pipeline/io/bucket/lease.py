"""The lock of a run in a bucket: an object with an owner and a heartbeat, changed on condition only.

Nobody can hold an object as a kernel holds a file, so its owner writes it again every :data:`BEAT_S` seconds, and one
that was not written for :data:`EXPIRES_S` may be taken over: at once where its process ran on this machine and is gone,
else after it was watched for two beats more, since clocks differ. Each write is on the condition that the object is the
one last seen, so that of two takers one comes too late. A driver that finds its lock taken over is interrupted, and
every process of its visit looks at the lock before it publishes (:func:`require_lease`).
"""

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pipeline.contracts.bucket_path import BucketPath, place
from pipeline.contracts.errors import RunLockedError
from pipeline.io.bucket.objects import BucketError, Found, Taken, create, head, read, replace

BEAT_S = 10.0
EXPIRES_S = 60.0
FENCE_S = 5.0
"""How long a look at the lock lasts for what is no ledger entry."""

LEASE: Final = "RODIN_LEASE"
"""Environment variable of the processes of a visit: the lock's address and its owner, with a space between."""

_SIGNAL: Final = signal.SIGUSR1
"""Ends the block of a lost lock; Ctrl-C's is ignored in what a shell runs in the background."""
_looked_at = -FENCE_S


class _Lost(BaseException):
    """Unwinds the block, past whatever catches exceptions."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Lost


@contextmanager
def lease(path: BucketPath) -> Iterator[None]:
    """Hold the lock while the block runs; raises ``RunLockedError`` at once where another holds it, and at the end of
    the block where it was taken over or could not be renewed.
    """
    global _looked_at
    holder = _Holder(path)
    holder.acquire()
    before = os.environ.get(LEASE)
    os.environ[LEASE] = f"{path} {holder.token}"
    _looked_at = -FENCE_S
    beats = threading.Thread(target=holder.renew_until_released, name="lease", daemon=True)
    handler = signal.signal(_SIGNAL, _interrupt) if holder.interrupts else None
    beats.start()
    try:
        yield
    except _Lost:
        assert holder.lost is not None
        raise holder.lost from None
    finally:
        if holder.interrupts:
            signal.signal(_SIGNAL, signal.SIG_IGN)
        os.environ.pop(LEASE, None)
        if before is not None:
            os.environ[LEASE] = before
        holder.ended.set()
        beats.join()
        if holder.interrupts:
            signal.signal(_SIGNAL, handler)
        holder.release()
    if holder.lost is not None:
        raise holder.lost


def require_lease(path: BucketPath, *, at_once: bool = False) -> None:
    """Raise ``RunLockedError`` where the visit that this process works for no longer holds the lock of ``path``'s run.

    A look lasts for :data:`FENCE_S`, unless it is to be ``at_once``.
    """
    global _looked_at
    address, _, token = os.environ.get(LEASE, "").partition(" ")
    if not token or (not at_once and time.monotonic() - _looked_at < FENCE_S):
        return
    lock = place(address)
    assert isinstance(lock, BucketPath)
    if not path.is_relative_to(lock.parent):
        return
    try:
        content, _ = read(lock)
    except FileNotFoundError:
        content = b""
    if _record(content).get("owner") != token:
        raise RunLockedError(_taken_over(lock, content))
    _looked_at = time.monotonic()


class _Holder:
    """One process's claim to one lock."""

    def __init__(self, path: BucketPath) -> None:
        self.path = path
        self.token = secrets.token_hex(8)
        self.ended = threading.Event()
        self.lost: Exception | None = None
        self.interrupts = threading.current_thread() is threading.main_thread()
        """Whether the block runs in the main thread, which alone gets signals."""
        self._etag = ""
        self._beat = 0
        self._record = {
            "owner": self.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": _this_process(os.getpid()),
            "started_at": time.time(),
        }

    def acquire(self) -> None:
        try:
            content, found = read(self.path)
        except FileNotFoundError:
            content, found = b"", None
        try:
            if found is None:
                self._etag = create(self.path, self._content())
                return
            record = _record(content)
            if record and not _is_gone(record) and not self._is_abandoned(found):
                raise RunLockedError(_in_use(self.path, record, found))
            self._etag = replace(self.path, self._content(), found)
        except Taken:
            content, found = read(self.path)
            raise RunLockedError(_in_use(self.path, _record(content), found)) from None

    def renew_until_released(self) -> None:
        """Beat; a lock that is another's, or that cannot be renewed until it expires, interrupts the main thread."""
        renewed_at = time.monotonic()
        while not self.ended.wait(BEAT_S):
            try:
                self._renew()
                renewed_at = time.monotonic()
            except RunLockedError as error:
                self.lost = error
            except BucketError as error:
                if "credentials" in str(error) or time.monotonic() - renewed_at > EXPIRES_S - 2 * BEAT_S:
                    self.lost = error
            if self.lost is not None:
                if self.interrupts:
                    signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
                return

    def release(self) -> None:
        if self.lost is not None:
            return
        try:
            replace(self.path, b"", self._known(), patient=False)
        except (Taken, BucketError):
            return  # it expires by itself

    def _renew(self) -> None:
        self._beat += 1
        try:
            self._etag = replace(self.path, self._content(), self._known(), patient=False)
        except Taken:
            try:
                content, found = read(self.path)
            except FileNotFoundError:
                raise RunLockedError(f"{self.path} was removed: the run is stopped, the same command goes on") from None
            if _record(content).get("owner") != self.token:
                raise RunLockedError(_taken_over(self.path, content)) from None
            self._etag = found.etag  # an earlier write of ours whose answer was lost

    def _known(self) -> Found:
        found = head(self.path) if self.path.scheme == "gs" else None  # there a generation is asked for, not an ETag
        if found is not None and found.etag != self._etag:
            raise Taken(str(self.path))
        return found or Found(self.path, 0, self._etag, None, 0.0)

    def _content(self) -> bytes:
        return json.dumps(self._record | {"beat": self._beat}).encode()

    def _is_abandoned(self, found: Found) -> bool:
        if time.time() - found.changed_at < EXPIRES_S:
            return False
        deadline = time.monotonic() + 2 * BEAT_S + 1
        while time.monotonic() < deadline:
            time.sleep(min(1.0, BEAT_S / 4))
            now = head(self.path)
            if now is None or now.etag != found.etag:
                return False
        return True


def _record(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _this_process(pid: int) -> str:
    """What tells a process from all others of all machines: boot, pid namespace, pid, start; empty for none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot} {namespace} {pid} {fields[19]}"


def _is_gone(record: dict[str, Any]) -> bool:
    """Whether a holder was a process of this machine that has ended."""
    known, mine = str(record.get("process", "")).split(), _this_process(os.getpid()).split()
    if len(known) != 4 or len(mine) != 4 or known[:2] != mine[:2] or record.get("host") != socket.gethostname():
        return False
    return _this_process(int(known[2])).split() != known


def _holder(record: dict[str, Any]) -> str:
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["started_at"]))
        return f"process {record['pid']} on {record['host']}, started {started}"
    except (KeyError, TypeError, ValueError):
        return "a process that has only just started or is ending"


def _in_use(path: BucketPath, record: dict[str, Any], found: Found) -> str:
    seconds = max(0, round(time.time() - found.changed_at))
    return (
        f"{path.parent} is in use by {_holder(record)}, last heard of {seconds} s ago: wait for it, stop it, or give "
        f"another run folder; of a process that was killed, the lock ends {EXPIRES_S:.0f} s after that"
    )


def _taken_over(path: BucketPath, content: bytes) -> str:
    return f"{path.parent} was taken over by {_holder(_record(content))}: stopped, and nothing more is published here"
