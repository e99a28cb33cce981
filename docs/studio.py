"""The pictures of the studio, at work and when it is done, by the released weights and a headless Chromium.

    PYTHONPATH=.:tests python docs/studio.py

Nobody is chosen: the people are those of the sentences by seed 0, the last of them is seen large. It says for each
how many seconds passed from the click until the avatar could be turned, and until all of it could be taken home.
"""

import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image
from support.browser import chromium, wait_for

AT_WORK, DONE = (Path(__file__).parent / name for name in ("studio_at_work.jpg", "studio.jpg"))
AT_WORK_SHARE: Final = 0.566
"""Of the page from above: below it nothing has changed."""
SHARPENING_S: Final = 60.0
"""That the view may take to become sharp: without a graphics card it is slow."""
WIDTH, HEIGHT, SHOWN_WIDTH = 1280, 1420, 1120
SENTENCES: Final = (
    "a young man with short black hair and a beard",
    "an old woman with grey curly hair",
    "an old man with a white beard and a hat",
    "a woman with long red hair and glasses",
)
TURNS: Final = "document.querySelector('#rp-live iframe')"
TAKEN: Final = "document.querySelector('#rp-take a')"
DRAWN: Final = "document.documentElement.dataset.firstPictureMs > 0"
RESTS: Final = 'document.documentElement.dataset.finest === "true"'


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """A studio, at its address."""
    command = [sys.executable, "-m", "pipeline.cli", "studio", "--to", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found.group(0) for line in process.stdout if (found := re.search(r"http://[\w.:]+", line)))
        finally:
            process.terminate()


def make(window: Any) -> tuple[float, float, Image.Image]:
    """Click; returns the seconds until the avatar was drawn in the page, and until it could be taken home, and the page
    between the two.
    """
    address = window.execute_script(f"return {TURNS}?.src")
    before = window.execute_script(f"return {TAKEN}?.href")
    start = time.monotonic()
    window.execute_script("document.querySelector('#rp-make').click()")
    wait_for(window, f"{TURNS} && {TURNS}.src !== {str(address)!r}", 200)
    window.switch_to.frame(window.find_element("css selector", "#rp-live iframe"))
    wait_for(window, DRAWN, 200)
    drawn = time.monotonic() - start
    window.switch_to.default_content()
    at_work = seen(window)
    wait_for(window, f"{TAKEN} && {TAKEN}.href !== {str(before)!r}", 300)
    return drawn, time.monotonic() - start, at_work


def seen(window: Any) -> Image.Image:
    """The page as it is now, in the size in which it is kept."""
    shot = Image.open(io.BytesIO(window.get_screenshot_as_png())).convert("RGB")
    return shot.resize((SHOWN_WIDTH, shot.height * SHOWN_WIDTH // shot.width), Image.Resampling.LANCZOS)


def pictures(address: str) -> tuple[Image.Image, Image.Image]:
    """The page while the last avatar is made, and after that."""
    with chromium(width=WIDTH, height=HEIGHT) as window:
        window.get(address)
        wait_for(window, "document.querySelector('#rp-status .rp-words')")
        text = window.find_element("css selector", "#rp-text textarea")
        for sentence in SENTENCES:
            text.clear()
            text.send_keys(sentence)
            drawn, taken, at_work = make(window)
            print(f"{sentence}: drawn after {drawn:.1f} s, all there after {taken:.1f} s")  # noqa: T201
        window.switch_to.frame(window.find_element("css selector", "#rp-live iframe"))
        end = time.monotonic() + SHARPENING_S
        while time.monotonic() < end and not window.execute_script(f"return {RESTS}"):
            time.sleep(0.5)
        window.switch_to.default_content()
        return at_work, seen(window)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder) / "studio") as address:
        at_work, done = pictures(address)
    at_work.crop((0, 0, at_work.width, round(AT_WORK_SHARE * at_work.height))).save(AT_WORK, quality=88)
    done.save(DONE, quality=88)
