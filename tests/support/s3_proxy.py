"""A way to a server of S3 that is slow, refuses, or leaves out what was asked, as a rule says."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Request:
    """What a client asks; a rule may change its headers."""

    method: str
    path: str
    headers: dict[str, str]
    number: int
    """Of the request since the proxy was started, from 1 on."""


@dataclass(frozen=True)
class Refusal:
    """An answer of the proxy itself."""

    status: int
    code: str


Rule = Callable[[Request], Refusal | None]


@dataclass
class Proxy:
    """A running proxy."""

    url: str
    rule: Rule | None = None
    delay_s: float = 0.0
    """Before each request is handed on."""
    bytes_per_s: float = 0.0
    """Of contents in either direction, all connections together; 0 for as fast as it goes."""
    seen: list[Request] = field(default_factory=list)
    _busy_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, method: str, path: str, headers: Mapping[str, str]) -> Request:
        with self._lock:
            request = Request(method, path, dict(headers), len(self.seen) + 1)
            self.seen.append(request)
        return request

    def wait_for(self, size: int) -> None:
        """As long as so many bytes take behind those before them."""
        if not self.bytes_per_s:
            return
        with self._lock:
            self._busy_until = max(self._busy_until, time.monotonic()) + size / self.bytes_per_s
            until = self._busy_until
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def s3_proxy(upstream: str, rule: Rule | None = None) -> Iterator[Proxy]:
    """Start a proxy before a server; its rule and its pace may be changed while it runs."""
    target = urlsplit(upstream).netloc
    proxy = Proxy("", rule)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = proxy.note(self.command, self.path, dict(self.headers))
            refusal = proxy.rule(request) if proxy.rule is not None else None
            time.sleep(proxy.delay_s)
            proxy.wait_for(len(body))
            if refusal is not None:
                text = f"<Error><Code>{refusal.code}</Code><Message>as the rule says</Message></Error>".encode()
                self.answer(refusal.status, {"Content-Type": "application/xml"}, text)
                return
            connection = http.client.HTTPConnection(target, timeout=120)
            connection.request(self.command, self.path, body=body, headers=request.headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            proxy.wait_for(len(content))
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_A_HOP}
            self.answer(answer.status, headers, content, length=answer.getheader("Content-Length"))

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

        def answer(self, status: int, headers: Mapping[str, str], content: bytes, length: str | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            is_head = self.command == "HEAD"
            self.send_header("Content-Length", (length or "0") if is_head else str(len(content)))
            self.end_headers()
            if not is_head:
                self.wfile.write(content)

        def log_message(self, *given: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_OF_A_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive"}
