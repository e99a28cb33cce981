"""``rodin-pipe ingest`` as a whole, and ``export nerf`` as its inverse."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.captures import CENTRE, FOCAL, SCALE, SIZE, edit, encode, levels, over, poses, write_capture
from support.commands import rodin_passes, rodin_refuses
from support.fake_blender import make_fake_blender
from support.textured_ellipsoid import photograph
from support.tiny import tiny_config, tree_hashes

from pipeline.commands import ingest as ingestion
from pipeline.config.load import load_config
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.contracts.rendering import RenderReport
from pipeline.driver.estimate import own_steps
from pipeline.io.ledger import read_ledger
from pipeline.io.shards import read_avatar
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.render import render_shard
from pipeline.stages.work import WorkItem

pytestmark = pytest.mark.seconds

GIVEN = ("--centre", *(str(x) for x in CENTRE), "--half-side", str(SCALE))
"""The cube that is ours before the capture's world was made of it."""


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("captures") / "egg")


@pytest.fixture
def copy(capture, tmp_path):
    """A copy of the capture that a test may damage."""
    return shutil.copytree(capture, tmp_path / "egg")


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def published(layout, shard=0):
    report = read_ledger(layout.ledger("render", format_shard(shard)), RenderReport)
    return report, [read_avatar(layout.shard(shard), avatar) for avatar in report.done]


@pytest.mark.parametrize(
    ("width", "side", "supersample"), [(48, 128, 2), (170, 192, 2), (230, 256, 2), (270, 256, 2), (300, 256, 1)]
)
def test_planes_are_as_fine_as_what_photographs_show_of_the_cube(width, side, supersample, copy, tmp_path):
    """The egg's camera has 30 degrees and stands two cubes away, so the cube is 0.93 of its pixels wide."""
    for split in ("train", "test"):
        for path in (copy / split).iterdir():
            with Image.open(path) as image:
                image.resize((width, width), Image.Resampling.NEAREST).save(path)
    rodin_passes("ingest", copy, "--out", tmp_path / "run", *GIVEN)
    config = load_config(run_toml=tmp_path / "run" / "run.toml")
    assert (config.planes.resolution, config.own.supersample) == (side, supersample)
    assert config.own.steps == own_steps(config, 6.0)


def test_whoever_says_how_fine_planes_are_is_obeyed(capture, tmp_path):
    for name, said, side in (("set", ("--set", "planes.resolution=160"), 160), ("preset", ("--preset", "small"), 96)):
        rodin_passes("ingest", capture, "--out", tmp_path / name, *said)
        assert load_config(run_toml=tmp_path / name / "run.toml").planes.resolution == side
        rodin_passes("ingest", capture, "--out", tmp_path / name)
        assert load_config(run_toml=tmp_path / name / "run.toml").planes.resolution == side, "nor changed later"


def test_a_capture_becomes_an_avatar(capture, tmp_path):
    layout = RunLayout(tmp_path / "run")
    output = rodin_passes("ingest", capture, "--out", layout.root, *GIVEN, "--caption", "an egg")
    assert "10 training and 3 held-out views" in output and "+z is up, cube given" in output
    report, (samples,) = published(layout)
    assert [s.record.split for s in samples] == ["train"] * 10 + ["held_out"] * 3
    assert report.done == (0,) and report.specs == () and report.captures[0].held_out == "val and test"
    matrices = poses(13)
    held_out = [2, 6, 11]  # (i + 0.5) * 13 / 3, rounded
    order = [i for i in range(13) if i not in held_out] + held_out
    for sample, number in zip(samples, order, strict=True):
        camera = sample.record.camera
        assert np.allclose(camera.matrix(), matrices[number], atol=1e-9)
        assert camera.fx == pytest.approx(FOCAL) and (camera.cx, camera.cy) == (SIZE / 2, SIZE / 2)
        stored = levels(photograph(matrices[number], FOCAL, SIZE))
        stored[stored[..., 3] == 0] = 0
        assert np.array_equal(sample.rgba, stored), "exactly, but colour where nothing is"
        assert sample.record.caption == "an egg" and sample.depth is None
    config = load_config(run_toml=layout.config)
    assert config.render.extent_m == SCALE and config.is_ingested and config.decoder.avatars == 1
    assert report.fingerprint == stage_fingerprints(config)["render"]


def test_the_cube_is_estimated_and_holds_the_object(capture, tmp_path):
    layout = RunLayout(tmp_path / "run")
    assert "cube estimated" in rodin_passes("ingest", capture, "--out", layout.root)
    _, (samples,) = published(layout)
    for sample in samples:
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        columns, rows, _ = sample.record.camera.project(corners).T
        shown_rows, shown_columns = np.nonzero(sample.rgba[..., 3])
        assert columns.min() < shown_columns.min() and shown_columns.max() < columns.max()
        assert rows.min() < shown_rows.min() and shown_rows.max() < rows.max()


