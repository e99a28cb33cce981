"""Portraits: refused, left alone, or framed as renders are, with what is behind taken away."""

import importlib.util

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from pipeline.capture.portrait import MOST_SIDE, find_faces, frontal_frame, read_portrait
from pipeline.contracts.errors import DataError, ResourceError

FRAME = frontal_frame(4.6, 30.0)


def saved(path, pixels, **how):
    Image.fromarray(pixels).save(path, **how)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return read_portrait(saved(tmp_path_factory.mktemp("portrait") / "astronaut.png", astronaut()), FRAME)


def test_the_frame_is_where_renders_have_faces():
    assert FRAME.row == pytest.approx(111.25 / 256, abs=1e-3) and FRAME.side == pytest.approx(71 / 256, abs=1e-3)
    near = frontal_frame(4.6, 20.0)
    assert near.side > FRAME.side and near.row < FRAME.row, "larger, and higher"


def test_a_photograph_is_framed_and_what_is_behind_is_white(prepared):
    side = prepared.rgb.shape[0]
    assert prepared.rgb.shape == (side, side, 3) and prepared.is_changed
    (face,) = find_faces(prepared.rgb)
    assert face.column / side == pytest.approx(0.5, abs=0.02)
    assert face.row / side == pytest.approx(FRAME.row, abs=0.02)
    assert face.side / side == pytest.approx(FRAME.side, rel=0.05)
    assert (prepared.rgb[: side // 10] == 255).all() and (prepared.rgb[-side // 10 :] == 255).all()
    assert (prepared.rgb[: side // 2, : side // 5] == 255).all() and (
        prepared.rgb[: side // 2, -side // 5 :] == 255
    ).all()
    is_person = (prepared.rgb < 250).any(-1)
    assert 0.15 < is_person.mean() < 0.45
    assert (prepared.before == astronaut()).all()
    # The face is her face: moved, not painted over.
    box = prepared.rgb[int(face.row) - 20 : int(face.row) + 20, int(face.column) - 20 : int(face.column) + 20]
    theirs = astronaut()[114 - 20 : 114 + 20, 225 - 20 : 225 + 20]
    assert np.abs(box.mean((0, 1)) - theirs.mean((0, 1))).max() < 12


def test_it_is_turned_upright_by_exif(prepared, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    again = read_portrait(saved(tmp_path / "turned.png", np.rot90(astronaut()).copy(), exif=exif), FRAME)
    assert again.done == prepared.done and (again.rgb == prepared.rgb).all()


def test_a_picture_framed_anew_is_left_alone_after_that(prepared, tmp_path):
    again = read_portrait(saved(tmp_path / "again.png", prepared.rgb), FRAME)
    assert not again.is_changed and (again.rgb == prepared.rgb).all()
    assert again.done == "cut out and framed already: taken as it is"


def test_a_cut_out_far_from_the_frame_keeps_its_silhouette_and_is_framed(prepared, tmp_path):
    large = np.full((620, 620, 3), 255, np.uint8)
    large[-len(prepared.rgb) :, -len(prepared.rgb) :] = prepared.rgb
    framed = read_portrait(saved(tmp_path / "large.png", large), FRAME)
    assert framed.is_changed and framed.done.endswith(" pixels found, framed")
    both = min(len(framed.rgb), len(prepared.rgb))
    assert abs(len(framed.rgb) - len(prepared.rgb)) < 20
    assert np.abs(framed.rgb[:both, :both].astype(float) - prepared.rgb[:both, :both]).mean() < 15


def test_what_has_transparent_parts_stays_as_it_is(tmp_path):
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:, 8:24] = (200, 150, 120, 255)
    kept = read_portrait(saved(tmp_path / "render.png", rgba), FRAME)
    assert not kept.is_changed and (kept.rgb[0] == 255).all() and (kept.rgb[20, 12] == (200, 150, 120)).all()


def test_of_the_same_picture_the_same_bytes(prepared, tmp_path):
    again = read_portrait(saved(tmp_path / "astronaut.png", astronaut()), FRAME)
    assert (again.rgb == prepared.rgb).all()


def test_no_face_is_told(tmp_path):
    wall = np.broadcast_to(np.linspace(60, 120, 300, dtype=np.uint8)[:, None], (200, 300, 3)).copy()
    path = saved(tmp_path / "wall.png", wall)
    with pytest.raises(DataError, match=r"no face was found in its 300 x 200 pixels: .* --as-is"):
        read_portrait(path, FRAME)
    assert read_portrait(path, None).rgb.shape == (200, 300, 3)


def test_without_opencv_it_is_told_which_extra_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install -e '\.\[portrait\]'"):
        read_portrait(saved(tmp_path / "astronaut.png", astronaut()), FRAME)
    pixels = np.full((40, 30, 3), 255, np.uint8)
    pixels[20:, 10:20] = 90
    white = saved(tmp_path / "white.png", pixels)
    assert not read_portrait(white, FRAME).is_changed


@pytest.mark.seconds
def test_portraits_of_any_size_are_told_or_made_smaller(tmp_path):
    def read(width, height):
        path = tmp_path / f"{width}x{height}.png"
        image = Image.new("RGB", (width, height), (200, 100, 50))
        image.putpixel((0, 0), (0, 0, 0))
        image.save(path, compress_level=1)
        return read_portrait(path, None).rgb

    assert read(16, 20).shape == (20, 16, 3)
    smaller = read(3000, 2000)
    assert smaller.shape == (round(MOST_SIDE * 2 / 3), MOST_SIDE, 3)
    assert (smaller[9:, 9:] == (200, 100, 50)).all()
    for width, height in ((1, 1), (15, 100), (20_000, 1), (20_000, 2000)):
        with pytest.raises(DataError, match=rf"has {width} x {height} pixels"):
            read(width, height)
    for side in (10_000, 20_000):
        bomb = tmp_path / "bomb.png"
        Image.new("1", (side, side)).save(bomb)
        with pytest.raises(DataError, match=r"bomb\.png cannot be read as an image"):
            read_portrait(bomb, None)


def test_pictures_of_nothing_are_refused(tmp_path):
    rgba = np.full((32, 32, 4), 90, np.uint8)
    rgba[..., 3] = 0
    with pytest.raises(DataError, match="alpha is 0 everywhere"):
        read_portrait(saved(tmp_path / "empty.png", rgba), None)
    with pytest.raises(DataError, match="all of it is #5a5a5a"):
        read_portrait(saved(tmp_path / "grey.png", rgba[..., :3]), None)
