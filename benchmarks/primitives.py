"""Captures in the NeRF layout of Blender's own primitives with procedural textures.

    python -m benchmarks.primitives FOLDER [--scene suzanne|still_life] [--train 90] [--test 10] [--side 200]

``suzanne`` is one matt head with cells of many colours; ``still_life`` a cone of bricks, a chequered cube and a
polished torus on a striped plate. Cameras and pictures are those of :mod:`benchmarks.blender_capture`.
"""

from collections.abc import Callable
from typing import Any

import bpy

from benchmarks.blender_capture import capture_arguments, material, write_capture


def textured(name: str, texture: str, scale: float, *, roughness: float = 0.6, **colours: tuple[float, ...]) -> Any:
    """A surface whose colour a texture node of Blender's gives; ``colours`` are inputs of the node, linear."""
    made = material(name, (0.8, 0.8, 0.8), roughness, 0.0)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    place, pattern = nodes.new("ShaderNodeTexCoord"), nodes.new(f"ShaderNodeTex{texture}")
    pattern.inputs["Scale"].default_value = scale
    for socket, colour in colours.items():
        pattern.inputs[socket].default_value = (*colour, 1.0)
    links.new(place.outputs["Object"], pattern.inputs["Vector"])
    links.new(pattern.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    return made


def add(primitive: Callable[..., Any], surface: Any, *, smooth: bool = True, **where: Any) -> None:
    """One primitive of ``bpy.ops.mesh`` with its surface."""
    primitive(**where)
    bpy.context.object.data.materials.append(surface)
    if smooth:
        bpy.ops.object.shade_smooth_by_angle(angle=0.7)


def suzanne() -> None:
    """Blender's monkey, smooth, in cells of many colours."""
    add(bpy.ops.mesh.primitive_monkey_add, textured("cells", "Voronoi", 5.0), size=1.6, rotation=(-0.6, 0, 0.4))
    rounding = bpy.context.object.modifiers.new("rounding", "SUBSURF")
    rounding.render_levels = 2


def still_life() -> None:
    """A cone, a cube and a torus on a plate."""
    mesh = bpy.ops.mesh
    stripes = textured("stripes", "Wave", 4.0)
    add(mesh.primitive_cylinder_add, stripes, radius=0.95, depth=0.06, location=(0, 0, -0.45), vertices=96)
    bricks = textured("bricks", "Brick", 4.0, Color1=(0.5, 0.1, 0.05), Color2=(0.7, 0.3, 0.1), Mortar=(0.8, 0.8, 0.7))
    add(mesh.primitive_cone_add, bricks, radius1=0.35, depth=1.0, location=(-0.4, 0.35, 0.08), vertices=64)
    squares = textured("squares", "Checker", 8.0, Color1=(0.02, 0.1, 0.5), Color2=(0.9, 0.85, 0.7))
    add(mesh.primitive_cube_add, squares, smooth=False, size=0.5, location=(0.45, 0.3, -0.17), rotation=(0, 0, 0.5))
    polished = textured("polished", "Magic", 3.0, roughness=0.15)
    add(
        mesh.primitive_torus_add,
        polished,
        location=(0.05, -0.42, -0.12),
        rotation=(1.2, 0.2, 0),
        major_radius=0.3,
        minor_radius=0.09,
        major_segments=96,
        minor_segments=32,
    )


SCENES = {"suzanne": suzanne, "still_life": still_life}


def main() -> None:
    """Build, render, write."""
    parser = capture_arguments(__doc__)
    parser.add_argument("--scene", choices=SCENES, default="suzanne")
    chosen = vars(parser.parse_args())
    write_capture(build=SCENES[chosen.pop("scene")], **chosen)


if __name__ == "__main__":
    main()
