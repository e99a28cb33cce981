import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from pipeline import images
from pipeline.contracts.errors import DataError
from pipeline.images import (
    Pixels,
    contact_sheet,
    decode_image,
    encode_gif,
    encode_png,
    encode_turntable,
    error_map,
    over_white,
    straight_from_white,
    strip,
    to_uint8,
)


def _solid(height: int, width: int, *colour: int) -> Pixels:
    return np.full((height, width, len(colour)), colour, np.uint8)


def test_over_white_at_its_ends_and_in_the_middle() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51]]], np.uint8)
    # alpha 51 is one fifth: 0 -> 204, 100 -> 20 + 204, 255 -> 255
    assert over_white(rgba).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 224, 255]]]


def test_straight_colour_and_over_white_are_inverses() -> None:
    generator = np.random.default_rng(0)
    alpha, straight = generator.uniform(0.2, 1, (8, 8)), generator.uniform(0, 1, (8, 8, 3))
    over = straight * alpha[..., None] + 1 - alpha[..., None]
    rgba = straight_from_white(over, alpha)
    assert np.abs(rgba[..., :3] - straight * 255).max() <= 0.51
    assert np.abs(over_white(rgba).astype(int) - over * 255).max() <= 1.1
    assert straight_from_white(np.ones((2, 2, 3)), np.zeros((2, 2))).tolist() == [[[0] * 4] * 2] * 2


def test_to_uint8_clips_and_rounds() -> None:
    assert to_uint8(np.array([-1.0, 0.0, 0.5, 0.999, 2.0])).tolist() == [0, 0, 128, 255, 255]


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


def test_png_round_trip_keeps_alpha() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    assert (decode_image(encode_png(rgba), name="x.png") == rgba).all()
    assert encode_png(rgba) == encode_png(rgba.copy())


def test_decode_turns_and_refuses() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    Image.fromarray(_solid(8, 16, 200, 10, 10)).save(buffer, "JPEG", exif=exif)
    assert decode_image(buffer.getvalue(), name="x.jpg").shape == (16, 8, 4)
    with pytest.raises(DataError, match=r"portrait\.txt cannot be read as an image: no PNG, JPEG or WebP"):
        decode_image(b"hello", name="portrait.txt")
    with pytest.raises(DataError, match=r"cut\.png cannot be read"):
        decode_image(encode_png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[:900], name="cut.png")


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
        images.encode_turntable(wrong, fps=10)
