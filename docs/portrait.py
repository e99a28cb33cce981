"""``docs/portrait.jpg``: a photograph as given, and as ``generate --portrait`` reads it.

    python docs/portrait.py [PHOTOGRAPH]

Without a PHOTOGRAPH it is that of Eileen Collins (NASA, public domain) that scikit-image carries. No model is needed.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pipeline.capture.portrait import frontal_frame, read_portrait
from pipeline.config.load import load_config
from pipeline.images import Pixels
from pipeline.report.pictures import contact_sheet
from pipeline.stages.generate import PORTRAIT_TILE

PICTURE: Final = Path(__file__).parent / "portrait.jpg"


def picture(photograph: Path) -> Pixels:
    """Both, side by side."""
    settings = load_config(preset="released").render
    portrait = read_portrait(photograph, frontal_frame(settings.distance, settings.fov_deg))
    return contact_sheet([portrait.before, portrait.rgb], columns=2, tile=PORTRAIT_TILE, labels=("given", "read"))


def astronaut(folder: Path) -> Path:
    """The photograph that comes with scikit-image, as a file."""
    from skimage.data import astronaut as pixels

    path = folder / "astronaut.png"
    Image.fromarray(np.asarray(pixels())).save(path)
    return path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else astronaut(Path(folder))
        Image.fromarray(picture(given)).save(PICTURE, quality=88)
