"""The JSON files of a capture. That images and cameras come out right is tested in commands/test_ingest.py."""

import json
import math

import numpy as np
import pytest

from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.capture import CaptureWorld
from pipeline.contracts.errors import DataError
from pipeline.io.nerf_layout import read_capture, transforms_document

EYE = np.eye(4).tolist()
WORLD = CaptureWorld(up="+y", centre=(0.0, 0.0, 0.0), half_side=1.0, extent_m=0.25)
CAMERAS = [
    Camera.look_at(orbit_position(40.0 * i, 10.0, 3.7), np.zeros(3), fov_deg=33, width=40, height=30) for i in range(3)
]


def capture(folder, frames=2, files=None, name="transforms_train.json", **tree):
    """Frames whose images are empty files: nobody opens them here."""
    for number in range(frames):
        (folder / f"r_{number}.png").write_bytes(b"")
    listed = [{"file_path": f"./r_{i}", "transform_matrix": EYE} for i in range(frames)]
    tree = {"camera_angle_x": 0.6, "frames": listed} | tree
    (folder / name).write_text(json.dumps(tree) if files is None else files)
    return folder


def first(folder, width=40, height=30):
    frame = read_capture(folder).frames[0]
    return frame.intrinsics.camera(frame.cam2world, width, height)


def test_what_is_written_is_read_back_exactly(tmp_path):
    off_centre = [c.model_copy(update={"cx": 17.3, "fy": 60.1 + i}) for i, c in enumerate(CAMERAS)]
    for cameras in (CAMERAS, off_centre):
        document = transforms_document([(f"./r_{i}", c) for i, c in enumerate(cameras)], world=WORLD, caption="a jug")
        capture(tmp_path, 3, files=json.dumps(document))
        read = read_capture(tmp_path)
        assert [f.intrinsics.camera(f.cam2world, 40, 30) for f in read.frames] == cameras
        assert read.world == WORLD and read.caption == "a jug"
    assert "fl_y" not in document and "fl_y" in document["frames"][0], "lenses that differ stand in their frames"


def test_a_field_of_view_and_square_pixels(tmp_path):
    camera = first(capture(tmp_path))
    # half of 40 pixels over tan(0.3)
    assert camera.fx == camera.fy == pytest.approx(20 / math.tan(0.3))
    assert (camera.cx, camera.cy) == (20, 15)


def test_a_principal_point_off_the_centre_and_a_frame_that_knows_better(tmp_path):
    capture(tmp_path, fl_x=50.0, fl_y=51.0, cx=18.5, cy=16.25, w=40, h=30)
    tree = json.loads((tmp_path / "transforms_train.json").read_text())
    tree["frames"][1]["cx"] = 7
    (tmp_path / "transforms_train.json").write_text(json.dumps(tree))
    frames = read_capture(tmp_path).frames
    cameras = [frame.intrinsics.camera(frame.cam2world, 40, 30) for frame in frames]
    assert [(c.fx, c.fy, c.cx, c.cy) for c in cameras] == [(50, 51, 18.5, 16.25), (50, 51, 7, 16.25)]


