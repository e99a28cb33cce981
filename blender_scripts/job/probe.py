"""One small frame of a trivial scene: proves that Blender imports, renders and writes here."""

import tempfile
from pathlib import Path

import numpy as np

from blender_scripts.geometry.material import Glow
from blender_scripts.geometry.parts import MeshPart
from blender_scripts.scene import cycles
from blender_scripts.scene.camera import place_camera
from blender_scripts.scene.frame import render_frame
from blender_scripts.scene.passes import read_passes
from blender_scripts.scene.scene import make_scene
from pipeline.contracts.appearance import LightSpec
from pipeline.contracts.camera import Camera
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.rendering import RenderSettings


def render_probe() -> str:
    """Render a square in front of the camera at 64 pixels; returns the device, raises ``ResourceError``."""
    corners = np.array(((-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)), float)
    square = MeshPart(
        name="square",
        vertices=corners,
        faces=np.array(((0, 1, 2, 3),)),
        material=Glow(),
        label=None,
        colours=np.ones((4, 3)),
    )
    scene = make_scene((square,), LightSpec(rig="softbox", azimuth_deg=0.0, warmth=0.0, strength=1.0), 1.0)
    settings = RenderSettings(
        samples=4, denoise=True, max_bounces=1, extent_m=1.0, depth_scale=1e-4, threads=1, device="auto"
    )
    device = cycles.choose_device("auto")
    cycles.configure(scene, settings, device)
    place_camera(scene, Camera.look_at(np.array((0, 0, 5.0)), np.zeros(3), fov_deg=30, width=64, height=64))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.exr"
        render_frame(scene, path)
        passes = read_passes(path)
    if not (passes.rgba[32, 32, 3] > 0.99 and abs(passes.depth[32, 32] - 5) < 1e-3 and passes.rgba[0, 0, 3] == 0):
        raise ResourceError(f"Blender renders wrongly on {device}: the probe's middle pixel is {passes.rgba[32, 32]}")
    return device
