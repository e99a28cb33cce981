"""A Ray session for one driver: a cluster started on this machine, or a connection to a running one.

A local session is quick and private: no dashboard, no usage report, a token without which its ports answer
nobody, everything of it in one short folder under the temporary directory. Nothing of it outlives the driver.
On a normal end, Ctrl-C and SIGTERM the session is shut down here. When the driver is killed, the kernel kills
Ray's daemons (they ask for that with PR_SET_PDEATHSIG when the driver starts them), and :mod:`cluster.reaper` the
rest. Hence ``ray_session`` belongs into the main thread: the kernel sends that signal when the *thread* ends that
started the daemons.

Threads: Ray sets ``OMP_NUM_THREADS`` in a worker to the task's number of CPUs, but only where the variable is
unset. A value in the driver's environment reaches every local worker unchanged. Functions whose numbers
depend on the number of threads set it themselves (``torch.set_num_threads``) and need neither.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import ray

from cluster import reaper as reaper_program
from pipeline.contracts.errors import ResourceError

PROBE_TIMEOUT_S = 5.0
"""How long an address may take to answer."""

_QUESTIONS = {"head": "/ray.rpc.NodeInfoGcsService/CheckAlive", "client": "/ray.rpc.RayletDriver/ClusterInfo"}
"""What each of Ray's servers answers at once to whoever may ask."""

_FOLDER_PREFIX = "rodin-ray-"
_LONGEST_FOLDER = 40
"""Ray appends up to 66 characters for its sockets, and a Unix socket's path holds 107."""
_OBJECT_STORE_BYTES = 100 * 2**20
"""Tasks pass small reports; Ray refuses less than 75 MiB."""


@dataclass(frozen=True)
class SessionInfo:
    """What a session runs on."""

    address: str
    """The cluster's address; ``local`` for a session started here."""
    cpus: float
    """Of all nodes together, as Ray counts them."""
    gpus: float
    """Of all nodes together."""
    nodes: int
    """Number of nodes that are alive."""
    start_seconds: float
    """Seconds until the session could take tasks."""

    @property
    def is_local(self) -> bool:
        """Whether the session was started here and its resources cannot grow."""
        return self.address == "local"


@contextmanager
def ray_session(
    address: str | None, *, num_cpus: int | None = None, runtime_env: dict[str, Any] | None = None
) -> Iterator[SessionInfo]:
    """Start Ray here (``address`` None) or connect to a cluster, and leave nothing behind.

    Args:
        address: ``host:port``, ``ray://host:port`` or ``auto`` (the cluster that this machine belongs to).
        num_cpus: CPUs of a local session; default: those that this process may use. Refused with an address.
        runtime_env: Ray's description of the workers' environment. Without one they use the driver's
            interpreter here, and what the nodes have installed on a cluster.

    Raises:
        ResourceError: the address does not answer, or Ray does not start.
    """
    if ray.is_initialized():
        raise RuntimeError("this process is in a Ray session already")
    started = time.monotonic()
    previous_handler = signal.getsignal(signal.SIGTERM)
    with contextlib.ExitStack() as cleanup:
        if address is None:
            folder = cleanup.enter_context(_session_folder())
            # Registered before the start, so that a half-started Ray is taken down as well.
            cleanup.callback(ray.shutdown)
            _start(folder, num_cpus if num_cpus is not None else len(os.sched_getaffinity(0)), runtime_env)
        else:
            if num_cpus is not None:
                raise ResourceError(f"num_cpus={num_cpus} cannot be set for the cluster {address}: it has its own CPUs")
            cleanup.callback(ray.shutdown)
            _connect(address, runtime_env)
        if threading.current_thread() is threading.main_thread():
            # Ray has set a handler of its own; ours unwinds the stack as well, and tells the conventional code.
            signal.signal(signal.SIGTERM, _exit_on_sigterm)
            cleanup.callback(signal.signal, signal.SIGTERM, previous_handler)
        cleanup.enter_context(_words_of_ours_only())
        resources = ray.cluster_resources()
        yield SessionInfo(
            address="local" if address is None else address,
            cpus=float(resources.get("CPU", 0.0)),
            gpus=float(resources.get("GPU", 0.0)),
            nodes=sum(1 for node in ray.nodes() if node["Alive"]),
            start_seconds=time.monotonic() - started,
        )


