"""Light rigs, fixed to the avatar: area lights around the head and a graded sky behind everything."""

from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Vector

from blender_scripts.camera import to_blender
from pipeline.contracts.appearance import LightSpec
from pipeline.contracts.camera import orbit_position

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Lamp:
    """An area light that looks at the head."""

    azimuth_deg: float
    """From the rig's main direction."""
    elevation_deg: float
    distance: float
    """World units."""
    size: float
    """World units."""
    power: float
    """Watts of Blender's area light."""
    colour: Rgb = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Rig:
    """Lamps and sky."""

    lamps: tuple[Lamp, ...]
    zenith: Rgb
    horizon: Rgb
    ground: Rgb
    ambient: float


RIGS: Final[dict[str, Rig]] = {
    "softbox": Rig(
        (
            Lamp(32, 28, 5.0, 2.8, 420),
            Lamp(-45, 8, 5.5, 3.8, 190),
            Lamp(170, 40, 5.0, 1.8, 200),
        ),
        zenith=(0.95, 0.97, 1.0),
        horizon=(0.85, 0.85, 0.86),
        ground=(0.6, 0.58, 0.56),
        ambient=0.42,
    ),
    "window": Rig(
        (
            Lamp(55, 16, 4.2, 3.4, 400, (0.95, 0.98, 1.0)),
            Lamp(-70, 8, 6.0, 4.5, 170, (1.0, 0.94, 0.87)),
        ),
        zenith=(0.9, 0.92, 0.96),
        horizon=(0.8, 0.79, 0.78),
        ground=(0.55, 0.5, 0.46),
        ambient=0.48,
    ),
    "overcast": Rig(
        (Lamp(10, 48, 5.0, 5.0, 380, (0.97, 0.99, 1.0)), Lamp(0, -12, 5.5, 5.0, 90, (1.0, 0.97, 0.93))),
        zenith=(0.97, 1.0, 1.05),
        horizon=(0.8, 0.83, 0.86),
        ground=(0.45, 0.43, 0.4),
        ambient=0.66,
    ),
    "evening": Rig(
        (
            Lamp(58, 14, 5.0, 1.8, 340, (1.0, 0.87, 0.72)),
            Lamp(-35, 12, 5.5, 3.6, 230, (0.88, 0.94, 1.0)),
            Lamp(-150, 25, 5.0, 1.6, 160, (1.0, 0.9, 0.76)),
        ),
        zenith=(0.75, 0.84, 1.0),
        horizon=(0.95, 0.88, 0.8),
        ground=(0.5, 0.45, 0.42),
        ambient=0.46,
    ),
}


def make_lights(scene: Any, light: LightSpec) -> None:
    """Light the scene."""
    rig = RIGS[light.rig]
    tint = np.array((1 + 0.10 * light.warmth, 1.0, 1 - 0.12 * light.warmth))
    for number, lamp in enumerate(rig.lamps):
        data = bpy.data.lights.new(f"lamp {number}", "AREA")
        data.shape = "DISK"
        data.size = lamp.size
        data.energy = 0.88 * lamp.power * light.strength
        data.color = np.clip(np.asarray(lamp.colour) * tint, 0, 1.2).tolist()
        item = bpy.data.objects.new(data.name, data)
        position = orbit_position(light.azimuth_deg + lamp.azimuth_deg, lamp.elevation_deg, lamp.distance)
        position = position + np.array((0, 0.2, 0))
        where = Vector(to_blender(position).tolist())
        item.location = where
        item.rotation_euler = (-where + Vector((0, 0, 0.2))).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(item)
    _make_sky(scene, rig, light.strength)


def _make_sky(scene: Any, rig: Rig, strength: float) -> None:
    world = bpy.data.worlds.new("sky")
    scene.world = world
    world.use_nodes = True
    # A smooth sky needs no fine importance map: the automatic one takes 2.7 s to build.
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 32
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    coordinate = nodes.new("ShaderNodeTexCoord")
    split = nodes.new("ShaderNodeSeparateXYZ")
    ramp = nodes.new("ShaderNodeValToRGB")
    height = nodes.new("ShaderNodeMapRange")
    height.inputs["From Min"].default_value = -1.0
    background = nodes.new("ShaderNodeBackground")
    output = nodes.new("ShaderNodeOutputWorld")
    stops = ((0.0, rig.ground), (0.48, rig.ground), (0.52, rig.horizon), (1.0, rig.zenith))
    while len(ramp.color_ramp.elements) < len(stops):
        ramp.color_ramp.elements.new(0.5)
    for element, (position, colour) in zip(ramp.color_ramp.elements, stops, strict=True):
        element.position = position
        element.color = (*colour, 1.0)
    background.inputs["Strength"].default_value = rig.ambient * strength
    links.new(coordinate.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Z"], height.inputs["Value"])
    links.new(height.outputs[0], ramp.inputs[0])
    links.new(ramp.outputs[0], background.inputs["Color"])
    links.new(background.outputs[0], output.inputs[0])
