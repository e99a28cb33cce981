"""Headless Chromium without a graphics card, driven through its driver."""

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

REQUIRED = "RODIN_PIPE_BROWSER"
"""Set to 1, a browser that is missing is a failure; else the test is skipped."""


@contextmanager
def chromium(*more: str, width: int = 420, height: int = 420) -> Iterator["object"]:
    """A browser window of about so many pixels; ``more`` are further words of its command line."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        said = "no Chromium here: apt-get install chromium chromium-driver"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{said}; {REQUIRED} is 1")
        pytest.skip(said)
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = program
    words = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},{height}", *more)
    for word in ("--enable-unsafe-swiftshader", "--force-device-scale-factor=1", *words):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = Chrome(options=options, service=ChromeService(driver))
    window.set_script_timeout(120)
    try:
        yield window
    finally:
        window.quit()


def wait_for(window, condition: str, timeout_s: float = 60.0):
    """Wait until a JavaScript expression is true; returns the seconds that took."""
    start = time.monotonic()
    while not window.execute_script(f"return {condition}"):
        assert time.monotonic() - start < timeout_s, f"{condition}: {complaints(window)}"
        time.sleep(0.05)
    return time.monotonic() - start


def pixels(window, camera, samples):
    """What the page draws of a camera of ours: float64 (height, width, 4) in 0 to 1, premultiplied."""
    asked = {
        "cam2world": [x for row in camera.cam2world for x in row],
        "pinhole": [camera.fx, camera.fy, camera.cx, camera.cy],
        "width": camera.width,
        "height": camera.height,
    }
    script = """
      const [camera, samples, done] = arguments;
      window.rodinPipe.loaded.then(() => {
        let text = "";
        for (const byte of window.rodinPipe.pixels(camera, samples)) text += String.fromCharCode(byte);
        done(btoa(text));
      });"""
    data = base64.b64decode(window.execute_async_script(script, asked, samples))
    return np.frombuffer(data, np.uint8).reshape(camera.height, camera.width, 4) / 255


def complaints(window):
    """What the browser's console says is wrong."""
    return [json.dumps(entry["message"]) for entry in window.get_log("browser") if entry["level"] == "SEVERE"]
