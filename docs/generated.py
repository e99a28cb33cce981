"""The picture that README opens with: people who are rendered on the left, people who are generated on the right.

    python docs/generated.py runs/released [MODELS [PICTURE]]

Nobody is chosen: the left half shows the first avatars of the run by running number, the right half what
``rodin-pipe generate --num 8`` draws from noise by seed 0, with the weights that come with the program or those of
a folder MODELS, which may be another run. ``small.jpg`` is of the run of preset ``small`` and of its own models.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pipeline.commands.generate import generate
from pipeline.driver.display import simple_progress
from pipeline.images import Pixels, over_white
from pipeline.io.files import names
from pipeline.report.pictures import contact_sheet, strip
from pipeline.run.existing import open_run
from pipeline.stages.generate import Request
from pipeline.stages.views import read_samples

PICTURE: Final = Path(__file__).parent / "generated.jpg"
COLUMNS, ROWS, TILE = 4, 2, 200
GAP: Final = 40
"""Pixels between the halves."""
VIEWS: Final = "generate.views=2"
"""Only the front is shown, so turntables are short: what is drawn is the same."""


def picture(rendered: Sequence[Pixels], generated: Sequence[Pixels]) -> Pixels:
    """Both halves, row by row."""
    halves = [contact_sheet(images, columns=COLUMNS, tile=TILE) for images in (rendered, generated)]
    return strip(halves, gap=GAP)


def rendered_people(root: Path, count: int) -> list[Pixels]:
    """Frontal views of a run's first avatars, over white."""
    run = open_run(root)
    return [
        over_white(read_samples(run, avatar, ("frontal",))[0].rgba) for avatar in sorted(run.render_sources())[:count]
    ]


def generated_people(models: Path | None, count: int) -> list[Pixels]:
    """Frontal views of avatars from noise, refined."""
    with tempfile.TemporaryDirectory() as folder, simple_progress("generate", "avatar") as progress:
        made = generate(
            Request(num=count), out=None, model=models, to=Path(folder), settings=(VIEWS,), progress=progress
        )
        return [np.asarray(Image.open(path).convert("RGB")) for path in names(made, "*/frontal_refined.png")]


if __name__ == "__main__":
    given = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    halves = rendered_people(Path(sys.argv[1]), COLUMNS * ROWS), generated_people(given, COLUMNS * ROWS)
    Image.fromarray(picture(*halves)).save(Path(sys.argv[3]) if len(sys.argv) > 3 else PICTURE, quality=88)
