"""Labels against what Cycles' own position pass says of each pixel, never through our projection alone.

Positions are rendered with a filter so narrow that every sample goes through its pixel's centre; where on the image a
landmark lies is then found by searching the positions for the point, and inverting them around it.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from blender_scripts.body.landmarks import landmark_points, observe_landmarks
from blender_scripts.person import build_person
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.conventions import SEGMENTATION_CLASSES
from pipeline.io.shards import decode_normals
from pipeline.people.draw import draw_avatar

pytestmark = [pytest.mark.blender, pytest.mark.slow]

EXTENT_M, AVATAR = 0.25, 9
FACE = np.array((0.0, 0.1, 0.3))
CAMERAS = {
    "square, 30 degrees": Camera.look_at(orbit_position(10, 5, 4.6), np.zeros(3), fov_deg=30, width=448, height=448),
    "wide image, long lens": Camera.look_at(orbit_position(-25, -5, 6.0), FACE, fov_deg=12, width=400, height=288),
    "tall image, short lens": Camera.look_at(orbit_position(20, 15, 2.6), FACE, fov_deg=45, width=360, height=480),
    "shifted centre": Camera.look_at(orbit_position(5, 20, 4.0), FACE, fov_deg=25, width=448, height=432).model_copy(
        update={"cx": 236.75, "cy": 205.5}
    ),
}

SCRIPT = """
import json, os, sys, tempfile
from pathlib import Path
import numpy as np
import OpenEXR
from blender_scripts.body.landmarks import landmark_points
from blender_scripts.scene import cycles
from blender_scripts.scene.camera import from_blender, place_camera
from blender_scripts.scene.passes import encode_normal, encode_rgba, read_passes
from blender_scripts.person import build_person
from blender_scripts.scene.scene import make_scene
from blender_scripts.scene.segmentation import encode_segmentation
from blender_scripts.scene.frame import render_frame
from pipeline.people.draw import draw_avatar
from pipeline.contracts.camera import Camera
from pipeline.contracts.rendering import RenderPasses, RenderSettings

avatar, extent, out = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
cameras = [Camera.from_json(text) for text in json.loads(sys.argv[4])]
spec = draw_avatar(0, avatar)
settings = RenderSettings(
    samples=1, denoise=False, max_bounces=0, extent_m=extent, depth_scale=1e-4, threads=1, device="cpu",
    passes=RenderPasses(normal=True, segmentation=True, landmarks=True),
)
found = {}
parts = build_person(spec)
skin = parts[:1]
marks = landmark_points(parts[0])[0] / extent
for name, width, kept in (("centre", 0.01, parts), ("shipped", 1.5, parts), ("skin", 0.01, skin), ("fine", 0.01, skin)):
    scene = make_scene(kept, spec.light, extent)
    cycles.configure(scene, settings, "cpu")
    scene.view_layers[0].use_pass_position = True
    for number, camera in enumerate(cameras):
        if name == "fine":
            enlarged = ("width", "height", "fx", "fy", "cx", "cy")
            camera = camera.model_copy(update={key: 4 * getattr(camera, key) for key in enlarged})
        place_camera(scene, camera)
        # Of the enlarged picture, what the landmarks are in.
        low, high = camera.project(marks)[:, :2].min(0) - 20, camera.project(marks)[:, :2].max(0) + 20
        inside = np.zeros((camera.height, camera.width), bool)
        inside[int(low[1]) + 2 : int(high[1]) - 2, int(low[0]) + 2 : int(high[0]) - 2] = True
        scene.render.use_border, scene.render.use_crop_to_border = name == "fine", False
        scene.render.border_min_x, scene.render.border_max_x = low[0] / camera.width, high[0] / camera.width
        scene.render.border_min_y, scene.render.border_max_y = 1 - high[1] / camera.height, 1 - low[1] / camera.height
        scene.cycles.pixel_filter_type = "GAUSSIAN" if width < 1 else "BLACKMAN_HARRIS"
        scene.cycles.filter_width = width
        path = out / "frame.exr"
        render_frame(scene, path)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {key.split(".", 1)[1]: channel.pixels for key, channel in file.channels().items()}
        position = from_blender(np.stack([channels[f"Position.{axis}"] for axis in "XYZ"], -1))
        passes = read_passes(path)
        rgba = encode_rgba(passes.rgba)
        if name == "fine":
            depth = np.where(inside, passes.depth, np.inf)
            found |= {f"{number} fine position": position, f"{number} fine depth": depth}
            continue
        found |= {
            f"{number} {name} position": position,
            f"{number} {name} depth": passes.depth,
            f"{number} {name} alpha": rgba[..., 3],
            f"{number} {name} normal": encode_normal(passes.normal, camera, rgba[..., 3]),
            f"{number} {name} segmentation": encode_segmentation(passes.coverage, rgba[..., 3]),
        }
