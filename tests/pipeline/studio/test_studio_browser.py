"""The studio in a real browser, end to end: somebody makes avatars, takes them tmp_path, and finds them again."""

import io
import json
import re
import signal
import time
from contextlib import ExitStack, contextmanager
from urllib.request import urlopen

import av
import numpy as np
import pytest
import trimesh
from PIL import Image
from skimage.data import astronaut
from support.browser import chromium, complaints, wait_for
from support.commands import rodin_refuses, started

from pipeline.commands.export.models import export_models
from pipeline.studio.jobs import UNWATCHED_S

pytestmark = pytest.mark.browser
STATUS = "document.querySelector('#rp-status').innerText"
TAKE = "document.querySelectorAll('#rp-take a').length"
PICTURES = "document.querySelectorAll('#rp-gallery img').length"
FEW = ("views=4", "image_side=64", "samples=8", "base_steps=2", "upsampler_steps=2", "latent_steps=5")
SHORT = tuple(word for setting in FEW for word in ("--set", f"generate.{setting}"))
"""Of the released models, whose avatars have a surface, so that there are meshes too."""
TEXT = "a woman with long red hair and glasses"


@contextmanager
def studio(models, folder, *more):
    """A studio, at its address; everything that a process may write to lies below ``folder``."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, place in (("HOME", "home"), ("TMPDIR", "temporary"), ("XDG_CACHE_HOME", "home")):
                (folder / place).mkdir(exist_ok=True)
                patch.setenv(name, str(folder / place))
            process = stack.enter_context(
                started("studio", *models, "--to", folder / "studio", "--port", "0", *more, log=log)
            )
        end = time.monotonic() + 120
        while not (found := re.search(r"http://127.0.0.1:\d+", log.read_text() if log.exists() else "")):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield found.group(0)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert log.read_text().rstrip().splitlines()[-1].startswith("next: rodin-pipe "), log.read_text()


@pytest.fixture(scope="module")
def weights(made, tmp_path_factory):
    """Words that name exported models."""
    folder = tmp_path_factory.mktemp("weights") / "models"
    export_models(made.run, folder)
    return "--model", folder


@pytest.fixture(scope="module")
def of_run(made, tmp_path_factory):
    """Words that name a run's own."""
    run = made.copy_to(tmp_path_factory.mktemp("run") / "run")
    run.layout.config.write_text(run.config.to_toml())
    return "--out", run.layout.root


def opened(window, address):
    window.get(address)
    wait_for(window, "document.querySelector('#rp-status .rp-words')")
    return window.execute_script(f"return {STATUS}")


def click(window, name):
    window.execute_script(f"document.querySelector('#rp-{name}').click()")


def upload(window, path):
    window.find_element("css selector", "#rp-file input[type=file]").send_keys(str(path))


def made_after(window, name):
    """Click, and wait until another avatar than before can be taken home; returns its name."""
    first = "return document.querySelector('#rp-take a')?.href ?? null"
    before, end = window.execute_script(first), time.monotonic() + 120
    click(window, name)
    while (now := window.execute_script(first)) in (None, before):
        assert time.monotonic() < end, window.execute_script(f"return {STATUS}")
        time.sleep(0.05)
    return now.split("/")[-2]


def downloads(window):
    links = window.find_elements("css selector", "#rp-take a")
    return {link.text: urlopen(link.get_attribute("href")) for link in links}


def in_work(tmp_path):
    """Folders of avatars in the making."""
    return {path.name for path in (tmp_path / "studio" / "work").iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)}


def settings(tmp_path, name):
    return json.loads((tmp_path / "studio" / "made" / name / "settings.json").read_text())["wish"]


def test_somebody_makes_avatars_and_finds_them_again(tmp_path):
    with studio((), tmp_path, *SHORT) as address, chromium(width=1300, height=1000) as window:
        assert "nobody waits" in opened(window, address)
        window.find_element("css selector", "#rp-text textarea").send_keys(TEXT)
        name = made_after(window, "make")
        window.switch_to.frame(window.find_element("css selector", "#rp-live iframe"))
        wait_for(window, "document.documentElement.dataset.firstPictureMs > 0")
        assert TEXT in window.find_element("id", "caption").text
        window.switch_to.default_content()

        taken = downloads(window)
        assert set(taken) == {"HTML", "GLB", "MP4", "PNG", "planes"}
        assert all("attachment" in answer.headers["content-disposition"] for answer in taken.values())
        data = {label: answer.read() for label, answer in taken.items()}
        (tmp_path / "page.html").write_bytes(data["HTML"])
        assert len(trimesh.load(io.BytesIO(data["GLB"]), file_type="glb").geometry) == 1
        with av.open(io.BytesIO(data["MP4"])) as video:
            assert sum(1 for _ in video.decode(video=0)) == 4
        assert Image.open(io.BytesIO(data["PNG"])).size == (128, 128)
        planes = np.load(io.BytesIO(data["planes"]))
        assert planes.shape == (3, 16, 128, 128) and planes.dtype == np.float16
        assert settings(tmp_path, name)["text"] == TEXT

        again, like, anybody = (made_after(window, button) for button in ("again", "like", "surprise"))
        assert (
            settings(tmp_path, again)["text"] == TEXT
            and settings(tmp_path, again)["seed"] != settings(tmp_path, name)["seed"]
        )
        assert settings(tmp_path, like)["like"] == again and settings(tmp_path, like)["text"] == TEXT
        assert settings(tmp_path, anybody)["text"] == "" and settings(tmp_path, anybody)["like"] == ""

        names = window.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert names and all(one.startswith((address, "data:", "blob:")) for one in names), "nothing is asked elsewhere"
        assert not complaints(window)
        window.get((tmp_path / "page.html").as_uri())
        wait_for(window, "document.documentElement.dataset.firstPictureMs > 0")
    with studio((), tmp_path, *SHORT) as address, chromium(width=1300, height=1000) as window:
        opened(window, address)
        wait_for(window, f"{PICTURES} === 4")
        window.execute_script("document.querySelectorAll('#rp-gallery img')[3].closest('button').click()")
        wait_for(window, TAKE)
        about = window.execute_script("return document.querySelector('#rp-about').innerText")
        assert TEXT in about and name in about
        assert window.find_element("css selector", "#rp-live iframe").get_attribute("src").endswith("avatar.html")
    kept = {"home", "temporary", "studio", "log", "page.html"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert not list((tmp_path / "home").iterdir()) and not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "studio" / "uploads").iterdir()) and not list((tmp_path / "studio" / "work").iterdir())


