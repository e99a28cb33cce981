import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import ray

from cluster import submit
from cluster.submit import submit_job
from pipeline.contracts.errors import ResourceError


class Dashboard(ThreadingHTTPServer):
    """As much of Ray's dashboard as a submission talks to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.submitted: list[dict[str, Any]] = []
        self.statuses = ["PENDING", "RUNNING", "SUCCEEDED"]
        self.logs = ["", "one\n", "one\ntwo\n"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self.answer({"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": ""})
        elif self.path.endswith("/logs"):
            logs = self.server.logs
            self.answer({"logs": logs.pop(0) if len(logs) > 1 else logs[0]})
        else:
            statuses = self.server.statuses
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            self.answer({"type": "SUBMISSION", "entrypoint": "", "status": status, "message": "it\nbroke"})

    def do_POST(self) -> None:
        self.server.submitted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer({"job_id": "job-7", "submission_id": "job-7"})

    def answer(self, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    monkeypatch.setattr(submit, "POLL_S", 0.01)
    with Dashboard() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_words_of_a_command_arrive_as_words(dashboard: Dashboard) -> None:
    job = submit_job(
        dashboard.url, ["rodin-pipe", "generate", "--text", "an old woman's smile"], env={"OMP_NUM_THREADS": "1"}
    )
    assert job == "job-7"
    (submitted,) = dashboard.submitted
    assert submitted["entrypoint"] == """rodin-pipe generate --text 'an old woman'"'"'s smile'"""
    assert submitted["runtime_env"]["env_vars"] == {"OMP_NUM_THREADS": "1"}


def test_waiting_tells_the_log_piece_by_piece(dashboard: Dashboard) -> None:
    told: list[str] = []
    submit_job(dashboard.url, ["rodin-pipe", "run"], wait=True, on_log=told.append)
    assert told == ["one\n", "two\n"]


def test_a_failed_job_that_was_waited_for_is_an_error(dashboard: Dashboard) -> None:
    dashboard.statuses = ["RUNNING", "FAILED"]
    with pytest.raises(ResourceError, match=r"^job job-7 ended as FAILED: it broke; "):
        submit_job(dashboard.url, ["rodin-pipe", "run"], wait=True)


def test_an_address_without_a_dashboard_is_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but it does not listen
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ResourceError, match=f"^no Ray dashboard answers at {address}: "):
            submit_job(address, ["rodin-pipe", "run"])


@pytest.mark.parametrize("address", ["", "ray://head:10001", "http://"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(ResourceError):
        submit_job(address, ["rodin-pipe", "run"])
