"""The Blender process end to end: files, labels against known geometry, determinism, failure, death with its parent."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.conventions import SEGMENTATION_CLASSES
from pipeline.contracts.rendering import (
    AvatarJob,
    RenderedAvatar,
    RenderJob,
    RenderPasses,
    RenderSettings,
    SampleRecord,
    ViewSpec,
    WorkerResult,
    sample_suffixes,
)
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.blender

SIZE = 40
SETTINGS = RenderSettings(
    samples=2,
    denoise=True,
    max_bounces=1,
    extent_m=0.25,
    depth_scale=2e-4,
    threads=1,
    device="cpu",
    passes=RenderPasses(normal=True, segmentation=True, landmarks=True),
)
VIEWS = tuple(
    ViewSpec(
        view=number,
        camera=Camera.look_at(
            orbit_position(azimuth, elevation, 4.6), np.zeros(3), fov_deg=30, width=SIZE, height=SIZE
        ),
        split="frontal" if number == 0 else "train",
    )
    for number, (azimuth, elevation) in enumerate(((0, 0), (130, 25)))
)


def run_worker(output: Path, avatars: tuple[int, ...], **changes: object) -> WorkerResult:
    """Render ``avatars`` in a process of its own; an index of 99 is an avatar that cannot be rendered."""
    jobs = []
    for avatar in avatars:
        views = VIEWS
        if avatar == 99:
            skewed = VIEWS[0].camera.model_copy(update={"fy": 0.9 * VIEWS[0].camera.fy})
            views = (VIEWS[0].model_copy(update={"camera": skewed}),)
        jobs.append(AvatarJob(avatar=avatar, spec=draw_avatar(0, avatar), views=views, held_out=False))
    settings = SETTINGS.model_copy(update=changes)
    job = RenderJob(shard=0, avatars=tuple(jobs), settings=settings, output=str(output))
    output.mkdir()
    path = output / "job.json"
    path.write_text(job.to_json())
    command = [sys.executable, "-m", "blender_scripts.worker", str(path), "--parent", str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "", "standard output stays clean"
    return WorkerResult.from_json((output / "result.json").read_text())


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WorkerResult]:
    folder = tmp_path_factory.mktemp("worker") / "out"
    return folder, run_worker(folder, (99, 3, 9))


def test_files_events_and_failures(rendered: tuple[Path, WorkerResult]) -> None:
    folder, result = rendered
    assert result.done == (3, 9) and result.device == "cpu"
    (failure,) = result.failures
    assert failure.avatar == 99 and "square pixels" in failure.reason and "Traceback" in failure.log_tail
    events = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "failed", *["frame", "frame", "avatar"] * 2, "done"]
    for avatar in result.done:
        part = folder / f"a{avatar:06d}"
        record = RenderedAvatar.from_json((part / "avatar.json").read_text())
        assert {file.name for file in record.files} == {path.name for path in part.iterdir()} - {"avatar.json"}
        for file in record.files:
            assert hashlib.sha256((part / file.name).read_bytes()).hexdigest() == file.sha256
        assert set(record.seconds) == {"build", "scene", "first_frame", "frames", "write", "wait"}
        assert SampleRecord.from_json((part / f"a{avatar:06d}_v001.json").read_text()).camera == VIEWS[1].camera


def test_pixels_and_depth(rendered: tuple[Path, WorkerResult]) -> None:
    folder, _ = rendered
    for avatar in (3, 9):
        for view in VIEWS:
            stem = folder / f"a{avatar:06d}" / f"a{avatar:06d}_v{view.view:03d}"
            rgba = np.asarray(Image.open(f"{stem}.rgba.png"))
            depth = np.asarray(Image.open(f"{stem}.depth.png")).astype(float) * SETTINGS.depth_scale
            assert rgba.shape == (SIZE, SIZE, 4) and rgba.dtype == np.uint8
            alpha = rgba[..., 3]
            assert (rgba[alpha == 0] == 0).all() and 0.15 < (alpha == 255).mean() < 0.7
            border = np.concatenate((alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
            assert border.max() == 0
            assert (depth[alpha == 0] == 0).all() and (depth[alpha == 255] > 0).all()
            rows, columns = np.nonzero(depth > 0)
            pixels = np.stack((columns + 0.5, rows + 0.5, depth[rows, columns]), -1)
            points = view.camera.unproject(pixels)
            assert np.abs(points).max() < 1.02
            assert np.hypot(points[:, 0], points[:, 2]).max() < 1.0


def test_labels_agree_with_each_other(rendered: tuple[Path, WorkerResult]) -> None:
    folder, result = rendered
    assert 100 < result.peak_rss_mb < 8000
    for avatar in (3, 9):
        for view in VIEWS:
            stem = folder / f"a{avatar:06d}" / f"a{avatar:06d}_v{view.view:03d}"
            alpha = np.asarray(Image.open(f"{stem}.rgba.png"))[..., 3]
            normal = np.asarray(Image.open(f"{stem}.normal.png"))
            ids = np.asarray(Image.open(f"{stem}.segmentation.png"))
            assert normal.shape == (SIZE, SIZE, 3) and ids.shape == (SIZE, SIZE) and ids.dtype == np.uint8
            assert (normal[alpha == 0] == 0).all() and (ids[alpha == 0] == 0).all()
            assert (ids[alpha == 255] > 0).all() and ids.max() < len(SEGMENTATION_CLASSES)
            lengths = np.linalg.norm(normal[alpha == 255] / 127.5 - 1, axis=-1)
            np.testing.assert_allclose(lengths, 1, atol=0.01)
            record = SampleRecord.from_json(Path(f"{stem}.json").read_text())
            assert record.passes == SETTINGS.passes and record.sub_seed == 0 and record.landmarks is not None
            points, pixels = np.array(record.landmarks.points_world), np.array(record.landmarks.pixels)
            np.testing.assert_allclose(view.camera.project(points)[:, :2], pixels, atol=1e-3)
            # From in front the nose and the eyes are seen, from behind nothing of the face is.
            seen = np.array(record.landmarks.visible)
            assert seen[27:48].mean() > 0.8 if view.view == 0 else seen[17:].mean() < 0.1


def test_an_avatar_depends_on_neither_others_nor_threads_nor_labels(
    rendered: tuple[Path, WorkerResult], tmp_path: Path
) -> None:
    run_worker(tmp_path / "alone", (9,), threads=2, passes=RenderPasses(segmentation=True))
    names = [path.name for path in sorted((tmp_path / "alone" / "a000009").glob("*.png"))]
    assert len(names) == 3 * len(VIEWS)
    for name in names:
        assert (rendered[0] / "a000009" / name).read_bytes() == (tmp_path / "alone/a000009" / name).read_bytes(), name


REJECT_A_FRAME = """
import sys, os
from pathlib import Path
from blender_scripts import worker
from blender_scripts.job import sample
from blender_scripts.job.checks import Broken

