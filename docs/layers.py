"""The picture of the layers, ``docs/layers.svg``, from the linter's own configuration in ``pyproject.toml``.

    python docs/layers.py

Each contract of type ``layers`` is a stack of rows, the first above: what stands in a row imports only from rows below
it, and boxes of one row that are parted by ``|`` there do not import each other. A contract whose container's packages
another one has already placed is not drawn a second time.
"""

import colorsys
import re
import tomllib
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

ROOT: Final = Path(__file__).parents[1]
CHARACTER: Final = 8.0
"""Width of a character of the labels in pixels: they are monospaced."""
BOX: Final = 30
GAP: Final = 8
MARGIN: Final = 20
HUES: Final = {"pipeline": 212, "blender_scripts": 28, "rodin_models": 145, "cluster": 280}
"""Colour of each top-level package."""


def stacks(pyproject: str) -> list[tuple[str, list[list[str]]]]:
    """Name and rows of full module names, top first, of each contract that is drawn."""
    contracts = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    found: list[tuple[str, list[list[str]]]] = []
    placed: set[str] = set()
    for contract in (c for c in contracts if c["type"] == "layers"):
        rows = [row for layer in contract["layers"] if (row := _row(contract, layer))]
        names = {name for row in rows for name in row}
        if not names <= placed:
            found.append((contract["name"], rows))
        placed |= names
    return found


def _row(contract: dict[str, Any], layer: str) -> list[str]:
    tails = [tail.strip().strip("()").strip() for tail in re.split("[|:]", layer)]
    return [
        f"{container}.{tail}" if container else tail
        for container in contract.get("containers", ("",))
        for tail in tails
    ]


def picture(pyproject: str) -> str:
    """The SVG of a ``pyproject.toml``'s text."""
    found = stacks(pyproject)
    width = max(_width(row) for _, rows in found for row in rows) + 2 * MARGIN
    width = max(width, *(len(name) * CHARACTER + 2 * MARGIN for name, _ in found))
    parts, y = [], float(MARGIN)
    for name, rows in found:
        parts.append(_text(MARGIN, y + 14, name, weight="bold"))
        y += 28
        for row in rows:
            parts.append(
                f'<rect x="{MARGIN / 2:g}" y="{y - 5:g}" width="{width - MARGIN:g}" height="{BOX + 10}" '
                'fill="#f6f6f6"/>'
            )
            x = (width - _width(row)) / 2
            for module in row:
                hue, wide = HUES.get(module.split(".")[0], 0), _box(module)
                parts.append(
                    f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{BOX}" rx="5" '
                    f'fill="{_colour(hue, 0.9, 0.6)}" stroke="{_colour(hue, 0.45, 0.4)}"/>'
                )
                parts.append(_text(x + wide / 2, y + BOX / 2 + 5, module, anchor="middle"))
                x += wide + GAP
            y += BOX + 16
        y += MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{y:g}" viewBox="0 0 {width:g} {y:g}" '
            'font-family="monospace" font-size="13">',
            f'<rect width="{width:g}" height="{y:g}" fill="white"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _colour(hue: int, lightness: float, saturation: float) -> str:
    """As hexadecimal digits, which all that draws SVG knows."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue / 360, lightness, saturation))


def _box(module: str) -> float:
    return len(module) * CHARACTER + 16


def _width(row: list[str]) -> float:
    return sum(map(_box, row)) + GAP * (len(row) - 1)


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


if __name__ == "__main__":
    (ROOT / "docs" / "layers.svg").write_text(picture((ROOT / "pyproject.toml").read_text()))
