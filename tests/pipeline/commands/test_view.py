"""The viewer over its real protocol: a browser is played by a websocket that sends a camera and waits for pictures."""

import io
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image
from support.shown_run import SAMPLE, make_shown_run

viser = pytest.importorskip("viser")

import msgspec.msgpack  # noqa: E402
import zstandard  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from pipeline.commands.gallery import Gallery  # noqa: E402
from pipeline.commands.view import Viewer, bands, browser_camera, refined_side, scaled  # noqa: E402
from pipeline.contracts.camera import Camera, orbit_position  # noqa: E402
from pipeline.contracts.errors import DataError, ResourceError  # noqa: E402

pytestmark = pytest.mark.seconds

HOST = "127.0.0.1"
WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return Gallery.open(make_shown_run(tmp_path_factory.mktemp("viewed")))


@pytest.fixture
def viewer(gallery):
    viewer = Viewer(gallery, "a000000", host=HOST, port=0)
    yield viewer
    viewer.close()


def front_camera():
    return Camera.look_at(orbit_position(20.0, 10.0, 5.0), np.zeros(3), fov_deg=60.0, width=WIDTH, height=HEIGHT)


class PlayedBrowser:
    def __init__(self, url):
        self.socket = connect(url.replace("http", "ws"), subprotocols=[f"viser-v{viser.__version__}"], max_size=None)

    def look(self, camera):
        message = viser._messages.ViewerCameraMessage(
            wxyz=tuple(viser.transforms.SO3.from_matrix(camera.matrix()[:3, :3]).wxyz),
            position=tuple(camera.matrix()[:3, 3]),
            fov=2 * math.atan(camera.height / 2 / camera.fy),
            near=0.01,
            far=100.0,
            image_height=camera.height,
            image_width=camera.width,
            look_at=(0.0, 0.0, 0.0),
            up_direction=(0.0, 1.0, 0.0),
        )
        self.socket.send(msgspec.msgpack.encode(message.as_serializable_dict()))

    def messages(self, kind, timeout=20.0):
        """Messages of a kind, with their bytes in place, until none comes for ``timeout`` seconds."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            try:
                data = self.socket.recv(timeout=left)
            except TimeoutError:
                return
            size = int.from_bytes(data[8:16], "little")
            window = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data[16 : 16 + size]))
            buffers, at = [], 16 + size
            for length in window["binaryBufferLengths"]:
                at += -at % 8
                buffers.append(data[at : at + length])
                at += length
            for message in window["messages"]:
                if message["type"] == kind:
                    yield message, buffers

    def picture(self, width):
        """The first picture of that width, and whether it has depth."""
        for message, buffers in self.messages("BackgroundImageMessage"):
            data = message["rgb_data"]
            if data is None:
                continue  # how the scene begins
            image = Image.open(io.BytesIO(data if isinstance(data, bytes) else buffers[data["__binary_index"]]))
            if image.width == width:
                return np.asarray(image), message["depth_data"] is not None
        raise AssertionError(f"no picture {width} pixels wide came")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def test_it_answers_and_closes(gallery):
    viewer = Viewer(gallery, SAMPLE, host=HOST, port=0)
    with urllib.request.urlopen(viewer.url, timeout=10) as answer:
        assert answer.status == 200
        assert b"<html" in answer.read().lower()
    viewer.close()
    viewer.wait()
    with pytest.raises(OSError):
        urllib.request.urlopen(viewer.url, timeout=2)


def test_a_browser_gets_what_its_camera_sees(viewer, gallery):
    camera = front_camera()
    with PlayedBrowser(viewer.url) as browser:
        browser.look(camera)
        shown, has_depth = browser.picture(WIDTH)
    assert shown.shape == (HEIGHT, WIDTH, 3) and not has_depth
    expected, _ = gallery.picture(gallery.exhibit("a000000"), camera)
    # JPEG costs some levels on a cube of random texels; a turned or mirrored picture costs far more.
    errors = [np.abs(shown.astype(float) - other).mean() for other in (expected, expected[::-1], expected[:, ::-1])]
    assert errors[0] < 8 and errors[0] < 0.5 * min(errors[1:]), errors


def test_training_cameras_come_as_frustums_with_depth(viewer, gallery):
    camera = front_camera()
    with PlayedBrowser(viewer.url) as browser:
        browser.look(camera)
        browser.picture(WIDTH)
        viewer._cameras.value = True
        found = []
        for message, _ in browser.messages("CameraFrustumMessage"):
            found.append(message["name"])
            if len(found) == gallery.run.config.render.train_views:
                break
        assert found == [f"/training/{index:03d}" for index in range(gallery.run.config.render.train_views)]
        assert browser.picture(WIDTH)[1]


def test_choosing_a_sample_renders_it_and_takes_the_frustums_away(viewer, gallery):
    with PlayedBrowser(viewer.url) as browser:
        browser.look(front_camera())
        browser.picture(WIDTH)
        viewer._cameras.value = True
        assert next(browser.messages("CameraFrustumMessage"))
        viewer._names.value = SAMPLE
        removed = (message["name"] for message, _ in browser.messages("RemoveSceneNodeMessage"))
        assert next(removed) == "/training/000"
        browser.picture(WIDTH)
    assert viewer._exhibit.name == SAMPLE


def test_a_bad_name_and_a_taken_port(gallery):
    with pytest.raises(DataError, match="noise/avatar-000"):
        Viewer(gallery, "noise/avatar-009", host=HOST, port=0)
    with socket.create_server((HOST, 0)) as taken, pytest.raises(ResourceError, match="--port"):
        Viewer(gallery, SAMPLE, host=HOST, port=taken.getsockname()[1])
    with pytest.raises(ResourceError, match="--host"):
        Viewer(gallery, SAMPLE, host="256.0.0.1", port=0)


def test_a_browsers_camera_is_one_of_ours():
    camera = front_camera()
    wxyz = viser.transforms.SO3.from_matrix(camera.matrix()[:3, :3]).wxyz
    found = browser_camera(1.0001 * wxyz, camera.matrix()[:3, 3], 2 * math.atan(HEIGHT / 2 / camera.fy), WIDTH, HEIGHT)
    assert np.allclose(found.matrix(), camera.matrix())
    assert np.allclose(found.project(np.ones(3)), camera.project(np.ones(3)))


def test_bands_are_the_picture(gallery):
    exhibit, camera = gallery.exhibit("a000000"), front_camera()
    whole, depth = gallery.picture(exhibit, camera)
    parts = [gallery.picture(exhibit, band) for band in bands(camera, 10)]
    assert [len(rgb) for rgb, _ in parts] == [10, 10, 10, 10, 10, 10, 4]
    assert np.abs(np.concatenate([rgb for rgb, _ in parts]).astype(int) - whole).max() <= 1
    assert np.allclose(np.concatenate([part for _, part in parts]), depth, atol=1e-4)


def test_a_late_picture_is_given_up_unless_it_is_the_coarse_one(viewer, gallery):
    with PlayedBrowser(viewer.url) as played:
        played.look(front_camera())
        played.picture(WIDTH)
        (browser,) = viewer._browsers.values()
        arguments = (gallery.exhibit("a000000"), front_camera(), 500, browser)
        assert viewer._picture(*arguments, browser.moves - 1) is None
        for moves in (browser.moves, None):
            rgb, depth = viewer._picture(*arguments, moves)
            assert rgb.shape == (HEIGHT, WIDTH, 3) and depth.shape == (HEIGHT, WIDTH)


def test_refinement_ends_at_the_windows_size():
    assert [refined_side(100.0, level, 300) for level in range(3)] == [(100, False), (200, False), (300, True)]
    assert refined_side(1.0, 0, 2000) == (48, False)
    assert refined_side(1e6, 0, 2000) == (512, True)
    assert (scaled(front_camera(), 48).width, scaled(front_camera(), 48).height) == (48, 32)


def test_ctrl_c_ends_it_cleanly(gallery):
    command = [sys.executable, "-m", "pipeline.cli", "view", "--out", str(gallery.run.layout.root), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        assert line.startswith(f"http://{HOST}:"), line
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and "closed" in out, (out, error)
    assert "Traceback" not in error
