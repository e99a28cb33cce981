"""A Blender scene from parts."""

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from blender_scripts.geometry.parts import MeshPart, Part, StrandPart
from blender_scripts.scene.camera import make_camera, to_blender
from blender_scripts.scene.lights import make_lights
from blender_scripts.scene.materials import make_material
from blender_scripts.scene.segmentation import pass_name
from pipeline.contracts.appearance import LightSpec


def make_scene(parts: Sequence[Part], light: LightSpec, extent_m: float) -> Any:
    """Empty Blender and build the avatar's scene, in world units; configure the renderer afterwards."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    for part in parts:
        item = _add_mesh(part, extent_m) if isinstance(part, MeshPart) else _add_strands(part, extent_m)
        material = make_material(part.material, extent_m)
        _write_classes(material, part)
        item.data.materials.append(material)
        scene.collection.objects.link(item)
    make_lights(scene, light)
    make_camera(scene)
    return scene


def _write_classes(material: Any, part: Part) -> None:
    """Have the shader write the part's class into that class's AOV pass; Cycles drops it where there is none."""
    tree = material.node_tree
    if part.label is None:
        return
    names = list(part.face_labels) if isinstance(part, MeshPart) else []
    for each in names or [part.label]:
        output = tree.nodes.new("ShaderNodeOutputAOV")
        output.aov_name = pass_name(each)
        output.inputs["Value"].default_value = 1.0
        if names:
            attribute = tree.nodes.new("ShaderNodeAttribute")
            attribute.attribute_name = pass_name(each)
            tree.links.new(attribute.outputs["Fac"], output.inputs["Value"])


def _add_mesh(part: MeshPart, extent_m: float) -> Any:
    assert np.isfinite(part.vertices).all(), part.name
    mesh = bpy.data.meshes.new(part.name)
    count, size = part.faces.shape
    mesh.vertices.add(len(part.vertices))
    mesh.vertices.foreach_set("co", _flat(to_blender(part.vertices / extent_m)))
    mesh.loops.add(count * size)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(part.faces.reshape(-1), np.int32))
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, count * size, size, dtype=np.int32))
    mesh.update(calc_edges=True)
    _set_colour(mesh, "POINT", part.colours)
    for name, values in part.fields.items():
        kind, key = ("FLOAT", "value") if values.ndim == 1 else ("FLOAT_VECTOR", "vector")
        mesh.attributes.new(name, kind, "POINT").data.foreach_set(key, _flat(values))
    for name, values in part.face_labels.items():
        assert len(values) == count, f"{part.name} has lost or gained faces"
        mesh.attributes.new(pass_name(name), "FLOAT", "FACE").data.foreach_set("value", _flat(values))
    mesh.shade_smooth()
    item = bpy.data.objects.new(part.name, mesh)
    item.visible_shadow = part.shadow
    return item


def _add_strands(part: StrandPart, extent_m: float) -> Any:
    assert np.isfinite(part.points).all(), part.name
    count, size = part.points.shape[:2]
    curves = bpy.data.hair_curves.new(part.name)
    curves.add_curves([size] * count)
    curves.points.foreach_set("position", _flat(to_blender(part.points.reshape(-1, 3) / extent_m)))
    curves.points.foreach_set("radius", _flat(part.radii / extent_m))
    _set_colour(curves, "CURVE", part.colours)
    return bpy.data.objects.new(part.name, curves)


def _set_colour(data: Any, domain: str, colours: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    rgba = np.concatenate((colours, np.ones((len(colours), 1))), 1)
    data.attributes.new("colour", "FLOAT_COLOR", domain).data.foreach_set("color", _flat(rgba))


def _flat(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(values, np.float32).reshape(-1)
