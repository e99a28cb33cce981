"""What a browser sends is looked at before anything is done with it: pictures, and who asks for what.

A portrait is refused in the words in which ``rodin-pipe generate --portrait`` refuses it.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pipeline.capture.portrait import Portrait, frontal_frame, read_portrait
from pipeline.config.sampling import Sampling
from pipeline.contracts.errors import DataError, RodinError
from pipeline.contracts.units import bytes_text

MOST_BYTES: Final = 20 * 2**20
"""Of an upload."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
OPEN: Final = {
    "GET": (
        "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/assets/", "/static/", "/making/", "/made/",
        "/gradio_api/queue/data", "/gradio_api/heartbeat/", "/gradio_api/file=", "/gradio_api/upload_progress",
    ),
    "POST": ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/cancel"),
}  # fmt: skip
"""What the page itself asks for, by how it begins; all else there is no more than a page that does not exist."""
POLICY: Final = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"
"""A browser keeps the page to this address: it loads nothing from elsewhere and sends nothing there."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def checked_portrait(path: Path, sampling: Sampling) -> Portrait:
    """A portrait that was uploaded, as it is read. One that is refused is removed.

    Raises ``DataError`` for one that is too large, no image or without a face, ``ResourceError`` where finding faces
    takes a package that is not installed; each names the file as its owner does.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(
                f"portrait {path} has {bytes_text(size)}, and {bytes_text(MOST_BYTES)} are the most: give a smaller one"
            )
        return read_portrait(path, frontal_frame(sampling.distance, sampling.fov_deg))
    except RodinError as error:
        path.unlink(missing_ok=True)
        raise type(error)(said_of(path, error)) from None


def said_of(path: Path, error: RodinError) -> str:
    """An error in one line, in which a file is called as its owner calls it and not by where it lies here."""
    return " ".join(str(error).split()).replace(str(path), path.name)


class Gate:
    """Before the page: only this address, only this page's own requests, only what the page needs.

    A page of another site that a browser on this machine has open can send requests here; they carry its origin, or
    a host name that it made lead here, and are refused.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], hosts: Iterable[str] | None) -> None:
        """``hosts`` are the names under which requests may come; None for any."""
        self._app = app
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or what a server says of its own life."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self.why_not(scope["type"], scope.get("method", ""), scope["path"], headers)
        if refused is not None:
            await _refuse(scope, receive, send, *refused)
            return

        async def with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message["headers"] if name != b"content-security-policy"]
                given = [value for name, value in message["headers"] if name == b"content-security-policy"]
                policy = given[0] if given else POLICY.encode()
                more = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
                message["headers"] = [*own, (b"content-security-policy", policy), *more]
            await send(message)

        await self._app(scope, receive, with_policy)

    def why_not(self, kind: str, method: str, path: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        """Status and one sentence for what is refused; header names are lower case."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._hosts is not None and name not in self._hosts:
            return 403, f"this studio is not at {name!r}"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "only the studio's own page may ask"
        begins = OPEN.get("GET" if method == "HEAD" else method, ())
        is_open = any(
            path == begin or (len(begin) > 1 and begin[-1] in "/=" and path.startswith(begin)) for begin in begins
        )
        return None if kind == "http" and is_open and ".." not in path else (404, "there is no such page")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    if scope["type"] != "http":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