def _start(folder: Path, num_cpus: int, runtime_env: dict[str, Any] | None) -> None:
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        # Ray would else make one token for all sessions and write it into the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        with _modules_of_ours_only(), _daemons_of_use_only():
            ray.init(
                address="local",  # else RAY_ADDRESS would be followed
                num_cpus=num_cpus,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=runtime_env,
                _temp_dir=str(folder),
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ResourceError(f"Ray does not start on this machine: {_one_line(error)}") from error


@contextlib.contextmanager
def _modules_of_ours_only() -> Iterator[None]:
    """Workers look for modules first where the driver stands: a ``pipeline.py`` of the user's there would be ours.

    Ray asks ``os.path.curdir`` for that folder, and offers no setting. What it is told is where this package lies.
    """
    here = os.path.curdir
    os.path.curdir = str(Path(__file__).parent.parent)
    try:
        yield
    finally:
        os.path.curdir = here


@contextlib.contextmanager
def _daemons_of_use_only() -> Iterator[None]:
    """Without the processes that a session on one machine has no use for, in what Ray starts within the block.

    They are the dashboard's server, for which Ray waits even where no dashboard is wanted, the autoscaler, and the one
    that brings workers' words to the driver. Starting them takes two seconds of a core; Ray offers no setting.
    """
    node = ray._private.node.Node
    kept = {name: getattr(node, name) for name in ("start_api_server", "start_monitor", "start_log_monitor")}

    def start_api_server(self: Any, **how: Any) -> None:
        self._webui_url = ""  # as it is without a dashboard

    def start_nothing(self: Any) -> None:
        pass

    try:
        node.start_api_server = start_api_server
        node.start_monitor = node.start_log_monitor = start_nothing
        yield
    finally:
        for name, method in kept.items():
            setattr(node, name, method)


@contextlib.contextmanager
def _words_of_ours_only() -> Iterator[None]:
    """Of a node that died Ray prints the last lines of its log, on the standard output and whatever ``log_to_driver``
    says; what they mean for the tasks is told by :mod:`cluster.dag`. Ray offers no setting.
    """
    worker = ray._private.worker
    printing = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *told, **how: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


def _connect(address: str, runtime_env: dict[str, Any] | None) -> None:
    target = _recorded_address() if address == "auto" else address
    try:
        if target is not None:
            _probe(target)
        ray.init(
            address="auto" if target is None else target,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=runtime_env,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = address if target in (address, None) else f"{address} ({target})"
        raise ResourceError(
            f"no Ray cluster answers at {where}: {_one_line(error)}; start one with 'ray start --head', "
            "or leave the address out to run on this machine"
        ) from error


def _recorded_address() -> str | None:
    """What ``auto`` means where it is written down: a cluster's job, or the last ``ray start`` of this machine.

    It is looked up here to be probed, as the cluster may be gone: Ray then waits for minutes. Without a record
    Ray itself looks for the processes of a running cluster, or says at once that there is none.
    """
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    record = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    return record.read_text().strip() or None if record.exists() else None


def _probe(address: str) -> None:
    """Raise ``OSError`` unless a gRPC server answers at ``address`` within ``PROBE_TIMEOUT_S``, ``ResourceError`` where
    it wants another token than Ray will show it.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"'{address}' is no host:port")
    socket.create_connection((parts.hostname, parts.port), timeout=PROBE_TIMEOUT_S).close()
    if os.environ.get("RAY_USE_TLS", "0") == "1":
        return
    import grpc  # 0.3 s that only a connection needs

    channel = grpc.insecure_channel(f"{parts.hostname}:{parts.port}")
    source, token = _token()
    try:
        grpc.channel_ready_future(channel).result(timeout=PROBE_TIMEOUT_S)
        # Asked before Ray asks, which is told of a refusal as of a cluster that does not answer.
        question = channel.unary_unary(_QUESTIONS["client" if parts.scheme == "ray" else "head"])
        question(b"", timeout=PROBE_TIMEOUT_S, metadata=[("authorization", f"Bearer {token}")] if token else [])
    except grpc.FutureTimeoutError as error:
        raise ConnectionError(f"the server there is not Ray's (port {parts.port})") from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            said = f"refuses the token of {source}" if token else "wants a token"
            raise ResourceError(
                f"the Ray cluster at {address} {said}: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what "
                "'ray get-auth-token' prints on its head node"
            ) from None
    finally:
        channel.close()


def _token() -> tuple[str, str]:
    """Where the token comes from that Ray shows to clusters, and the token; empty where it shows none.

    As in Ray's own documentation of token authentication.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "", ""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN", os.environ["RAY_AUTH_TOKEN"].strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return (str(path), path.read_text().strip()) if path.is_file() else ("", "")


@contextmanager
def _session_folder() -> Iterator[Path]:
    """A new folder for one session, and a reaper that removes it and all processes of the session at the end.

    Folders without a living driver, whose reapers were killed as well, are removed first.
    """
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) + len(_FOLDER_PREFIX) + 8 > _LONGEST_FOLDER:
        temporary = Path("/tmp")
    for stale in temporary.glob(f"{_FOLDER_PREFIX}*/lock"):
        with contextlib.suppress(OSError), stale.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=temporary))
    with contextlib.ExitStack() as cleanup:
        # A lock, not a process id: ids mean nothing to another container that shares /tmp. It gets its name once
        # it is held, as another driver could take it in between.
        lock = cleanup.enter_context((folder / "new").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / "lock")
        # Left as a context, it closes the reaper's input and waits for it.
        cleanup.enter_context(
            subprocess.Popen(
                [sys.executable, "-I", "-S", reaper_program.__file__, str(folder), str(os.getpid())],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        )
        os.environ[reaper_program.MARK] = str(folder)
        cleanup.callback(os.environ.pop, reaper_program.MARK, None)
        yield folder


def _exit_on_sigterm(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
