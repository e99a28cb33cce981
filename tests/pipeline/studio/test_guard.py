"""What browsers send: pictures are refused as the command line refuses them, strangers' requests at the gate."""

import asyncio

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from pipeline.config.load import load_config
from pipeline.contracts.errors import DataError
from pipeline.stages.generate import Request, _checked
from pipeline.studio import guard
from pipeline.studio.guard import LOOPBACK, POLICY, Gate, checked_portrait


@pytest.fixture(scope="module")
def sampling():
    return load_config(preset="demo").sampling()


def animated(path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def grey(path):
    Image.new("RGB", (64, 64), "grey").save(path)


def noise(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.png", b"hello", "cannot be read as an image"),
        ("page.jpg", b"<html><script>", "it is a web page"),
        ("empty.png", b"", "it is empty"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0", "cannot be read as an image"),
        ("moving.gif", animated, "it is GIF"),
        ("grey.png", grey, "shows nothing"),
        ("noise.png", noise, "no face"),
    ],
)
def test_a_bad_portrait_gets_the_command_lines_own_sentence_and_is_gone(tmp_path, sampling, name, content, said):
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    with pytest.raises(DataError) as by_command:
        _checked(Request(num=1, portrait=path), sampling, tmp_path)
    with pytest.raises(DataError, match=said) as by_page:
        checked_portrait(path, sampling)
    sentence = str(by_page.value)
    assert sentence == str(by_command.value).replace(str(path), name) and str(tmp_path) not in sentence
    assert "\n" not in sentence and not path.exists()


def test_a_file_that_is_too_large_is_not_even_read(tmp_path, sampling, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(b"x" * 1000)
    monkeypatch.setattr(guard, "MOST_BYTES", 999)
    monkeypatch.setattr(guard, "read_portrait", lambda *_: pytest.fail("it was read"))
    with pytest.raises(DataError, match=r"portrait large.png has 1000 B, and 999 B are the most"):
        checked_portrait(path, sampling)


def test_a_good_portrait_stays(tmp_path, sampling):
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    assert checked_portrait(path, sampling).is_changed and path.exists()


def asked(gate, path="/", method="GET", kind="http", **headers):
    """Status and headers of what a gate answers."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    given = {"host": "127.0.0.1:7860"} | headers
    scope = {
        "type": kind, "method": method, "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    asyncio.run(gate(scope, receive, send))
    return sent[0].get("status", sent[0]["type"]), dict(sent[0].get("headers", ()))


async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_the_pages_own_requests_pass_and_stay_here():
    gate = Gate(page, LOOPBACK)
    for path in ("/", "/config", "/assets/index.js", "/made/0001-a/avatar.html", "/gradio_api/file=/a/b.png"):
        status, headers = asked(gate, path)
        assert status == 200 and headers[b"content-security-policy"] == POLICY.encode()
    assert asked(gate, "/gradio_api/queue/join", "POST", origin="http://127.0.0.1:7860")[0] == 200
    assert asked(gate, "/", host="localhost:7860")[0] == asked(gate, "/", host="[::1]:7860")[0] == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/docs", "GET"), ("/redoc", "GET"), ("/openapi.json", "GET"), ("/gradio_api/openapi.json", "GET"),
        ("/gradio_api/info", "GET"), ("/monitoring", "GET"), ("/monitoring/summary", "GET"),
        ("/gradio_api/proxy=http://a", "GET"), ("/gradio_api/vibe-edit", "POST"), ("/gradio_api/run/predict", "POST"),
        ("/gradio_api/call/make", "POST"), ("/gradio_api/profiling/traces", "GET"), ("/gradio_api/dev/reload", "GET"),
        ("/gradio_api/queue/join", "GET"), ("/", "POST"), ("/", "DELETE"), ("/assets/../config.py", "GET"),
        ("/assets", "GET"), ("/gradio_api/component_server", "POST"), ("/login", "POST"),
    ],
)  # fmt: skip
def test_there_is_nothing_else(path, method):
    assert asked(Gate(page, LOOPBACK), path, method)[0] == 404


def test_strangers_are_refused():
    gate = Gate(page, LOOPBACK)
    assert asked(gate, "/", host="studio.example")[0] == 403, "a name that was made to lead here"
    assert asked(gate, "/gradio_api/queue/join", "POST", origin="http://example.com")[0] == 403
    assert asked(gate, "/gradio_api/queue/join", "POST", origin="null")[0] == 403
    assert asked(gate, "/", kind="websocket")[0] == "websocket.close"
    everywhere = Gate(page, None)
    assert asked(everywhere, "/", host="studio.example")[0] == 200
    assert asked(everywhere, "/gradio_api/queue/join", "POST", host="a", origin="http://b")[0] == 403