def test_splits_and_their_order(tmp_path):
    for name in ("val", "train", "test"):
        (tmp_path / f"{name}.png").write_bytes(b"")
        frames = [{"file_path": name, "transform_matrix": EYE}]
        (tmp_path / f"transforms_{name}.json").write_text(json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    read = [(frame.image.stem, frame.split) for frame in read_capture(tmp_path).frames]
    assert read == [("train", "train"), ("test", "held_out"), ("val", "held_out")]


def test_one_file_of_all_frames(tmp_path):
    assert len(read_capture(capture(tmp_path, name="transforms.json")).frames) == 2


def test_few_digits_give_way_to_the_nearest_rotation(tmp_path):
    matrix = np.round(CAMERAS[1].matrix(), 4)
    tree = {"camera_angle_x": 0.6, "frames": [{"file_path": "r_0", "transform_matrix": matrix.tolist()}]}
    camera = first(capture(tmp_path, files=json.dumps(tree)))
    rotation = camera.matrix()[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12) and np.allclose(
        rotation[:, 0], matrix[:3, 0], atol=1e-4
    )


def frame(matrix=None, **more):
    return {"frames": [{"file_path": "r_0", "transform_matrix": EYE if matrix is None else matrix, **more}]}


def changed(row, column, value):
    matrix = np.eye(4)
    matrix[row, column] = value
    return frame(matrix.tolist())


BAD = [
    (dict(files='{"camera_angle_x": 0.6, "frames": [{"file'), r"no whole JSON.*cut off"),
    (dict(files="[1, 2]"), "no list of frames"),
    (dict(frames=0), "empty list of frames"),
    (dict(camera_angle_x=None), r"frame 0 .*no intrinsics.*camera_angle_x"),
    (dict(camera_angle_x="wide"), "camera_angle_x is 'wide'"),
    (dict(camera_angle_x=50), r"camera_angle_x is 50; it is in radians"),
    (dict(fl_x=-3), "fl_x is -3"),
    (dict(fl_x=10**400), "fl_x is 1000"),
    (dict(cx=float("nan")), "cx is nan"),
    (frame([[10**400] * 4] * 4), "no 4x4 matrix of numbers"),
    (dict(w=40.5), "w is 40.5"),
    (dict(camera_model="FOV"), "camera model FOV; understood are SIMPLE_RADIAL"),
    (dict(caption=3), "caption is 3"),
    (dict(world={"up": "+y"}), "world is not understood"),
    ({"frames": [{"transform_matrix": EYE}]}, "no file_path"),
    ({"frames": [{"file_path": "r_0"}]}, r"no 4x4 matrix of numbers \(found None\)"),
    (frame([[1, 0], [0, 1]]), "no 4x4 matrix"),
    (frame("eye"), "no 4x4 matrix"),
    (changed(1, 3, float("nan")), "nan in row 1, column 3"),
    (changed(2, 3, float("inf")), "inf in row 2, column 3"),
    (changed(3, 0, 0.5), "last row"),
    (frame(mask_path=3), "mask_path is 3"),
    (dict(train_filenames="r_0"), "train_filenames is 'r_0', not a list"),
    (dict(train_filenames=["r_9"]), "train_filenames has r_9"),
    (dict(train_filenames=["./r_0"], test_filenames=["r_0"]), "held out too"),
    (dict(files='{"frames": [{"file_path": "r_0", "file_path": "r_1"}]}'), "the key file_path twice"),
    (changed(0, 0, 1.5), "no rotation"),
    (changed(0, 0, -1.0), "mirrored"),
    (frame(mask_path="masks/0.png"), "no mask masks/0.png"),
    ({"frames": [{"file_path": name, "transform_matrix": EYE} for name in ("r_0", "x/r_7", "r_8")]}, "2 of 3 frames"),
    ({"frames": [{"file_path": name, "transform_matrix": EYE} for name in ("r_0", "r_0.png")]}, "frame 0.*too"),
]


@pytest.mark.parametrize(("fields", "told"), BAD, ids=[told[:24] for _, told in BAD])
def test_bad_files_are_told_in_one_line(tmp_path, fields, told):
    fields = dict(fields)
    frames = fields.pop("frames", None)
    folder = capture(tmp_path, **({"frames": frames} if isinstance(frames, int) else {}), **fields)
    if isinstance(frames, list):
        (folder / "transforms_train.json").write_text(json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    with pytest.raises(DataError, match=told) as caught:
        read_capture(folder)
    assert "\n" not in str(caught.value) and "transforms_train.json" in str(caught.value)


def test_no_folder_and_no_capture(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        read_capture(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither transforms_train"):
        read_capture(tmp_path)


def test_a_size_that_is_not_the_images(tmp_path):
    capture(tmp_path, w=40, h=30)
    with pytest.raises(DataError, match=r"w 40, h 30, but its image has 20x15"):
        first(tmp_path, 20, 15)


def test_a_principal_point_in_other_units(tmp_path):
    with pytest.raises(DataError, match="principal point"):
        first(capture(tmp_path, cx=500.0))


def test_a_byte_order_mark_and_other_encodings_are_read(tmp_path):
    text = (capture(tmp_path) / "transforms_train.json").read_text()
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "transforms_train.json").write_text(text, encoding=encoding)
        assert len(read_capture(tmp_path).frames) == 2


def listed(*numbers, **more):
    return [{"file_path": f"r_{i}.png", "transform_matrix": EYE, **more} for i in numbers]


def test_a_file_of_held_out_frames_beside_a_single_one(tmp_path):
    tree = {"camera_angle_x": 0.6, "frames": listed(0, 1, 2, 3)}
    capture(tmp_path, 4, name="transforms.json", files=json.dumps(tree))
    (tmp_path / "transforms_test.json").write_text(json.dumps({"camera_angle_x": 0.6, "frames": listed(2, 3)}))
    read = read_capture(tmp_path)
    assert [(f.image.stem, f.split) for f in read.frames] == [
        ("r_0", "train"), ("r_1", "train"), ("r_2", "held_out"), ("r_3", "held_out"),
    ]  # fmt: skip
    assert len(read.documents) == 2 and read.unused == ()
    tree = {"camera_angle_x": 0.6, "frames": listed(2)}
    tree["frames"][0]["transform_matrix"] = CAMERAS[0].matrix().tolist()
    (tmp_path / "transforms_test.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match=r"r_2.png is that of .* too"):
        read_capture(tmp_path)


def test_lists_of_names_are_the_split(tmp_path):
    lists = dict(train_filenames=["./r_0.png", "r_2.png"], val_filenames=["r_1.png"], test_filenames=[])
    tree = {"camera_angle_x": 0.6, "frames": listed(0, 1, 2, 3), **lists}
    capture(tmp_path, 4, name="transforms.json", files=json.dumps(tree))
    read = read_capture(tmp_path)
    assert [(f.image.stem, f.split) for f in read.frames] == [("r_0", "train"), ("r_1", "held_out"), ("r_2", "train")]
    assert read.unused == ("1 frames that are in no list of file names",)


def test_what_is_not_used_is_named(tmp_path):
    frames = listed(0, 1, depth_file_path="d.png", colmap_im_id=3)
    tree = {"camera_angle_x": 0.6, "aabb_scale": 16, "time": 0.5, "frames": frames}
    capture(tmp_path, files=json.dumps(tree))
    (tmp_path / "transforms_extra.json").write_text("{}")
    (tmp_path / "transforms.json").write_text("{}")
    assert read_capture(tmp_path).unused == (
        "transforms.json", "transforms_extra.json", "key time", "key depth_file_path",
    )  # fmt: skip


def test_names_from_other_machines(tmp_path):
    def found(given):
        frames = [{"file_path": given, "transform_matrix": EYE}]
        capture(tmp_path, 0, files=json.dumps({"camera_angle_x": 0.6, "frames": frames}))
        return read_capture(tmp_path).frames[0].image.name

    (tmp_path / "Bilder").mkdir()
    for name in ("Gr\u00fcn.PNG", "a.png"):
        (tmp_path / "Bilder" / name).write_bytes(b"")
    assert found("bilder\\gru\u0308n.png") == "Gr\u00fcn.PNG"
    for given in (".\\BILDER\\A", "/home/somebody/lego/Bilder/a.png", "C:\\lego\\bilder\\a.png"):
        assert found(given) == "a.png"
    (tmp_path / "Bilder" / "A.PNG").write_bytes(b"")
    with pytest.raises(DataError, match="no such image"):
        found("bilder/a.pNg")  # two are as near


def test_masks_in_folders_like_the_images(tmp_path):
    for base in ("images", "masks"):
        for name in ("cam0/0.png", "cam1/0.png"):
            (tmp_path / base / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / base / name).write_bytes(b"")
    frames = [{"file_path": f"images/cam{i}/0.png", "transform_matrix": EYE} for i in (0, 1)]
    capture(tmp_path, 0, files=json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    masks = [frame.mask for frame in read_capture(tmp_path, "masks").frames]
    assert masks == [tmp_path / "masks" / "cam0" / "0.png", tmp_path / "masks" / "cam1" / "0.png"]
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "0.png.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"its mask 0.png.png is that of .*frame 0.* too"):
        read_capture(tmp_path, "flat")
    with pytest.raises(DataError, match="is the image itself"):
        read_capture(tmp_path, "images")


def test_a_missing_mask(tmp_path):
    with pytest.raises(DataError, match="holds no mask named r_0"):
        read_capture(capture(tmp_path), "masks")
