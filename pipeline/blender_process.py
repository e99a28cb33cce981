"""The parent's side of a Blender worker: start it, watch it, and never leave one behind.

The worker is ``python -m blender_scripts.worker job.json --parent PID`` in a process group of its own. It tells what
it does by lines in ``progress.jsonl``, publishes each avatar's folder by rename, and ends with ``result.json``. A
worker that crashes, hangs or leaks costs this one attempt: whatever way :func:`run_blender` is left, its whole group is
dead. If this process dies itself, the kernel kills the worker, which asks for that when it starts.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.record import validation_summary
from pipeline.contracts.rendering import (
    PROGRESS_JSONL,
    RESULT_JSON,
    AvatarFailure,
    AvatarGivenUp,
    Event,
    RenderJob,
    WorkerResult,
    WorkerStarted,
    parse_event,
)

LOG_TAIL_CHARACTERS: Final = 4000
"""How much of the end of a worker's log is kept with a failure."""

CHECK_TIMEOUT_S: Final = 120.0
"""How long :func:`check_blender` waits for an answer."""

MESH_TIMEOUT_S: Final = 300.0
"""How long :func:`build_person_mesh` waits for its file."""

_POLL_S: Final = 0.1
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class BlenderOutcome:
    """How a worker ended."""

    result: WorkerResult | None
    """What it said at its end; ``None`` if it did not come that far."""
    failures: tuple[AvatarFailure, ...]
    """Avatars that it could not render: those it reports, or the one it had in work when it died."""
    exit_code: int
    """Negative: the signal that ended it."""
    killed_by_watchdog: bool
    reason: str
    """Why there is no result, in one line; empty if there is one."""
    log_tail: str
    """The end of what it printed."""
    num_events: int
    avatar_in_work: int | None
    """The avatar that it was at when it died: after ``start``, the first neither published nor reported as failed."""
    seconds: float


def run_blender(
    job: RenderJob, *, python: str, timeout_s: float, on_event: Callable[[Event], None] | None = None
) -> BlenderOutcome:
    """Run one worker on ``job`` to its end.

    ``job.output`` is this attempt's own folder, made by the caller; job.json, log.txt and what the worker
    writes go there. ``python`` is the interpreter that has bpy. The worker is killed once ``timeout_s`` seconds pass
    without a new event. Must stay in the thread that called it: the kernel ties the worker's life to that thread.
    Raises ``ResourceError`` if the interpreter cannot be started, and nothing for what the worker does.
    """
    output = Path(job.output)
    assert output.is_absolute(), "the worker runs in another folder"
    job_path = output / "job.json"
    job_path.write_text(job.to_json())
    started = time.monotonic()
    progress = _Progress(output / PROGRESS_JSONL, on_event)
    with (output / "log.txt").open("wb") as log:
        process = _start(python, job_path, log.fileno(), job.settings.threads, output)
        killed = False
        try:
            last_news = time.monotonic()
            while not _has_ended(process):
                if progress.read():
                    last_news = time.monotonic()
                elif time.monotonic() - last_news > timeout_s:
                    killed = True
                    break
                time.sleep(_POLL_S)
        finally:
            _kill_group(process)
    progress.read()
    result, damage = _read_result(output / RESULT_JSON)
    reason = "" if result else _describe_end(process.returncode, killed, timeout_s, damage)
    log_tail = _read_tail(output / "log.txt")
    avatar_in_work = None if result else _avatar_in_work(job, progress)
    return BlenderOutcome(
        result=result,
        failures=_failures(result, avatar_in_work, reason, log_tail),
        exit_code=process.returncode,
        killed_by_watchdog=killed,
        reason=reason,
        log_tail=log_tail,
        num_events=progress.num_events,
        avatar_in_work=avatar_in_work,
        seconds=time.monotonic() - started,
    )


def check_blender(python: str) -> None:
    """Have the interpreter look for its packages and assets, without starting Blender.

    Raises ``ResourceError`` with what is missing, in one line.
    """
    _ask(python, ("blender_scripts.worker", "--check"), CHECK_TIMEOUT_S)


def build_person_mesh(spec: AvatarSpec, extent_m: float, path: Path, *, python: str) -> None:
    """Have the interpreter build an avatar's own mesh and write it as binary glTF to ``path``; starts no Blender.

    Raises ``ResourceError`` with what it said, in one line.
    """
    with tempfile.TemporaryDirectory(prefix="rodin-person-") as folder:
        given = Path(folder) / "spec.json"
        given.write_text(spec.to_json())
        module = ("blender_scripts.mesh_export", str(given), str(path.absolute()), "--extent-m", str(extent_m))
        _ask(python, module, MESH_TIMEOUT_S)


