"""Pictures for people: contact sheets, strips and error maps, as arrays, and turntables as encoded bytes.

Nothing is written here: callers publish the bytes. Arrays are uint8, (height, width, 3) unless said otherwise.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.images import Pixels, resized, to_uint8

_INFERNO: Final = (
    (0.00, (0, 0, 4)),
    (0.13, (31, 12, 72)),
    (0.25, (85, 15, 109)),
    (0.38, (136, 34, 106)),
    (0.50, (187, 55, 84)),
    (0.63, (227, 89, 51)),
    (0.75, (249, 140, 10)),
    (0.88, (249, 201, 50)),
    (1.00, (252, 255, 164)),
)
"""Anchors of matplotlib's colour map of that name (CC0), dark to bright."""


@dataclass(frozen=True)
class Video:
    """An encoded turntable."""

    suffix: Literal[".mp4", ".gif"]
    data: bytes


def strip(images: Sequence[Pixels], *, gap: int = 0) -> Pixels:
    """Images of one height side by side, ``gap`` white pixels between them. Raises ``ValueError`` without an image."""
    if not images:
        raise ValueError("a strip needs at least one image")
    height = images[0].shape[0]
    space = np.full((height, gap, 3), 255, np.uint8)
    parts = [part for image in images for part in (space, image)][1:]
    return np.concatenate(parts, axis=1)


def contact_sheet(
    images: Sequence[Pixels], *, columns: int, tile: int, labels: Sequence[str] | None = None, gap: int = 6
) -> Pixels:
    """Images in rows of ``columns``, each fitted into a square of ``tile`` pixels, a line of text below it.

    A label that is wider than its tile is cut and ends in an ellipsis.
    Raises ``ValueError`` without an image, or with another number of labels.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(labels)} labels for {len(images)} images")
    text_height = max(10, tile // 9) if labels is not None else 0
    font = ImageFont.load_default(max(8, round(text_height * 0.8)))
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    pitch_x, pitch_y = tile + gap, tile + text_height + gap
    sheet = Image.new("RGB", (columns * pitch_x + gap, rows * pitch_y + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(images):
        x, y = gap + number % columns * pitch_x, gap + number // columns * pitch_y
        height, width = image.shape[:2]
        scale = tile / max(height, width)
        fitted = resized(image, max(1, round(width * scale)), max(1, round(height * scale)))
        sheet.paste(Image.fromarray(fitted), (x + (tile - fitted.shape[1]) // 2, y + (tile - fitted.shape[0]) // 2))
        if labels is not None:
            draw.text((x + tile / 2, y + tile), _cut(labels[number], font, tile), fill="black", font=font, anchor="ma")
    return np.asarray(sheet)


def error_map(image: Pixels, truth: Pixels, *, full_scale: float = 0.25) -> Pixels:
    """Mean absolute error over the channels, black where equal, brightest from ``full_scale`` (of 1) on.

    Raises ``ValueError`` for pictures of two shapes.
    """
    if image.shape != truth.shape:
        raise ValueError(f"an error map of {image.shape} against {truth.shape}: the shapes must be equal")
    error = np.abs(image.astype(np.float64) - truth).mean(-1) / 255 / full_scale
    positions = [position for position, _ in _INFERNO]
    channels = [np.interp(error, positions, [colour[c] for _, colour in _INFERNO]) for c in range(3)]
    return to_uint8(np.stack(channels, -1) / 255)


def encode_turntable(frames: Sequence[Pixels], *, fps: int) -> Video:
    """H.264 in MP4 where PyAV is installed and its FFmpeg has an encoder for it, else an animated GIF."""
    data = _mp4(frames, fps)
    return Video(".gif", encode_gif(frames, fps=fps)) if data is None else Video(".mp4", data)


def encode_gif(frames: Sequence[Pixels], *, fps: int) -> bytes:
    """An endless GIF with one palette for all frames, so that colours do not flicker."""
    _check_frames(frames)
    palette = Image.fromarray(strip(frames)).quantize(256, Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    # GIF counts in hundredths of a second, and browsers slow down anything below two of them.
    duration_ms = max(2, round(100 / fps)) * 10
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=duration_ms, loop=0)
    return buffer.getvalue()


def _mp4(frames: Sequence[Pixels], fps: int) -> bytes | None:
    """None where this machine has no H.264 encoder."""
    _check_frames(frames)
    try:
        import av
        from av.codec.codec import UnknownCodecError
    except ImportError:
        return None
    try:
        av.Codec("libx264", "w")
    except UnknownCodecError:
        return None
    height, width = frames[0].shape[:2]
    # 4:2:0 colour wants even sides: the last row and column are repeated.
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "medium", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.pad(frame, padding, "edge")), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


def _check_frames(frames: Sequence[Pixels]) -> None:
    if not frames or any(frame.shape != frames[0].shape for frame in frames):
        raise ValueError("a turntable needs at least one frame, all of one shape")


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
