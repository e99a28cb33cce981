"""The picture of ``rodin-pipe inspect --attributes``: bars of what was drawn, ticks of what is stated."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pipeline.people.distribution import Distribution

ROW, GAP, LABEL, BAR, COLUMNS = 14, 10, 130, 170, 4
INK: Final = (40, 40, 44)
DRAWN: Final = (92, 140, 190)
STATED: Final = (205, 70, 50)


def attribute_chart(distributions: Sequence[Distribution]) -> npt.NDArray[np.uint8]:
    """uint8 [row, column, 3]; the attributes stand in columns of about equal height."""
    heights = [ROW * (1 + len(d.counts)) + GAP for d in distributions]
    limit = max(sum(heights) / COLUMNS, max(heights))
    places, column, y, tallest = [], 0, 0, 0
    for height in heights:
        if y and y + height / 2 > limit and column < COLUMNS - 1:
            column, y = column + 1, 0
        places.append((column, y))
        y += height
        tallest = max(tallest, y)
    width = LABEL + BAR + 50
    image = Image.new("RGB", (width * (column + 1) + GAP, tallest + GAP), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for distribution, (at, top) in zip(distributions, places, strict=True):
        left, line = GAP + at * width, GAP + top
        pen.text((left, line), f"{distribution.name} ({distribution.total})", fill=INK)
        for row, (name, count) in enumerate(distribution.counts.items(), 1):
            share, stated = count / max(distribution.total, 1), distribution.stated.get(name, 0.0)
            low = line + row * ROW
            pen.text((left + 8, low), name, fill=INK)
            start = left + LABEL
            pen.rectangle((start, low + 2, start + max(round(BAR * share), 1), low + ROW - 3), fill=DRAWN)
            mark = start + round(BAR * stated)
            pen.line((mark, low, mark, low + ROW - 2), fill=STATED, width=2)
    return np.asarray(image)
