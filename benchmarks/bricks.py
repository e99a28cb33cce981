"""A capture in the NeRF layout that is hard where planes are weak: studs, holes, thin rods, gloss, many small parts.

    python -m benchmarks.bricks FOLDER [--train 90] [--test 10] [--side 200] [--samples 128]

A machine of toy bricks on a studded plate, made of boxes, cylinders and rings only: it needs no download.
Cameras and pictures are those of :mod:`benchmarks.blender_capture`.
"""

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from benchmarks.blender_capture import capture_arguments, material, write_capture

PITCH = 0.1
"""Side of a brick's unit, in the scene's units."""
HEIGHT = 0.12
COLOURS = {
    "yellow": ((0.90, 0.55, 0.02), 0.25, 0.0),
    "red": ((0.65, 0.03, 0.02), 0.2, 0.0),
    "blue": ((0.03, 0.10, 0.45), 0.3, 0.0),
    "plate": ((0.20, 0.22, 0.20), 0.45, 0.0),
    "grey": ((0.30, 0.31, 0.33), 0.3, 0.0),
    "black": ((0.012, 0.012, 0.014), 0.35, 0.0),
    "steel": ((0.70, 0.70, 0.72), 0.15, 1.0),
    "glass": ((0.35, 0.75, 0.80), 0.08, 0.0),
}
"""Base colour (linear), roughness, metallic."""


class Builder:
    """Adds parts to the scene; positions are in the scene's units, z up."""

    def __init__(self) -> None:
        self.materials = {name: material(name, *look) for name, look in COLOURS.items()}

    def box(self, colour: str, low: tuple[float, ...], high: tuple[float, ...], bevel: float = 0.006) -> Any:
        """A box between two corners, its edges rounded."""
        middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        bpy.ops.mesh.primitive_cube_add(size=1, location=middle)
        made = bpy.context.object
        made.scale = [b - a for a, b in zip(low, high, strict=True)]
        bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
        rounding = made.modifiers.new("rounding", "BEVEL")
        rounding.width, rounding.segments = bevel, 2
        return self._finish(made, colour)

    def rod(self, colour: str, begin: tuple[float, ...], end: tuple[float, ...], radius: float) -> Any:
        """A cylinder from point to point."""
        a, b = Vector(begin), Vector(end)
        bpy.ops.mesh.primitive_cylinder_add(radius=radius, depth=(b - a).length, location=(a + b) / 2, vertices=32)
        made = bpy.context.object
        made.rotation_euler = (b - a).to_track_quat("Z", "Y").to_euler()
        return self._finish(made, colour, smooth=True)

    def ring(self, colour: str, centre: tuple[float, ...], radius: float, thickness: float) -> Any:
        """A torus that stands, its axis along y."""
        bpy.ops.mesh.primitive_torus_add(
            location=centre,
            rotation=(math.pi / 2, 0, 0),
            major_radius=radius,
            minor_radius=thickness,
            major_segments=48,
            minor_segments=16,
        )
        return self._finish(bpy.context.object, colour, smooth=True)

    def brick(self, colour: str, x: float, y: float, z: float, nx: int, ny: int, height: float = HEIGHT) -> None:
        """A brick of nx x ny units with studs on it; x and y count units, z is where it stands."""
        low = (x * PITCH, y * PITCH, z)
        self.box(colour, low, ((x + nx) * PITCH - 0.003, (y + ny) * PITCH - 0.003, z + height))
        for i in range(nx):
            for j in range(ny):
                at = ((x + i + 0.5) * PITCH, (y + j + 0.5) * PITCH)
                self.rod(colour, (*at, z + height - 0.01), (*at, z + height + 0.022), 0.03)

    def beam(self, colour: str, x: float, y: float, z: float, length: int) -> None:
        """A beam along x with a hole through each unit, across it."""
        low, high = (x * PITCH, y * PITCH + 0.01, z), ((x + length) * PITCH, (y + 1) * PITCH - 0.01, z + HEIGHT)
        made = self.box(colour, low, high)
        for i in range(length):
            at = ((x + i + 0.5) * PITCH, z + HEIGHT / 2)
            hole = self.rod(colour, (at[0], low[1] - 0.05, at[1]), (at[0], high[1] + 0.05, at[1]), 0.032)
            hole.hide_render = True
            cut = made.modifiers.new("hole", "BOOLEAN")
            cut.operation, cut.object, cut.solver = "DIFFERENCE", hole, "EXACT"

    def _finish(self, made: Any, colour: str, smooth: bool = False) -> Any:
        made.data.materials.append(self.materials[colour])
        if smooth:
            bpy.ops.object.shade_smooth_by_angle(angle=0.7)
        return made