np.savez(out / "found.npz", **found)
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("pixels")
    cameras = json.dumps([camera.to_json() for camera in CAMERAS.values()])
    command = [sys.executable, "-c", SCRIPT, str(AVATAR), str(EXTENT_M), str(folder), cameras]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(np.load(folder / "found.npz"))


@pytest.fixture(scope="module")
def landmarks() -> tuple[np.ndarray, np.ndarray]:
    points, normals = landmark_points(build_person(draw_avatar(0, AVATAR))[0])
    return points / EXTENT_M, normals


def locate(position: np.ndarray, depth: np.ndarray, points: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Pixel coordinates of world points, and their distances from the rendered surface, from positions alone."""
    seen = np.argwhere(np.isfinite(depth))
    _, nearest = cKDTree(position[tuple(seen.T)]).query(points)
    return [_inverted(position, depth, point, *seen[index]) for point, index in zip(points, nearest, strict=True)]


def _inverted(
    position: np.ndarray, depth: np.ndarray, point: np.ndarray, row: int, column: int
) -> tuple[np.ndarray, float]:
    """The place of a point among the nine positions around the pixel that shows the nearest one."""
    rows, columns = (axis.ravel() for axis in np.mgrid[row - 1 : row + 2, column - 1 : column + 2])
    around = np.linalg.norm(position[rows, columns] - point, axis=-1)
    around = np.where(np.isfinite(depth[rows, columns]), around, np.inf)
    near = around < 4 * max(around.min(), np.median(around))
    pixels = np.stack((columns, rows), -1)[near] + 0.5
    values = position[rows, columns][near] - point
    # position - point = affine (pixel): its zero is where the point is seen.
    affine, *_ = np.linalg.lstsq(np.column_stack((pixels, np.ones(len(pixels)))), values, rcond=None)
    place, *_ = np.linalg.lstsq(affine[:2].T, -affine[2], rcond=None)
    return place, float(np.linalg.norm(place @ affine[:2] + affine[2]))


@pytest.mark.parametrize("number", range(len(CAMERAS)), ids=list(CAMERAS))
def test_every_pixel_lies_where_the_camera_says(found: dict[str, np.ndarray], number: int) -> None:
    camera = list(CAMERAS.values())[number]
    position, depth = found[f"{number} centre position"], found[f"{number} centre depth"]
    rows, columns = np.nonzero(np.isfinite(depth))
    assert len(rows) > 10_000
    projected = camera.project(position[rows, columns])
    error = np.hypot(projected[:, 0] - columns - 0.5, projected[:, 1] - rows - 0.5)
    # The filter still moves each sample by up to half of 0.01 pixels.
    assert error.mean() < 0.01 and error.max() < 0.03


@pytest.mark.parametrize("name", ["centre", "shipped"])
@pytest.mark.parametrize("number", range(len(CAMERAS)), ids=list(CAMERAS))
def test_depth_is_the_position_along_the_cameras_axis(found: dict[str, np.ndarray], number: int, name: str) -> None:
    camera = list(CAMERAS.values())[number]
    position, depth = found[f"{number} {name} position"], found[f"{number} {name} depth"]
    seen = np.isfinite(depth)
    matrix = camera.matrix()
    z = (position[seen] - matrix[:3, 3]) @ matrix[:3, 2]
    assert np.abs(z - depth[seen]).max() < 2e-5


@pytest.mark.parametrize("number", range(len(CAMERAS)), ids=list(CAMERAS))
def test_landmarks_are_seen_where_they_are_said_to_be(
    found: dict[str, np.ndarray], landmarks: tuple[np.ndarray, np.ndarray], number: int
) -> None:
    camera = list(CAMERAS.values())[number]
    # The skin alone: strands would hide points on brows and lids from the search, not from the camera. Folds of lids
    # and lips bend within a pixel, so the search is in the same picture rendered four times as large.
    told = observe_landmarks(*landmarks, camera, found[f"{number} skin depth"])
    position, depth = found[f"{number} fine position"], found[f"{number} fine depth"]
    places = locate(position, depth, landmarks[0])
    distance = np.array([d for _, d in places])
    error = np.array([np.hypot(*(place / 4 - pixel)) for (place, _), pixel in zip(places, told.pixels, strict=True)])
    pixel = np.linalg.norm(landmarks[0] - camera.matrix()[:3, 3], axis=1) / camera.fx
    on_surface = distance < 0.1 * pixel
    visible = np.array(told.visible)
    sure = visible & on_surface
    # Of a closed mouth the inner lips' points lie up to TOLERANCE behind the lips' line, where no pixel can show them.
    assert visible.sum() >= 45 and sure.sum() >= visible.sum() - 8
    assert error[visible].mean() < 0.1
    assert np.median(error[visible]) < 0.03


def test_a_landmark_moved_by_a_pixel_would_be_found_out(
    found: dict[str, np.ndarray], landmarks: tuple[np.ndarray, np.ndarray]
) -> None:
    camera = CAMERAS["square, 30 degrees"]
    told = observe_landmarks(*landmarks, camera, found["0 centre depth"])
    point = landmarks[0][30] + np.array((4.6 / camera.fx, 0, 0))
    ((place, _),) = locate(found["0 centre position"], found["0 centre depth"], point[None])
    assert np.hypot(*(place - told.pixels[30])) > 0.7


def test_normals_are_those_of_the_positions(found: dict[str, np.ndarray]) -> None:
    for number, camera in enumerate(CAMERAS.values()):
        position, depth = found[f"{number} centre position"], found[f"{number} centre depth"]
        ids = found[f"{number} centre segmentation"]
        across, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
        normal = np.cross(down, across) @ camera.matrix()[:3, :3]
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        seen = np.isfinite(depth) & np.isin(ids, [SEGMENTATION_CLASSES.index(c) for c in ("skin", "garment")])
        inner = seen & (np.abs(np.gradient(np.where(seen, depth, 9), axis=0)) < 0.02)
        inner &= np.abs(np.gradient(np.where(seen, depth, 9), axis=1)) < 0.02
        told = decode_normals(found[f"{number} centre normal"])
        angle = np.degrees(np.arccos(np.clip((told * normal).sum(-1)[inner], -1, 1)))
        assert inner.sum() > 5000
        # Bumps of pores and knitting are in the told normals only.
        assert np.median(angle) < 12, np.median(angle)
        assert (told[inner][:, 2] < 0.3).mean() > 0.98, "surfaces that are seen face the camera: z points away from it"


def test_classes_are_where_the_landmarks_say(
    found: dict[str, np.ndarray], landmarks: tuple[np.ndarray, np.ndarray]
) -> None:
    camera, ids = CAMERAS["square, 30 degrees"], found["0 centre segmentation"]
    told = observe_landmarks(*landmarks, camera, found["0 centre depth"])

    def share(name: str, points: np.ndarray) -> float:
        columns, rows = np.floor(points).astype(int).T
        return float((ids[rows, columns] == SEGMENTATION_CLASSES.index(name)).mean())

    pixels = np.array(told.pixels)
    eyes = np.stack([pixels[36:42].mean(0), pixels[42:48].mean(0)])
    assert share("eyes", eyes) == 1
    assert share("lips", (pixels[[50, 51, 52]] + pixels[[61, 62, 63]]) / 2) == 1
    assert share("skin", pixels[27:31]) == 1, "the bridge of the nose"
    assert share("background", np.array([[1.0, 1.0], [camera.width - 2.0, 1.0]])) == 1
    assert set(np.unique(ids)) <= set(range(len(SEGMENTATION_CLASSES)))
    assert ((ids == 0) == (found["0 centre alpha"] == 0)).mean() > 0.999
