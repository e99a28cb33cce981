"""Captures in the NeRF layout of scenes that Blender makes: sky and lamp, cameras, files.

Cameras stand on the upper half of a sphere; pictures have a transparent background. A picture of 200 pixels takes
two and a half seconds of two cores. Needs bpy.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

CAMERA_ANGLE_X = 0.6911112
DISTANCE = 4.03


def material(name: str, colour: tuple[float, float, float], roughness: float, metallic: float) -> Any:
    """A plain surface; colour is linear."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    return made


def light_and_film(side: int, samples: int) -> Any:
    """The sky, a sun, and how Cycles renders; returns the camera."""
    scene = bpy.context.scene
    world = bpy.data.worlds.new("sky")
    scene.world = world
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.9, 0.95, 1.0, 1)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.7
    bpy.ops.object.light_add(type="AREA", location=(2.5, -2.0, 3.5))
    lamp = bpy.context.object
    lamp.data.energy, lamp.data.size = 220, 1.2
    lamp.rotation_euler = (-lamp.location).to_track_quat("-Z", "Y").to_euler()
    scene.render.engine = "CYCLES"
    # As of photographs that were larger and are made smaller; Blender's own filter smears over one and a half pixels.
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_adaptive_sampling = "CPU", samples, False
    scene.cycles.use_denoising, scene.cycles.max_bounces, scene.cycles.seed = True, 4, 0
    scene.render.resolution_x = scene.render.resolution_y = side
    scene.render.film_transparent, scene.render.use_persistent_data = True, True
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.angle_x = CAMERA_ANGLE_X
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def pose(azimuth: float, elevation: float) -> Matrix:
    """Camera to world (OpenGL axes) of a camera that looks at the origin; angles in radians."""
    flat = math.cos(elevation)
    place = DISTANCE * Vector((flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)))
    return Matrix.Translation(place) @ (-place).to_track_quat("-Z", "Y").to_matrix().to_4x4()


def poses(train: int, test: int) -> dict[str, list[Matrix]]:
    """Training cameras anywhere on the upper half, evenly by area; held-out ones on a circle that climbs and falls."""
    generator = np.random.default_rng(1)
    places = [
        (float(generator.uniform(0, 2 * math.pi)), math.asin(float(generator.uniform(0.02, 0.99))))
        for _ in range(train)
    ]
    circle = [(2 * math.pi * i / test, math.radians(30 + 25 * math.sin(4 * math.pi * i / test))) for i in range(test)]
    return {"train": [pose(*place) for place in places], "test": [pose(*place) for place in circle]}


def write_capture(folder: Path, build: Callable[[], None], *, train: int, test: int, side: int, samples: int) -> None:
    """Make the scene anew and photograph it into ``folder``: ``transforms_*.json`` and RGBA pictures."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    build()
    camera = light_and_film(side, samples)
    for split, matrices in poses(train, test).items():
        frames = []
        for number, matrix in enumerate(matrices):
            camera.matrix_world = matrix
            bpy.context.scene.render.filepath = str((folder / split / f"r_{number}.png").resolve())
            bpy.ops.render.render(write_still=True)
            frames.append({"file_path": f"./{split}/r_{number}", "transform_matrix": [list(row) for row in matrix]})
        document = {"camera_angle_x": CAMERA_ANGLE_X, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(document, indent=1) + "\n")


def capture_arguments(description: str | None) -> argparse.ArgumentParser:
    """Folder, views, side and samples, as every script that makes a capture has them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=90)
    parser.add_argument("--test", type=int, default=10)
    parser.add_argument("--side", type=int, default=200, help="of the pictures, in pixels")
    parser.add_argument("--samples", type=int, default=128, help="Cycles samples a pixel, denoised")
    return parser
