"""Blender's camera from an OpenCV one. The only place where the world's axes are turned into Blender's."""

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from blender_scripts.geometry.arrays import Floats
from pipeline.contracts.camera import Camera, swap_opengl
from pipeline.contracts.errors import DataError

TURN = np.array(((1.0, 0, 0), (0, 0, -1.0), (0, 1.0, 0)))
"""World (y up) to Blender (z up): (x, y, z) becomes (x, -z, y)."""
SENSOR_MM = 36.0


def to_blender(points_world: Floats) -> Floats:
    """(..., 3) in the world's axes to Blender's."""
    return np.asarray(points_world @ TURN.T)


def from_blender(vectors: Floats) -> Floats:
    """The inverse of :func:`to_blender`."""
    return np.asarray(vectors @ TURN)


def make_camera(scene: Any) -> Any:
    """Add the scene's one camera."""
    data = bpy.data.cameras.new("camera")
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = SENSOR_MM
    data.clip_start, data.clip_end = 0.01, 100.0
    camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def place_camera(scene: Any, camera: Camera) -> None:
    """Move the scene's camera; raises ``DataError`` for pixels that are not square."""
    if not math.isclose(camera.fx, camera.fy, rel_tol=1e-9):
        raise DataError(f"camera has fx {camera.fx} and fy {camera.fy}: only square pixels can be rendered")
    width, height = camera.width, camera.height
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    data = scene.camera.data
    data.lens = camera.fx * SENSOR_MM / width
    data.shift_x = (width / 2 - camera.cx) / width
    data.shift_y = (camera.cy - height / 2) / width
    world = np.eye(4)
    world[:3] = TURN @ swap_opengl(camera.matrix())[:3]
    scene.camera.matrix_world = Matrix(world.tolist())