def test_the_same_again_is_nothing_to_do_and_others_are_refused(copy, tmp_path):
    layout = RunLayout(tmp_path / "run")
    rodin_passes("ingest", copy, "--out", layout.root)
    before = tree_hashes(layout.root)
    rodin_passes("ingest", copy, "--out", layout.root)
    assert tree_hashes(layout.root) == before
    assert "--redo" in rodin_refuses("ingest", copy, "--out", layout.root, *GIVEN)
    path = copy / "train" / "r_0.png"
    pixels = read(path).copy()
    pixels[SIZE // 2, SIZE // 2, 0] ^= 1
    path.write_bytes(encode(pixels))
    assert "ingest.sha256" in rodin_refuses("ingest", copy, "--out", layout.root)
    assert tree_hashes(layout.root) == before
    rodin_passes("ingest", copy, "--out", layout.root, "--redo")
    assert tree_hashes(layout.root) != before


def test_a_damaged_tar_is_found_and_put_right(capture, tmp_path):
    layout = RunLayout(tmp_path / "run")
    rodin_passes("ingest", capture, "--out", layout.root)
    whole = tree_hashes(layout.renders)
    for option in ((), ("--redo",)):
        with layout.shard(0).open("r+b") as tar:
            tar.truncate(3000)
        assert f"rodin-pipe ingest {capture} --out {layout.root} puts it right" in rodin_refuses(
            "fit", "--own-decoder", "--dry-run", "--out", layout.root
        )
        rodin_passes("ingest", capture, "--out", layout.root, *option)
        assert tree_hashes(layout.renders) == whole


def test_an_interrupted_ingest_goes_on_to_the_same_bytes(capture, tmp_path, monkeypatch):
    whole, broken = RunLayout(tmp_path / "whole"), RunLayout(tmp_path / "broken")
    other = shutil.copytree(capture, tmp_path / "other")
    edit(other, lambda tree: tree["frames"].pop())
    options = (capture, other, "--set", "render.shard_size=1")
    rodin_passes("ingest", *options, "--out", whole.root)
    shards = []

    def dies(item, on_frame):
        if shards:
            raise KeyboardInterrupt
        shards.append(item.work.number)
        return ingest_shard(item, on_frame)

    ingest_shard = ingestion.ingest_shard
    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "ingest_shard", dies)
        from support.commands import rodin

        assert rodin("ingest", *options, "--out", broken.root).exit_code == 130
    assert broken.shard(0).exists() and not broken.shard(1).exists()
    rodin_passes("ingest", *options, "--out", broken.root)
    assert tree_hashes(broken.renders) == tree_hashes(whole.renders)
    assert [len(samples) for shard in (0, 1) for samples in published(whole, shard)[1]] == [13, 12]
    reports = Run(whole, load_config(run_toml=whole.config)).render_reports()
    half_sides = {c.placement.half_side for r in reports.values()
                  for c in r.captures}  # fmt: skip
    assert len(half_sides) == 1, "a run has one unit"


def over_white(rgba):
    return over(rgba, (255, 255, 255))


def test_alpha_from_a_background_and_from_masks(tmp_path):
    flat = write_capture(tmp_path / "flat", picture=over_white)
    line = rodin_refuses("ingest", flat, "--out", tmp_path / "run")
    assert "r_0" in line and "has no alpha" in line and "--background white" in line
    assert "no pixel of any frame" in rodin_refuses("ingest", flat, "--out", tmp_path / "run", "--background", "black")
    assert not (tmp_path / "run").exists()
    rodin_passes("ingest", flat, "--out", tmp_path / "run", "--background", "white", *GIVEN)
    report, (keyed,) = published(RunLayout(tmp_path / "run"))
    assert report.captures[0].alpha == "background"

    masked = write_capture(tmp_path / "masked", picture=lambda rgba: over(rgba, (90, 120, 60)), suffix=".jpg")
    for folder in ("train", "test"):
        for path in sorted((masked / folder).iterdir()):
            number = int(path.stem.partition("_")[2])
            alpha = np.round(photograph(poses(13)[number], FOCAL, SIZE)[..., 3] * 255).astype(np.uint8)
            (masked / "masks").mkdir(exist_ok=True)
            (masked / "masks" / f"{path.stem}.png").write_bytes(encode(alpha))
    rodin_passes("ingest", masked, "--out", tmp_path / "run2", "--masks", "masks", *GIVEN)
    _, (samples,) = published(RunLayout(tmp_path / "run2"))
    for sample, key in zip(samples, keyed, strict=True):
        assert sample.rgba[..., 3].max() == 255 and (sample.rgba[..., 3] == 0).any()
        assert np.abs(sample.rgba[..., 3].astype(int) - key.rgba[..., 3]).mean() < 3


