"""``rodin-pipe view``: a run's avatars in a browser, seen from wherever the browser's camera is.

The tri-planes are rendered here, on this machine's processor or GPU, and sent as the picture behind the scene; with
its depth when there are frustums, which then stand rightly before and behind the avatar. One thread renders for all
browsers: at once as many pixels as fit into :data:`MOVING_S`, then, while the camera rests, twice as many along each
side again and again up to :data:`SHARP_SIDE`. A picture is rendered in bands of rows and given up as soon as the camera
moves, but for the coarse one. The scene's unit is the world's.
"""

import contextlib
import io
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import viser
import viser.transforms

from pipeline.commands.gallery import Exhibit, Gallery
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.errors import RodinError
from pipeline.contracts.naming import next_command
from pipeline.images import resized
from pipeline.machine import require_address
from pipeline.run.run import Run

MOVING_S: Final = 0.15
"""Seconds that a picture may take while the camera moves."""
FIRST_PIXELS_PER_S: Final = 40_000.0
"""Guess of the speed before anything is rendered; after that it is measured."""
COARSE_SIDE: Final = 48
"""Least pixels along a picture's longer side."""
SHARP_SIDE: Final = 512
"""Most pixels along a picture's longer side."""
THUMBNAIL_SIDE: Final = 64
"""Pixels of the photograph shown in a frustum."""
FAR: Final = 100.0
"""Depth in world units that stands for infinitely far; the browser's format ends at 167."""


@dataclass
class _Browser:
    """What one browser looks at, and how fine the picture it is waiting for is."""

    client: Any
    camera: Camera
    moves: int = 0
    """Grows with every move, so that a picture that comes late is known to be late."""
    level: int | None = 0
    """Refinement to render next, 0 the coarsest; ``None`` when it has the sharpest."""


