"""The page in a real browser, headless and without a graphics card: the same picture, and hands that turn it."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from support.browser import chromium, complaints, pixels, wait_for
from support.web_fields import blob

from pipeline.contracts.camera import Camera, orbit_position
from pipeline.images import encode_jpeg
from pipeline.report.page import live_frame
from pipeline.report.style import STYLE
from pipeline.report.web.page import LiveAvatar, StartCamera, web_page
from pipeline.stages.picture import picture

pytestmark = pytest.mark.browser
SAMPLES = 16
RESTS = 'document.documentElement.dataset.finest === "true"'
SHOWS = "document.documentElement.dataset.firstPictureMs > 0"


def make_page(folder, *fields):
    poster = encode_jpeg(np.full((64, 64, 3), (0, 0, 255), np.uint8))
    avatars = [
        LiveAvatar(f"a{number:06d}", "a blob", (("seed", "0"),), poster, StartCamera(4.0, 36.0), field)
        for number, field in enumerate(fields)
    ]
    path = folder / "page.html"
    path.write_text(web_page(avatars, "t"))
    return path.as_uri()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Planes of 16 channels under a decoder of the released ones' size, their page, and a window that shows it."""
    _, decoder, field, occupancy = blob(16, 64, hidden=64, colour_hidden=64, samples=SAMPLES)
    with chromium(width=260, height=340) as window:
        window.get(make_page(tmp_path_factory.mktemp("web"), field))
        wait_for(window, SHOWS)
        yield window, field, decoder, occupancy


@pytest.mark.parametrize(
    ("azimuth", "elevation", "width", "height", "samples"),
    [(20, 10, 64, 64, SAMPLES), (-140, -25, 48, 72, 12), (90, 60, 72, 40, 32)],
)
def test_it_draws_what_render_image_draws(made, azimuth, elevation, width, height, samples):
    window, field, decoder, occupancy = made
    camera = Camera.look_at(
        orbit_position(azimuth, elevation, 4.0), np.zeros(3), fov_deg=36.0, width=width, height=height
    )
    seen = pixels(window, camera, samples)
    planes = torch.from_numpy(field.planes.full())
    expected = picture(planes, decoder, camera, occupancy, samples=samples).rgb.numpy()
    error = ((seen[..., :3] + 1 - seen[..., 3:] - expected) ** 2).mean()
    assert expected.std() > 0.1, "there is something to see"
    assert -10 * math.log10(error) >= 40
    assert not complaints(window)


@pytest.mark.parametrize(("octaves", "direction_octaves", "channels"), [(0, 0, 3), (2, 2, 5)])
def test_decoders_of_other_shapes(tmp_path, octaves, direction_octaves, channels):
    shape = {"hidden": 10, "colour_hidden": 7, "octaves": octaves, "direction_octaves": direction_octaves}
    _, decoder, field, occupancy = blob(channels, 16, samples=8, **shape)
    camera = Camera.look_at(orbit_position(35, 20, 4.0), np.zeros(3), fov_deg=36.0, width=40, height=40)
    with chromium(width=200, height=200) as window:
        window.get(make_page(tmp_path, field))
        seen = pixels(window, camera, 8)
    planes = torch.from_numpy(field.planes.full())
    expected = picture(planes, decoder, camera, occupancy, samples=8).rgb.numpy()
    assert expected.std() > 0.05
    assert -10 * math.log10(((seen[..., :3] + 1 - seen[..., 3:] - expected) ** 2).mean()) >= 40


def test_the_page_says_how_long_its_first_picture_took(made, tmp_path):
    window, field, *_ = made
    window.get(make_page(tmp_path, field))
    wait_for(window, SHOWS)
    now = float(window.execute_script("return performance.now()"))
    assert 0 < float(window.execute_script("return document.documentElement.dataset.firstPictureMs")) <= now