def solid(rgba):
    pixels = np.full((SIZE, SIZE, 4), 255, np.uint8)
    pixels[..., :3] = over_white(rgba)
    return pixels


def test_opaque_rgba_is_no_alpha(tmp_path):
    folder = write_capture(tmp_path / "solid", picture=solid)
    assert "every pixel of every image is opaque" in rodin_refuses("ingest", folder, "--out", tmp_path / "run")
    rodin_passes("ingest", folder, "--out", tmp_path / "run", "--background", "#ffffff")


def test_a_share_is_held_out_where_nothing_is_said(tmp_path):
    folder = write_capture(tmp_path / "alone", train=16, test=0)
    output = rodin_passes("ingest", folder, "--out", tmp_path / "run")
    assert "14 training and 2 held-out views (a share of 0.125" in output
    _, (samples,) = published(RunLayout(tmp_path / "run"))
    azimuths = [np.degrees(np.arctan2(*s.record.camera.matrix()[[0, 2], 3])) % 360 for s in samples[-2:]]
    assert abs(azimuths[1] - azimuths[0]) == pytest.approx(180, abs=10), "spread along the path of cameras"


def test_images_made_smaller(capture, tmp_path):
    rodin_passes("ingest", capture, "--out", tmp_path / "run", "--set", "ingest.downscale=2", *GIVEN)
    _, (samples,) = published(RunLayout(tmp_path / "run"))
    camera = samples[0].record.camera
    assert (camera.width, camera.height, camera.cx) == (SIZE / 2, SIZE / 2, SIZE / 4)
    assert camera.fx == pytest.approx(FOCAL / 2) and samples[0].rgba.shape == (SIZE // 2, SIZE // 2, 4)
    assert "47" not in rodin_refuses("ingest", capture, "--out", tmp_path / "r", "--set", "ingest.downscale=5")


def unequal(folder):
    (folder / "train" / "r_4.png").write_bytes(encode(np.zeros((40, 48, 4), np.uint8)))


def cut(folder):
    path = folder / "train" / "r_4.png"
    path.write_bytes(path.read_bytes()[:300])


def empty(folder):
    (folder / "train" / "r_4.png").write_bytes(encode(np.zeros((48, 48, 4), np.uint8)))


def sixteen_bits(folder):
    (folder / "train" / "r_4.png").write_bytes(encode(np.full((48, 48), 1023, np.uint16)))


def look_away(tree):
    matrix = np.array(tree["frames"][3]["transform_matrix"])
    matrix[:3, [0, 2]] *= -1
    tree["frames"][3]["transform_matrix"] = matrix.tolist()


def opencv(tree):
    for frame in tree["frames"]:
        matrix = np.array(frame["transform_matrix"])
        matrix[:3, [1, 2]] *= -1
        frame["transform_matrix"] = matrix.tolist()


BAD = [
    (unequal, "r_4) has 48x40 pixels"),
    (cut, "r_4) cannot be read"),
    (empty, "r_4) is empty"),
    (sixteen_bits, "16-bit levels end at 1023"),
    (lambda folder: (folder / "train" / "r_4.png").unlink(), "1 of 10 frames lack theirs"),
    (lambda folder: edit(folder, look_away), "r_4): its camera looks away"),
    (lambda folder: edit(edit(folder, opencv), opencv, "test"), "may be OpenCV's"),
    (lambda folder: edit(folder, lambda tree: tree.pop("camera_angle_x")), "no intrinsics"),
    (lambda folder: edit(folder, lambda tree: tree["frames"][2]["transform_matrix"][0].__setitem__(3, float("nan"))),
     "nan in row 0, column 3"),
    (lambda folder: (folder / "transforms_test.json").write_text('{"frames": ['), "cut off"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "told"), BAD, ids=[told for _, told in BAD])
def test_bad_captures_are_told_in_one_line_and_nothing_is_written(copy, tmp_path, damage, told):
    damage(copy)
    assert told in rodin_refuses("ingest", copy, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_that_make_no_sense(capture, tmp_path):
    out = ("--out", tmp_path / "run")
    assert "ingest.half_side" in rodin_refuses("ingest", capture, *out, "--half-side", "2")
    assert "ingest.up" in rodin_refuses("ingest", capture, *out, "--up", "z")
    assert "ingest.background" in rodin_refuses("ingest", capture, *out, "--background", "mauve")
    assert "twice" in rodin_refuses("ingest", capture, capture, *out)
    assert "2 captions for 1" in rodin_refuses("ingest", capture, *out, "--caption", "a", "--caption", "b")
    far = ("--centre", "90", "0", "0", "--half-side", "2")
    assert "looks away" in rodin_refuses("ingest", capture, *out, *far)
    assert not (tmp_path / "run").exists()


def test_what_an_ingested_run_cannot_do(capture, tmp_path):
    layout = RunLayout(tmp_path / "run")
    rodin_passes("ingest", capture, "--out", layout.root)
    before = tree_hashes(layout.root)
    line = rodin_refuses("render", "--out", layout.root)
    assert "nothing to render" in line and "fit --own-decoder" in line
    assert "stage evaluate" in rodin_refuses("run", "--out", layout.root)
    assert "stage clip" in rodin_refuses("train", "--out", layout.root)
    assert "ingest --redo" in rodin_refuses("fit", "--redo", "render", "--out", layout.root)
    assert "ingested otherwise" in rodin_refuses("fit", "--out", layout.root, "--set", "ingest.tolerance=3")
    assert tree_hashes(layout.root) == before
    assert "13 of 48x48" in rodin_passes("inspect", "--verify", "--out", layout.root)
    assert "missing" in rodin_passes("fit", "--dry-run", "--out", layout.root)
    layout.ledger("render", format_shard(0)).unlink()
    assert f"rodin-pipe ingest {capture}" in rodin_refuses("fit", "--out", layout.root)


def test_a_run_with_renders_takes_no_captures(capture, tmp_path):
    (tmp_path / "run.toml").write_text(load_config(preset="demo").to_toml())
    assert "another --out" in rodin_refuses("ingest", capture, "--out", tmp_path)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    config = tiny_config(make_fake_blender(folder), "render.num_avatars=1", "decoder.avatars=1")
    layout = RunLayout(folder / "run")
    render_shard(
        WorkItem(Run(layout, config), "render", stage_fingerprints(config)["render"], 0), lambda done, total: None
    )
    layout.config.write_text(config.to_toml())
    return layout


def test_export_then_ingest_gives_the_same_cameras_and_pixels(rendered, tmp_path):
    folder = tmp_path / "nerf"
    assert "9 views" in rodin_passes("export", "nerf", "--out", rendered.root, "--avatar", "0", "--file", folder)
    again = RunLayout(tmp_path / "again")
    assert "cube from the file" in rodin_passes("ingest", folder, "--out", again.root)
    before, after = read_avatar(rendered.shard(0), 0), read_avatar(again.shard(0), 0)
    assert len(before) == len(after) == 9
    for ours, back in zip(before, after, strict=True):
        assert np.array_equal(ours.rgba, back.rgba)
        assert ours.record.camera == back.record.camera, (
            "to the last bit: nothing is scaled, and axes are swapped twice"
        )
        assert (ours.record.caption, ours.record.extent_m) == (back.record.caption, back.record.extent_m)
        assert back.record.split == {"frontal": "held_out"}.get(ours.record.split, ours.record.split)


def test_an_export_can_be_read_by_the_layouts_first_readers(rendered, tmp_path):
    folder = tmp_path / "nerf"
    rodin_passes("export", "nerf", "--out", rendered.root, "--avatar", "0", "--file", folder)
    sample = read_avatar(rendered.shard(0), 0)[0]
    for split in ("train", "val", "test"):
        meta = json.loads((folder / f"transforms_{split}.json").read_text())
        images = [read(folder / (frame["file_path"] + ".png")) for frame in meta["frames"]]
        assert images and all(image.shape[2] == 4 for image in images)
        assert 0.5 * images[0].shape[1] / np.tan(0.5 * meta["camera_angle_x"]) == pytest.approx(sample.record.camera.fx)
    # A point in front of an OpenGL camera has a negative z there.
    matrix = np.array(json.loads((folder / "transforms_train.json").read_text())["frames"][0]["transform_matrix"])
    assert (np.linalg.inv(matrix) @ (0, 0, 0, 1))[2] < 0
    assert np.array_equal(read(folder / "train" / "v000.png"), sample.rgba)


def test_what_cannot_be_exported(rendered, tmp_path):
    out = ("--out", rendered.root)
    assert "--avatar" in rodin_refuses("export", "nerf", *out)
    assert "has no photographs of a000007" in rodin_refuses("export", "nerf", *out, "--avatar", "7")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    assert "nothing is written over" in rodin_refuses(
        "export", "nerf", *out, "--avatar", "0", "--file", tmp_path / "full"
    )
    (tmp_path / "file").write_text("")
    assert "cannot be written" in rodin_refuses(
        "export", "nerf", *out, "--avatar", "0", "--file", tmp_path / "file" / "x"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]
