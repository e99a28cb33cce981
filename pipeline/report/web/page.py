"""One self-contained HTML file that shows avatars: it asks nobody for anything and opens from ``file://``.

:func:`web_page` is a pure function. The field is drawn by ``field.glsl``, its bytes are those of
:mod:`pipeline.report.web.field`; ``viewer.js`` says when what is drawn.
"""

import base64
import importlib.resources
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from pipeline.report.web.field import LiveField, packed

SCRIPTS: Final = ("data.js", "renderer.js", "camera.js", "viewer.js")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class StartCamera:
    """Where the reader looks from at first: at the cube's middle."""

    distance: float
    """World units."""
    fov_deg: float
    """Across the shorter side of the picture."""
    azimuth_deg: float = 0.0
    """To the avatar's left."""
    elevation_deg: float = 0.0


@dataclass(frozen=True)
class LiveAvatar:
    """An avatar on a page."""

    name: str
    caption: str
    made: tuple[tuple[str, str], ...]
    """How it was made: what, and its value."""
    poster: bytes
    """A square JPEG as the first camera sees it over white; shown until the first picture is drawn."""
    camera: StartCamera
    field: LiveField


def web_page(avatars: Sequence[LiveAvatar], title: str) -> str:
    """The page of one avatar, or of several beside one another. Raises ``ValueError`` without any."""
    if not avatars:
        raise ValueError("a page needs at least one avatar")
    first = avatars[0]
    entries, blobs = zip(*(_entry(avatar) for avatar in avatars), strict=True)
    bytes_elements = "\n".join(
        f'<script type="text/plain" id="bytes-{number}">{base64.b64encode(blob).decode()}</script>'
        for number, blob in enumerate(blobs)
    )
    values = {
        "title": escape(title),
        "style": _asset("style.css"),
        "poster": entries[0]["poster"],
        "alt": escape(f"{first.name}: {first.caption}"),
        "name": escape(first.name),
        "caption": escape(first.caption),
        "bytes": bytes_elements,
        # What stands inside a script element may hold no "</script".
        "avatars": json.dumps(entries, ensure_ascii=False).replace("<", "\\u003c"),
        "field": _asset("field.glsl"),
        "blit": _asset("blit.glsl"),
        "script": "\n".join(_asset(name) for name in SCRIPTS),
    }
    return _PLACE.sub(lambda place: values[place.group(1)], _asset("page.html"))


def _entry(avatar: LiveAvatar) -> tuple[dict[str, Any], bytes]:
    head, blob = packed(avatar.field)
    camera = avatar.camera
    return {
        "name": avatar.name,
        "caption": avatar.caption,
        "made": [list(row) for row in avatar.made],
        "poster": f"data:image/jpeg;base64,{base64.b64encode(avatar.poster).decode()}",
        "camera": {
            "distance": camera.distance,
            "fovDeg": camera.fov_deg,
            "azimuthDeg": camera.azimuth_deg,
            "elevationDeg": camera.elevation_deg,
        },
        "head": head,
    }, blob


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