def test_hands_and_keys_turn_zoom_move_and_reset(made):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    window, *_ = made

    def orbit():
        return window.execute_script(
            "const o = window.rodinPipe.orbit; return [o.azimuth, o.elevation, o.distance, ...o.target]"
        )

    canvas = window.find_element("id", "canvas")
    start = orbit()
    ActionChains(window).move_to_element(canvas).click_and_hold().move_by_offset(40, 20).release().perform()
    turned = orbit()
    assert turned[0] < start[0] and turned[1] > start[1] and turned[2:] == start[2:], "the front follows the hand"
    canvas.send_keys("+")
    assert orbit()[2] == pytest.approx(0.9 * turned[2])
    canvas.send_keys(Keys.SHIFT, Keys.ARROW_UP)
    assert orbit()[4] < 0, "what is seen moves up: the eye looks lower"
    ActionChains(window).scroll_from_origin(_origin(canvas), 0, 200).perform()
    assert orbit()[2] > turned[2]
    canvas.send_keys("r")
    assert orbit() == start
    assert not complaints(window)


def _origin(element):
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_it_refines_at_rest_and_the_background_is_the_readers(made):
    window, *_ = made
    window.execute_script("window.rodinPipe.orbit.turn(30, 0); window.rodinPipe.moved()")
    wait_for(window, RESTS)
    width, height = window.execute_script("return [window.rodinPipe.shown.width, window.rodinPipe.shown.height]")
    canvas = window.execute_script("const c = window.rodinPipe.canvas; return [c.width, c.height]")
    assert width >= canvas[0] and height >= canvas[1], "as fine as the canvas or finer"
    assert "at rest" in window.find_element("id", "status").text
    for name, colour in (("white", (255, 255, 255)), ("black", (0, 0, 0))):
        window.execute_script(f'document.querySelector("[data-background={name}]").click()')
        shot = np.asarray(Image.open(io.BytesIO(window.get_screenshot_as_png())).convert("RGB")).astype(int)
        assert (np.abs(shot[shot.shape[0] // 2, 2] - colour) <= 1).all()
        middle = shot[
            shot.shape[0] // 2 - 10 : shot.shape[0] // 2 + 10, shot.shape[1] // 2 - 10 : shot.shape[1] // 2 + 10
        ]
        assert middle.std((0, 1)).max() > 2, "the avatar stands before it"


def test_a_gallery_shows_one_after_the_other(tmp_path):
    fields = [blob(4, 16, samples=8, hidden=8, colour_hidden=size)[2] for size in (4, 8)]
    with chromium(width=300, height=300) as window:
        window.get(make_page(tmp_path, *fields))
        wait_for(window, SHOWS)
        window.find_elements("css selector", "#gallery button")[1].click()
        wait_for(window, "window.rodinPipe.ready && document.getElementById('poster').hidden")
        assert window.find_element("id", "name").text == "a000001"
        assert not complaints(window)


def test_without_webgl_the_poster_stays_and_says_so(tmp_path):
    with chromium("--disable-3d-apis", width=300, height=300) as window:
        window.get(make_page(tmp_path, blob(4, 16, hidden=8, colour_hidden=4)[2]))
        wait_for(window, "!document.getElementById('message').hidden")
        assert "no WebGL2; this is a picture" in window.find_element("id", "message").text
        assert window.find_element("id", "poster").is_displayed()


def test_a_report_loads_an_avatar_once_it_is_clicked(tmp_path):
    make_page(tmp_path, blob(4, 16, samples=8, hidden=8, colour_hidden=4)[2])
    report = tmp_path / "report.html"
    frame = live_frame("page.html", "a", "poster.jpg")
    report.write_text(f"<!doctype html><style>{STYLE}</style><body>{frame}</body>")
    with chromium(width=500, height=500) as window:
        window.get(report.as_uri())
        window.switch_to.frame(window.find_element("tag name", "iframe"))
        assert window.execute_script("return window.rodinPipe === undefined")
        window.find_element("tag name", "a").click()
        wait_for(window, "window.rodinPipe !== undefined && " + SHOWS)
