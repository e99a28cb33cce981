"""Commands as jobs of a running Ray cluster: the driver then runs there, not here."""

import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from pipeline.contracts.errors import ResourceError

PROBE_TIMEOUT_S = 5.0
POLL_S = 2.0
_DASHBOARD_PORT = 8265


def submit_job(
    address: str,
    entrypoint: Sequence[str],
    *,
    working_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
    wait: bool = False,
    on_log: Callable[[str], None] | None = None,
) -> str:
    """Submit a command to the cluster whose dashboard is at ``address``; returns the job's id.

    Args:
        address: ``http://host:8265``, or ``host`` alone.
        entrypoint: The command's words, such as ``("rodin-pipe", "run", "--address", "auto")``.
        working_dir: Folder to send along and run in; without one, the nodes have the package installed.
        env: Environment variables of the job.
        wait: Return only when the job has ended.
        on_log: While waiting, called with each new piece of the job's output.

    Raises:
        ResourceError: the address does not answer or refuses, or the job that was waited for did not succeed.
    """
    url = _probed(address)
    runtime_env: dict[str, object] = {}
    if working_dir is not None:
        runtime_env["working_dir"] = str(working_dir)
    if env:
        runtime_env["env_vars"] = dict(env)
    try:
        client = JobSubmissionClient(url)
        job: str = client.submit_job(entrypoint=shlex.join(entrypoint), runtime_env=runtime_env)
        if wait:
            _wait(client, job, on_log)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise ResourceError(f"the Ray cluster at {url} takes no job: {' '.join(str(error).split())}") from error
    return job


def _wait(client: JobSubmissionClient, job: str, on_log: Callable[[str], None] | None) -> None:
    told = 0
    while True:
        status = client.get_job_status(job)
        if on_log is not None:
            log = client.get_job_logs(job)
            if len(log) > told:
                on_log(log[told:])
                told = len(log)
        if status.is_terminal():
            break
        time.sleep(POLL_S)
    if status != JobStatus.SUCCEEDED:
        # Of a command that failed Ray's reason goes on with the whole log, which was told already.
        reason = (client.get_job_info(job).message or "no reason given").partition(", last available logs")[0]
        message = " ".join(reason.split())
        raise ResourceError(f"job {job} ended as {status}: {message}; 'ray job logs {job}' shows its output")


def _probed(address: str) -> str:
    """``address`` as a URL, after something accepted a connection there."""
    if not address:
        raise ResourceError("no address to submit to: give the cluster's dashboard, such as http://head:8265")
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise ResourceError(f"jobs are submitted to a dashboard such as http://head:8265, not to '{address}'")
    port = parts.port or (443 if parts.scheme == "https" else _DASHBOARD_PORT)
    try:
        socket.create_connection((parts.hostname, port), timeout=PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise ResourceError(
            f"no Ray dashboard answers at {address}: {error}; start one with "
            "'ray start --head --dashboard-host 0.0.0.0', and open its port"
        ) from error
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"
