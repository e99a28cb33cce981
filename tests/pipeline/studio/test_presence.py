"""Who stops listening is gone, but not who listens again at once, and not who only asks for a picture."""

import asyncio

import pytest

from pipeline.studio import presence
from pipeline.studio.presence import STREAM, Presence


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(presence, "GONE_S", 0.1)


def scope(path=STREAM, session="one"):
    return {"type": "http", "path": path, "query_string": f"a=b&session_hash={session}".encode()}


def gone_after(story):
    """Sessions that were gone when a story, told a function that listens until an event, was at its end."""
    gone = []

    async def told():
        async def page(scope, receive, send):
            await scope["until"].wait()

        around = Presence(page, gone.append)

        def listen(until, **more):
            return asyncio.create_task(around(scope(**more) | {"until": until}, None, None))

        await story(listen, gone)

    asyncio.run(told())
    return gone


def test_who_stops_listening_is_gone():
    async def story(listen, gone):
        first, second = asyncio.Event(), asyncio.Event()
        listen(first), listen(second, session="two")
        await asyncio.sleep(0.2)
        assert not gone, "both listen"
        first.set()
        await asyncio.sleep(0.3)

    assert gone_after(story) == ["one"]


def test_who_listens_again_or_in_two_ways_is_there():
    async def story(listen, gone):
        first, second = asyncio.Event(), asyncio.Event()
        listen(first)
        await asyncio.sleep(0.05)
        first.set()
        await asyncio.sleep(0.05)
        listen(second)
        await asyncio.sleep(0.3)

    assert gone_after(story) == []


def test_a_stream_that_is_torn_counts_and_a_picture_does_not():
    async def story(listen, gone):
        torn, picture = listen(asyncio.Event()), asyncio.Event()
        listen(picture, path="/made/0001-a/avatar.html", session="three")
        await asyncio.sleep(0.05)
        picture.set()
        torn.cancel()
        await asyncio.sleep(0.3)

    assert gone_after(story) == ["one"]