def build_machine(builder: Builder) -> None:
    """A loader on a plate."""
    builder.brick("plate", -10, -7, -0.36, 20, 14, 0.04)
    for y in (-4, 3):
        for x in (-5, -1, 3):
            centre = ((x + 0.5) * PITCH, (y + 0.5) * PITCH, -0.18)
            builder.ring("black", centre, 0.10, 0.04)
            builder.rod(
                "steel", (centre[0], centre[1] - 0.06, centre[2]), (centre[0], centre[1] + 0.06, centre[2]), 0.06
            )
            for spoke in range(6):
                turn = spoke * math.pi / 3
                tip = (centre[0] + 0.1 * math.cos(turn), centre[1], centre[2] + 0.1 * math.sin(turn))
                builder.rod("red", centre, tip, 0.014)
        builder.beam("grey", -7, y + (1 if y < 0 else -1), -0.16, 13)
    builder.brick("grey", -6, -2, -0.12, 11, 4)
    builder.brick("yellow", -6, -3, 0.0, 6, 6)
    builder.brick("yellow", -6, -2, 0.12, 3, 4)
    builder.brick("black", 0, -2, 0.0, 2, 4)
    for x, y in ((-3, -3), (-3, 2), (0, -3), (0, 2)):
        builder.rod(
            "black", (x * PITCH + 0.05, y * PITCH + 0.05, 0.1), (x * PITCH + 0.05, y * PITCH + 0.05, 0.5), 0.018
        )
    builder.box("glass", (-0.28, -0.27, 0.22), (-0.26, 0.27, 0.42))
    builder.brick("red", -4, -3, 0.5, 5, 6, 0.05)
    builder.brick("blue", -2, -1, 0.12, 2, 2, 0.06)
    for side in (-3, 2):
        across = (side + 0.5) * PITCH
        builder.beam("yellow", 2, side, 0.06, 6)
        builder.rod("steel", (0.1, across + 0.07, 0.12), (0.72, across + 0.07, 0.28), 0.014)
        builder.rod("steel", (0.15, across, 0.45), (0.80, across, 0.14), 0.011)
    for along in np.linspace(-0.32, 0.32, 9):
        builder.rod("grey", (0.80, float(along), 0.14), (0.98, float(along), -0.12), 0.012)
    builder.rod("grey", (0.80, -0.34, 0.14), (0.80, 0.34, 0.14), 0.02)
    builder.box("yellow", (0.96, -0.36, -0.2), (1.0, 0.36, -0.1))
    for post in (-0.55, -0.45):
        builder.rod("steel", (post, 0.15, 0.24), (post, 0.15, 0.75), 0.012)
        builder.ring("red", (post, 0.15, 0.78), 0.035, 0.01)
    builder.rod("black", (-0.2, -0.1, 0.55), (-0.05, -0.25, 0.95), 0.006)
    generator = np.random.default_rng(0)
    for _ in range(26):
        x, y = int(generator.integers(-10, 9)), int(generator.choice((-7, -6, 5, 6)))
        colour = str(generator.choice(("red", "blue", "yellow", "steel", "glass")))
        builder.brick(colour, x, y, -0.32, 1, 1, float(generator.choice((0.05, 0.12))))


def main() -> None:
    """Build, render, write."""
    write_capture(build=lambda: build_machine(Builder()), **vars(capture_arguments(__doc__).parse_args()))


if __name__ == "__main__":
    main()
