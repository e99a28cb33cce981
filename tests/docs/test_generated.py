"""docs/generated.jpg is made by a script, of people whom nobody chose."""

import importlib.util
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("generated_script", ROOT / "docs" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rendered_people_stand_left_of_generated_ones_by_running_number():
    of = script()
    count = of.COLUMNS * of.ROWS
    rendered, generated = (
        [np.full((32, 32, 3), grey, np.uint8) for grey in range(first, first + count)] for first in (0, 100)
    )
    shown = of.picture(rendered, generated)
    height, width = shown.shape[:2]
    greys = [
        [shown[round((row + 0.5) * height / of.ROWS), round(left + (column + 0.5) * of.TILE), 0] for column in range(4)]
        for left in (0, width // 2 + of.GAP // 2)
        for row in range(of.ROWS)
    ]
    assert greys == [[first + 4 * row + column for column in range(4)] for first in (0, 100) for row in range(of.ROWS)]
    assert (shown[:, width // 2] == 255).all(), "a gap parts them"