sound, seen = sample.check_frame, []


def check_frame(rgba, depth, view):
    seen.append(view)
    if len(seen) == 2:
        raise Broken(f"view {view}: made up")
    sound(rgba, depth, view)


sample.check_frame = check_frame
code = worker.main([sys.argv[1]])
os._exit(code)
"""


def test_a_frame_that_a_check_rejects_is_followed_by_another_draw(
    rendered: tuple[Path, WorkerResult], tmp_path: Path
) -> None:
    other = draw_avatar(0, 9).model_copy(update={"sub_seed": 1})
    job = AvatarJob(avatar=3, spec=draw_avatar(0, 3), redraws=(other,), views=VIEWS, held_out=False)
    path = tmp_path / "job.json"
    path.write_text(RenderJob(shard=0, avatars=(job,), settings=SETTINGS, output=str(tmp_path)).to_json())
    command = [sys.executable, "-c", REJECT_A_FRAME, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert WorkerResult.from_json((tmp_path / "result.json").read_text()).done == (3,)
    record = RenderedAvatar.from_json((tmp_path / "a000003" / "avatar.json").read_text())
    assert record.sub_seed == 1 and [r.reason for r in record.rejections] == ["view 1: made up"]
    assert len(record.files) == len(sample_suffixes(SETTINGS.passes)) * len(VIEWS)
    assert {file.name for file in record.files} == {f.name for f in (tmp_path / "a000003").iterdir()} - {"avatar.json"}
    # It is avatar 9 under another number: the same pixels.
    for view in VIEWS:
        image = f"v{view.view:03d}.rgba.png"
        assert (tmp_path / "a000003" / f"a000003_{image}").read_bytes() == (
            rendered[0] / "a000009" / f"a000009_{image}"
        ).read_bytes()
        sample = SampleRecord.from_json((tmp_path / "a000003" / f"a000003_v{view.view:03d}.json").read_text())
        assert sample.sub_seed == 1 and sample.caption == other.caption


def test_a_broken_job_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text('{"shard": 0, "avatars": []')
    done = subprocess.run([sys.executable, "-m", "blender_scripts.worker", str(path)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no render job" in done.stderr


def test_it_leaves_when_its_parent_is_another(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blender_scripts.worker", str(tmp_path / "job.json"), "--parent", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == ""


MARKERS = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
from blender_scripts.scene import cycles
from blender_scripts.scene.camera import place_camera
from blender_scripts.geometry.material import Glow
from blender_scripts.geometry.parts import MeshPart
from blender_scripts.scene.passes import read_passes
from blender_scripts.scene.scene import make_scene
from blender_scripts.scene.frame import render_frame
from pipeline.contracts.appearance import LightSpec
from pipeline.contracts.camera import Camera
from pipeline.contracts.rendering import RenderSettings

points = np.array(json.loads(sys.argv[1])); cameras = [Camera.from_json(c) for c in json.loads(sys.argv[2])]
directions = np.concatenate((np.eye(3), -np.eye(3)))
faces = np.array([(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)])
parts = [MeshPart(
    name=f"m{i}", vertices=p + 0.02 * directions, faces=faces, material=Glow(), label=None, colours=np.ones((6, 3))
) for i, p in enumerate(points)]
scene = make_scene(parts, LightSpec(rig="softbox", azimuth_deg=0.0, warmth=0.0, strength=1.0), 1.0)
settings = RenderSettings(
    samples=64, denoise=False, max_bounces=0, extent_m=1.0, depth_scale=1e-4, threads=1, device="cpu"
)
cycles.configure(scene, settings, "cpu")
found = []
with tempfile.TemporaryDirectory() as folder:
    for camera in cameras:
        place_camera(scene, camera)
        render_frame(scene, Path(folder) / "f.exr")
        alpha = read_passes(Path(folder) / "f.exr").rgba[..., 3]
        rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
        for x, y, _ in camera.project(points):
            near = alpha * (np.hypot(rows - y, columns - x) < 6)
            found.append(((near * columns).sum() / near.sum() - x, (near * rows).sum() / near.sum() - y))
print("FOUND", json.dumps(found))
sys.stdout.flush()
import os; os._exit(0)
"""


def test_markers_are_seen_where_the_camera_projects_them() -> None:
    points = [[0.0, 0.0, 0.0], [0.6, 0.5, 0.2], [-0.5, 0.3, -0.4], [0.4, -0.6, 0.3]]
    square = Camera.look_at(orbit_position(20, 10, 4.6), np.zeros(3), fov_deg=30, width=96, height=96)
    tall = Camera.look_at(orbit_position(-70, 30, 4.0), np.zeros(3), fov_deg=40, width=80, height=112)
    shifted = square.model_copy(update={"cx": square.cx + 7.25, "cy": square.cy - 3.5})
    cameras = json.dumps([camera.to_json() for camera in (square, tall, shifted)])
    command = [sys.executable, "-c", MARKERS, json.dumps(points), cameras]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    error = np.linalg.norm(np.asarray(json.loads(line.removeprefix("FOUND "))), axis=1)
    assert error.mean() < 0.1 and error.max() < 0.25