def test_a_portrait_and_what_is_none(weights, tmp_path):
    bad, good = tmp_path / "notes.png", tmp_path / "astronaut.png"
    bad.write_text("no picture")
    Image.fromarray(astronaut()).save(good)
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG" + bytes(21 * 2**20))
    line = rodin_refuses("generate", *weights, "--portrait", bad)
    with studio(weights, tmp_path) as address, chromium(width=1300, height=1000) as window:
        opened(window, address)
        upload(window, bad)
        wait_for(window, f"{STATUS}.includes('notes.png')")
        said = window.execute_script(f"return {STATUS}").strip()
        assert f"rodin-pipe: {said}" == line.replace(str(bad), bad.name), "what the command line says"
        assert len(window.find_elements("css selector", "#rp-status [role=alert]")) == 1

        wait_for(window, "document.querySelector('#rp-file input[type=file]')")
        upload(window, large)
        toast = "document.querySelector('[data-testid=toast-body]')?.innerText"
        wait_for(window, f"{toast}?.includes('maximum allowed size')")
        assert "large.png" in window.execute_script(f"return {toast}")

        upload(window, good)
        wait_for(window, f"{STATUS}.includes('face')")
        window.find_element("css selector", "#rp-edit textarea").send_keys("with glasses")
        name = made_after(window, "make")
        assert (
            settings(tmp_path, name)["portrait"] == "astronaut.png"
            and settings(tmp_path, name)["edit"] == "with glasses"
        )
        folder = tmp_path / "studio" / "made" / name
        assert (folder / "portrait-astronaut.png").read_bytes() == good.read_bytes()
        again = made_after(window, "again")
        assert settings(tmp_path, again)["portrait"] == "astronaut.png"
        window.find_element("css selector", "#rp-text textarea").send_keys("a man")
        click(window, "make")
        wait_for(window, f"{STATUS}.includes('exclude each other')")


def test_who_closes_the_tab_is_waited_for_by_nobody(of_run, tmp_path):
    with (
        studio(of_run, tmp_path, "--set", "generate.views=100000") as address,
        chromium(width=900, height=900) as window,
    ):
        assert "nobody waits" in opened(window, address)
        window.switch_to.new_window("tab")
        opened(window, address)
        click(window, "surprise")
        wait_for(window, f"{STATUS}.includes('pictures from all sides')", 60)
        tab = window.current_window_handle
        other = next(handle for handle in window.window_handles if handle != tab)
        window.switch_to.window(other)
        click(window, "surprise")
        wait_for(window, f"{STATUS}.includes('1 avatar before yours')")
        (mine,) = in_work(tmp_path)
        window.switch_to.window(tab)
        window.close()
        start = time.monotonic()
        while mine in in_work(tmp_path):
            assert time.monotonic() - start < UNWATCHED_S / 2, "the tab's own end was seen"
            time.sleep(0.1)
        window.switch_to.window(other)
        wait_for(window, f"{STATUS}.includes('pictures from all sides')", 120)
        click(window, "stop")
        wait_for(window, f"{STATUS}.includes('stopped')")
        assert not in_work(tmp_path), "nothing is left of what was stopped"
        assert not (tmp_path / "studio" / "made").exists(), "nothing that was not finished is shown"


def test_a_webcam_gives_a_portrait(weights, tmp_path):
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with studio(weights, tmp_path) as address, chromium(*fake, width=1300, height=1000) as window:
        opened(window, address)
        tab = "[...document.querySelectorAll('button[role=tab]')].find(tab => tab.innerText.includes('webcam'))"
        window.execute_script(f"{tab}.click()")
        access = "document.querySelector('#rp-webcam [title*=access] button')"
        wait_for(window, access)
        window.execute_script(f"{access}.click()")
        wait_for(window, "document.querySelector('#rp-webcam video')?.videoWidth > 0")
        window.execute_script("document.querySelector('#rp-webcam .capture-button').click()")
        wait_for(window, f"{STATUS}.includes('portrait')")
        said = window.execute_script(f"return {STATUS}")
        assert "no face" in said, "a test pattern has none"
