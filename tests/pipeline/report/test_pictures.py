"""Pictures for people: sheets, strips, error maps, turntables."""

import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.images import Pixels
from pipeline.report.pictures import contact_sheet, encode_gif, encode_turntable, error_map, strip


def _solid(height: int, width: int, *colour: int) -> Pixels:
    return np.full((height, width, len(colour)), colour, np.uint8)


def test_strip_keeps_each_image() -> None:
    red, blue = _solid(4, 3, 255, 0, 0), _solid(4, 5, 0, 0, 255)
    joined = strip([red, blue], gap=2)
    assert joined.shape == (4, 3 + 2 + 5, 3)
    assert (joined[:, :3] == red).all() and (joined[:, 3:5] == 255).all() and (joined[:, 5:] == blue).all()
    with pytest.raises(ValueError, match="at least one"):
        strip([])


def test_contact_sheet_places_tiles_and_labels() -> None:
    tiles = [_solid(20, 20, 40 * i, 0, 0) for i in range(5)]
    plain = contact_sheet(tiles, columns=3, tile=40, gap=4)
    assert plain.shape == (2 * 44 + 4, 3 * 44 + 4, 3)
    for i in range(5):
        centre = plain[4 + i // 3 * 44 + 20, 4 + i % 3 * 44 + 20]
        assert centre.tolist() == [40 * i, 0, 0]
    assert (plain[48:88, 92:132] == 255).all()  # there is no sixth
    labelled = contact_sheet(tiles, columns=3, tile=40, gap=4, labels=["a"] * 4 + ["a very long label that is cut"])
    assert labelled.shape[0] == plain.shape[0] + 2 * 10
    below_last = labelled[4 + 54 + 40 : 4 + 54 + 50]
    assert below_last[:, 48:88].min() < 128
    assert (below_last[:, 4 + 2 * 44 :] == 255).all()  # nothing runs into the next tile
    assert (contact_sheet([_solid(10, 20, 0, 0, 0)], columns=9, tile=40, gap=0)[:10] == 255).all()  # not stretched
    with pytest.raises(ValueError, match="1 labels for 5"):
        contact_sheet(tiles, columns=3, tile=40, labels=["a"])


def test_error_map_grows_brighter_and_saturates() -> None:
    truth = _solid(1, 4, 100, 100, 100)
    image = truth + np.array([0, 10, 64, 150], np.uint8)[None, :, None]
    brightness = error_map(image, truth).sum(-1)[0].tolist()
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]
    assert error_map(truth, truth)[0, 0].tolist() == [0, 0, 4]
    with pytest.raises(ValueError, match="shapes must be equal"):
        error_map(truth, truth[:, :2])


@pytest.fixture()
def frames() -> list[Pixels]:
    """An odd size, and a bar that moves."""
    pictures = [_solid(33, 45, 255, 255, 255) for _ in range(6)]
    for i, picture in enumerate(pictures):
        picture[:, 6 * i : 6 * i + 8] = (200, 30, 30)
    return pictures


def test_turntable_is_h264_with_even_sides(frames: list[Pixels]) -> None:
    video = encode_turntable(frames, fps=12)
    assert video.suffix == ".mp4"
    with av.open(io.BytesIO(video.data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (46, 34, 12)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 6
    for got, expected in zip(decoded, frames, strict=True):
        assert np.abs(got[:33, :45].astype(int) - expected).mean() < 8


def test_turntable_is_a_gif_without_an_encoder(frames: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_codec(name: str, mode: str) -> Any:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", no_codec)
    video = encode_turntable(frames, fps=12)
    assert video.suffix == ".gif"
    assert video.data == encode_gif(frames, fps=12)


def test_gif_keeps_frames_time_and_colour(frames: list[Pixels]) -> None:
    with Image.open(io.BytesIO(encode_gif(frames, fps=20))) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (6, (45, 33), 50, 0)
        gif.seek(3)
        shown = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(shown - frames[3]).max() <= 8


@pytest.mark.parametrize("wrong", [[], [_solid(4, 4, 0, 0, 0), _solid(4, 6, 0, 0, 0)]])
def test_turntable_frames_are_checked(wrong: list[Pixels]) -> None:
    with pytest.raises(ValueError, match="all of one shape"):
        encode_turntable(wrong, fps=10)