def _ask(python: str, module: Sequence[str], timeout_s: float) -> None:
    """Run a module of ours to its end; what it complains of is a ``ResourceError``."""
    try:
        found = subprocess.run(
            [_program(python), "-m", *module],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(1),
            timeout=timeout_s,
        )
    except OSError as error:
        raise _cannot_start(python, error) from None
    except subprocess.TimeoutExpired:
        raise ResourceError(f"render.python is {python!r}, which did not answer for {timeout_s:g} s") from None
    if found.returncode:
        said = found.stderr.strip().splitlines() or [f"exit code {found.returncode}"]
        raise ResourceError(f"render.python is {python!r}: {said[-1].removeprefix('error: ')}")


@dataclass
class _Progress:
    """Reads the events that a worker appends, each once."""

    path: Path
    on_event: Callable[[Event], None] | None
    num_events: int = 0
    started: bool = False
    failed: set[int] = field(default_factory=set)
    _offset: int = 0
    _rest: bytes = field(default=b"", repr=False)

    def read(self) -> bool:
        """Take in what is new; return whether there was an event."""
        before = self.num_events
        for event in self._new_events():
            self.num_events += 1
            if isinstance(event, WorkerStarted):
                self.started = True
            elif isinstance(event, AvatarGivenUp):
                self.failed.add(event.avatar)
            if self.on_event is not None:
                self.on_event(event)
        return self.num_events > before

    def _new_events(self) -> Iterator[Event]:
        try:
            with self.path.open("rb") as handle:
                handle.seek(self._offset)
                data = handle.read()
        except FileNotFoundError:
            return
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                yield parse_event(line)
            except ValidationError:
                continue  # torn by a full disk, say: no sign of life, and the watchdog judges by those


def _start(python: str, job_path: Path, log: int, threads: int, folder: Path) -> subprocess.Popen[bytes]:
    command = [_program(python), "-m", "blender_scripts.worker", str(job_path), "--parent", str(os.getpid())]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(threads),
            start_new_session=True,
        )
    except OSError as error:
        raise _cannot_start(python, error) from None


def _program(python: str) -> str:
    return str(Path(python).absolute()) if os.sep in python else python  # the worker starts in another folder


def environment(threads: int) -> dict[str, str]:
    """What a process of Blender begins with: our packages before what lies where the command was given."""
    variables = dict(os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads)), PYTHONUNBUFFERED="1")
    variables["PYTHONSAFEPATH"] = "1"  # a random.py where the command was given is not the library's
    root = Path(__file__).parent.parent
    if root.name not in ("site-packages", "dist-packages"):
        # A checkout. An installed package stays out of another interpreter's path, and its neighbours with it.
        inherited = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = f"{root}{os.pathsep}{inherited}" if inherited else str(root)
    return variables


def _cannot_start(python: str, error: OSError) -> ResourceError:
    return ResourceError(
        f"render.python is {python!r}, which cannot be started ({error.strerror}): "
        "name an interpreter that has rodin-pipe[render]"
    )


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the leader has ended, without reaping it: until then nobody else can get its group's number."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_result(path: Path) -> tuple[WorkerResult | None, str]:
    """The worker's last word, and what is wrong with it if it cannot be read."""
    try:
        return WorkerResult.from_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, f"no {RESULT_JSON}"
    except ValidationError as error:
        return None, f"damaged {RESULT_JSON}, {validation_summary(error)}"


def _avatar_in_work(job: RenderJob, progress: _Progress) -> int | None:
    """A worker takes its avatars in order, so this needs no event that a crash could have swallowed."""
    if not progress.started:
        return None
    unfinished = (a.avatar for a in job.avatars if not Path(job.output, format_avatar(a.avatar)).exists())
    return next((avatar for avatar in unfinished if avatar not in progress.failed), None)


def _failures(
    result: WorkerResult | None, avatar_in_work: int | None, reason: str, log_tail: str
) -> tuple[AvatarFailure, ...]:
    if result is not None:
        return tuple(
            failure if failure.log_tail else failure.model_copy(update={"log_tail": log_tail})
            for failure in result.failures
        )
    if avatar_in_work is not None:
        return (AvatarFailure(avatar=avatar_in_work, reason=reason, log_tail=log_tail),)
    return ()


def _describe_end(exit_code: int, killed: bool, timeout_s: float, damage: str) -> str:
    if killed:
        return f"Blender was killed: no frame for {timeout_s:g} s"
    if exit_code < 0:
        return f"Blender died of {signal.Signals(-exit_code).name} ({damage})"
    return f"Blender ended with exit code {exit_code} ({damage})"


def _read_tail(path: Path) -> str:
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - 4 * LOG_TAIL_CHARACTERS))
        return handle.read().decode(errors="replace")[-LOG_TAIL_CHARACTERS:]
