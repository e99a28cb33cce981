"""Who is there: a browser listens to its events for as long as it waits for one, and leaves with its tab.

A stream that ends is not yet somebody who left, since a page may take up the next one at once; nobody is gone before
none has been open for :data:`GONE_S`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

STREAM: Final = "/gradio_api/queue/data"
"""Where a browser listens, with its ``session_hash``."""
GONE_S: Final = 2.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Presence:
    """Around the page: calls ``on_gone`` with the session of whoever has stopped listening."""

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], on_gone: Callable[[str], object]
    ) -> None:
        self._app, self._on_gone = app, on_gone
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or what a server says of its own life."""
        if scope["type"] != "http" or scope["path"] != STREAM:
            await self._app(scope, receive, send)
            return
        session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        self._open[session] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[session] -= 1
            asyncio.get_running_loop().call_later(GONE_S, self._look, session)

    def _look(self, session: str) -> None:
        if not self._open[session]:
            del self._open[session]
            self._on_gone(session)
