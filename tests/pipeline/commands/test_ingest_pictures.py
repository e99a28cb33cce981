"""``rodin-pipe ingest`` on pictures as strangers store them: premultiplied, on their side, bent by a lens."""

import shutil

import numpy as np
import pytest
from PIL import Image
from support.captures import CENTRE, FOCAL, SCALE, SIZE, edit, levels, poses, write_capture
from support.commands import rodin_passes, rodin_refuses
from support.textured_ellipsoid import photograph

from pipeline.contracts.naming import RunLayout
from pipeline.io.shards import read_avatar

pytestmark = pytest.mark.seconds

GIVEN = ("--centre", *(str(x) for x in CENTRE), "--half-side", str(SCALE))


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("captures") / "egg", train=6, test=2)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def published(root):
    return read_avatar(RunLayout(root).shard(0), 0)


def premultiplied(rgba):
    pixels = levels(rgba).astype(float)
    return np.round(pixels[..., :3] * pixels[..., 3:] / 255).astype(np.uint8), pixels[..., 3].astype(np.uint8)


def test_premultiplied_colour_is_seen_and_undone(capture, tmp_path):
    folder = write_capture(tmp_path / "egg", train=6, test=2, picture=lambda rgba: np.dstack(premultiplied(rgba)))
    told = rodin_passes("ingest", folder, "--out", tmp_path / "run", *GIVEN)
    assert "colour was premultiplied by alpha" in told
    rodin_passes("ingest", capture, "--out", tmp_path / "straight", *GIVEN)
    for ours, theirs in zip(published(tmp_path / "run"), published(tmp_path / "straight"), strict=True):
        assert np.array_equal(ours.rgba[..., 3], theirs.rgba[..., 3])
        shown = ours.rgba[..., 3] > 50
        assert np.abs(ours.rgba[shown].astype(int) - theirs.rgba[shown]).max() <= 3
    line = rodin_refuses("ingest", folder, "--out", tmp_path / "run", *GIVEN, "--set", "ingest.colour=straight")
    assert "ingest.colour" in line


def on_their_side(folder, *, lens):
    """Pictures stored a quarter turned, with the tag that turns them back; cameras of the upright ones."""
    write_capture(folder, train=6, test=2, lens=lens)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in folder.glob("*/r_*.png"):
        Image.fromarray(np.rot90(read(path))[8:-8]).save(path, exif=exif)
    return folder


def test_exif_turns_pictures_whose_cameras_are_of_the_turned_ones(tmp_path):
    said = {"fl_x": FOCAL, "fl_y": FOCAL, "w": 32, "h": 48}
    folder = on_their_side(tmp_path / "said", lens=said)
    assert "turned by" not in rodin_passes("ingest", folder, "--out", tmp_path / "run", *GIVEN)
    unsaid = on_their_side(tmp_path / "unsaid", lens={"fl_x": FOCAL, "fl_y": FOCAL})
    assert "images turned by their EXIF" in rodin_passes("ingest", unsaid, "--out", tmp_path / "run2", *GIVEN)
    for run in ("run", "run2"):
        stored = levels(photograph(poses(8)[0], FOCAL, SIZE))[:, 8:-8]
        stored[stored[..., 3] == 0] = 0
        assert np.array_equal(published(tmp_path / run)[0].rgba, stored)
    assert "w 48, h 32" in rodin_refuses(
        "ingest", edit(folder, lambda tree: tree.update(w=48, h=32)), "--out", tmp_path / "run3",
        "--set", "ingest.exif=obey",
    )  # fmt: skip


def test_distorted_photographs_are_undistorted_and_what_is_lost_is_told(capture, tmp_path):
    copy = shutil.copytree(capture, tmp_path / "bent")
    for split in ("train", "test"):
        edit(copy, lambda tree: tree.update(camera_model="SIMPLE_RADIAL", k1=0.02), split)
    told = rodin_passes("ingest", copy, "--out", tmp_path / "run")
    assert "8 images undistorted (SIMPLE_RADIAL), by which 0.0% of the object's pixels fall outside" in told