class Viewer:
    """A server on ``host`` and ``port`` (0 takes a free one) that shows a gallery until it is closed."""

    def __init__(self, gallery: Gallery, name: str, *, host: str, port: int) -> None:
        """Start, with ``name`` on show. Raises ``DataError`` for a bad name, ``ResourceError`` for a bad address."""
        self._gallery = gallery
        self._exhibit: Exhibit = gallery.exhibit(name)
        self._changed = threading.Condition()
        self._browsers: dict[int, _Browser] = {}
        self._closing = False
        self._pixels_per_s = FIRST_PIXELS_PER_S
        # viser would silently take the next port; whoever asks for one should get that one.
        require_address(host, port)
        self._host = host
        with _silence():
            self._server = viser.ViserServer(host=host, port=port, label="rodin-pipe", verbose=False)
        self._set_scene()
        self._names = self._server.gui.add_dropdown("avatar", gallery.names(), initial_value=name)
        self._names.on_update(lambda event: self._tell(event.client, self._choose))
        self._cameras = self._server.gui.add_checkbox("training cameras", False, hint="fitted avatars only")
        self._cameras.on_update(lambda event: self._tell(event.client, self._set_frustums))
        self._frustums: list[Any] = []
        self._server.on_client_connect(self._welcome)
        self._server.on_client_disconnect(self._forget)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._rendering = self._pool.submit(self._render_for_browsers)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = socket.gethostname() if self._host in ("0.0.0.0", "::", "") else self._host
        return f"http://{host}:{self._server.get_port()}"

    def wait(self) -> None:
        """Return once :meth:`close` is called elsewhere; raises what ended the rendering otherwise."""
        self._rendering.result()

    def close(self) -> None:
        """End the rendering after the picture in work, and the server."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._pool.shutdown()
        with _silence():
            self._server.stop()

    def _set_scene(self) -> None:
        render = self._gallery.run.config.render
        # Its share button would make the viewer public through a server that is not ours.
        self._server.gui.configure_theme(show_logo=False, show_share_button=False)
        self._server.scene.set_up_direction("+y")
        self._server.initial_camera.position = orbit_position(0.0, 0.0, render.distance)
        self._server.initial_camera.look_at = np.zeros(3)
        self._server.initial_camera.fov = math.radians(render.fov_deg)

    def _welcome(self, client: Any) -> None:
        client.camera.on_update(lambda _: self._move(client))
        self._move(client)

    def _forget(self, client: Any) -> None:
        with self._changed:
            self._browsers.pop(client.client_id, None)

    def _move(self, client: Any) -> None:
        state = client.camera
        if not state.image_width or not state.image_height:
            return  # a window that is not shown has no size
        camera = browser_camera(state.wxyz, state.position, state.fov, state.image_width, state.image_height)
        with self._changed:
            browser = self._browsers.setdefault(client.client_id, _Browser(client, camera))
            browser.camera = camera
            self._refresh(browser)

    def _refresh(self, browser: _Browser) -> None:
        """Begin anew with a coarse picture; under the lock."""
        browser.moves += 1
        browser.level = 0
        self._changed.notify_all()

    def _choose(self) -> None:
        exhibit = self._gallery.exhibit(self._names.value)
        with self._changed:
            if exhibit.name != self._names.value:
                return  # another one was chosen meanwhile
            self._exhibit = exhibit
            for browser in self._browsers.values():
                self._refresh(browser)
        self._set_frustums()

    def _set_frustums(self) -> None:
        """One frustum a training camera of what is shown, with its photograph, if they are wanted."""
        exhibit, wanted = self._exhibit, bool(self._cameras.value)
        views = self._gallery.training_views(exhibit.name) if wanted else ()
        with self._changed:
            if exhibit is not self._exhibit or wanted != bool(self._cameras.value):
                return  # another call is on its way
            for frustum in self._frustums:
                frustum.remove()
            self._frustums = [
                self._server.scene.add_camera_frustum(
                    f"/training/{index:03d}",
                    fov=2 * math.atan(camera.height / 2 / camera.fy),
                    aspect=camera.width / camera.height,
                    scale=0.25,
                    thickness=0.01,
                    image=resized(photograph, THUMBNAIL_SIDE, THUMBNAIL_SIDE * camera.height // camera.width),
                    wxyz=viser.transforms.SO3.from_matrix(camera.matrix()[:3, :3]).wxyz,
                    position=camera.matrix()[:3, 3],
                )
                for index, (camera, photograph) in enumerate(views)
            ]
            for browser in self._browsers.values():
                self._refresh(browser)

    def _tell(self, client: Any, action: Any) -> None:
        """Do what a browser asked for; what cannot be done is said there and leaves what is shown."""
        try:
            action()
        except RodinError as error:
            if client is None:
                raise
            client.add_notification("not shown", str(error), color="red")

    def _render_for_browsers(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting())
                if self._closing:
                    return
                browser = self._waiting()[0]
                moves, level, exhibit = browser.moves, browser.level or 0, self._exhibit
                camera, depth_wanted = browser.camera, bool(self._frustums)
                moving_pixels = self._pixels_per_s * MOVING_S
            side, is_sharpest = refined_side(math.sqrt(moving_pixels), level, max(camera.width, camera.height))
            # A coarse picture is finished even when it is late: whoever keeps moving shall see something.
            picture = self._picture(
                exhibit, scaled(camera, side), int(moving_pixels), browser, moves if level else None
            )
            if picture is None:
                continue
            rgb, depth = picture
            browser.client.scene.set_background_image(
                rgb, format="jpeg", jpeg_quality=90, depth=np.minimum(depth, FAR) if depth_wanted else None
            )
            with self._changed:
                if browser.moves == moves:
                    browser.level = None if is_sharpest else level + 1

    def _waiting(self) -> list[_Browser]:
        """Browsers that wait for a picture, coarse pictures first; under the lock."""
        waiting = [(browser.level, browser) for browser in self._browsers.values() if browser.level is not None]
        return [browser for _, browser in sorted(waiting, key=lambda pair: pair[0])]

    def _picture(
        self, exhibit: Exhibit, camera: Camera, pixels_a_band: int, browser: _Browser, moves: int | None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None:
        """Colour and depth band by band; ``None`` once nobody wants them any more.

        With ``moves``, that is also when the browser has moved on from there.
        """
        done = []
        for band in bands(camera, max(1, pixels_a_band // camera.width)):
            start = time.monotonic()
            done.append(self._gallery.picture(exhibit, band))
            seconds = time.monotonic() - start
            with self._changed:
                self._pixels_per_s = (self._pixels_per_s + band.width * band.height / seconds) / 2
                is_late = moves is not None and browser.moves != moves
                if is_late or self._closing or browser.client.client_id not in self._browsers:
                    return None
        return np.concatenate([rgb for rgb, _ in done]), np.concatenate([depth for _, depth in done])


def browser_camera(
    wxyz: npt.NDArray[np.float64], position: npt.NDArray[np.float64], fov: float, width: int, height: int
) -> Camera:
    """A browser's camera (OpenCV axes to world as a quaternion; ``fov`` vertical, in radians) as one of ours."""
    matrix = np.eye(4)
    matrix[:3, :3] = viser.transforms.SO3(np.asarray(wxyz) / np.linalg.norm(wxyz)).as_matrix()
    matrix[:3, 3] = position
    focal = height / 2 / math.tan(fov / 2)
    rows: Any = tuple(tuple(float(value) for value in row) for row in matrix)
    return Camera(cam2world=rows, fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height)


def bands(camera: Camera, rows: int) -> Iterator[Camera]:
    """The same view cut into cameras of at most ``rows`` rows, from above."""
    for top in range(0, camera.height, rows):
        height = min(rows, camera.height - top)
        yield camera.model_copy(update={"cy": camera.cy - top, "height": height})


def scaled(camera: Camera, side: int) -> Camera:
    """The same view with ``side`` pixels along its longer side."""
    factor = side / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))


def refined_side(moving_side: float, level: int, window_side: int) -> tuple[int, bool]:
    """Pixels along the longer side of a picture of refinement ``level``, and whether there is no sharper one.

    Never more than the window has.
    """
    sharpest = min(SHARP_SIDE, window_side)
    side = min(sharpest, int(max(COARSE_SIDE, moving_side)) << level)
    return side, side == sharpest


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """viser prints a banner and a farewell whatever ``verbose`` is; the command line prints the address."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def view_run(run: Run, name: str | None, *, host: str, port: int, echo: Callable[[str], None]) -> None:
    """Serve a run's avatars, first the one of that name, until Ctrl-C."""
    gallery = Gallery.open(run)
    viewer = Viewer(gallery, name or gallery.names()[0], host=host, port=port)
    try:
        echo(f"{viewer.url} shows {run.layout.root}; Ctrl-C ends it")
        viewer.wait()
    except KeyboardInterrupt:
        echo("closed")
        echo(next_command("export", "web", "--out", run.layout.root))
    finally:
        viewer.close()
