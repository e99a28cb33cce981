"""Light rigs, fixed to the avatar: area lights around the head and a graded sky behind everything."""

import math
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Vector

from blender_scripts.scene.camera import to_blender
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
class Patch:
    """A soft bright or coloured part of the surroundings: a window, a wall, the sun's side of the sky."""

    azimuth_deg: float
    """From the rig's main direction."""
    elevation_deg: float
    inner_deg: float
    outer_deg: float
    """Full inside the one angle, nothing outside the other."""
    colour: Rgb
    """Added to the sky; above 1 is bright."""


@dataclass(frozen=True)
class Rig:
    """Lamps and surroundings."""

    lamps: tuple[Lamp, ...]
    zenith: Rgb
    horizon: Rgb
    ground: Rgb
    ambient: float
    patches: tuple[Patch, ...] = ()


RIGS: Final[dict[str, Rig]] = {
    "softbox": Rig(
        (
            Lamp(32, 28, 5.0, 2.8, 420),
            Lamp(-45, 8, 5.5, 3.8, 150),
            Lamp(170, 40, 5.0, 1.8, 200),
        ),
        zenith=(0.95, 0.97, 1.0),
        horizon=(0.85, 0.85, 0.86),
        ground=(0.6, 0.58, 0.56),
        ambient=0.35,
    ),
    "window": Rig(
        (
            Lamp(55, 16, 4.2, 3.4, 450, (0.95, 0.98, 1.0)),
            Lamp(-70, 8, 6.0, 4.5, 115, (1.0, 0.94, 0.87)),
        ),
        zenith=(0.9, 0.92, 0.96),
        horizon=(0.8, 0.79, 0.78),
        ground=(0.55, 0.5, 0.46),
        ambient=0.37,
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
            Lamp(58, 14, 5.0, 1.8, 410, (1.0, 0.87, 0.72)),
            Lamp(-35, 12, 5.5, 3.6, 160, (0.88, 0.94, 1.0)),
            Lamp(-150, 25, 5.0, 1.6, 160, (1.0, 0.9, 0.76)),
        ),
        zenith=(0.75, 0.84, 1.0),
        horizon=(0.95, 0.88, 0.8),
        ground=(0.5, 0.45, 0.42),
        ambient=0.38,
    ),
    "rim": Rig(
        (
            Lamp(28, 22, 5.0, 2.6, 330),
            Lamp(-50, 6, 5.5, 3.6, 150),
            Lamp(145, 22, 4.5, 1.4, 330, (1.0, 0.96, 0.9)),
            Lamp(-145, 22, 4.5, 1.4, 330, (0.9, 0.95, 1.0)),
        ),
        zenith=(0.85, 0.87, 0.9),
        horizon=(0.75, 0.75, 0.78),
        ground=(0.5, 0.5, 0.52),
        ambient=0.32,
    ),
    "clamshell": Rig(
        (Lamp(0, 38, 4.6, 2.6, 360), Lamp(0, -28, 4.8, 2.6, 170), Lamp(180, 35, 5.0, 2.0, 130)),
        zenith=(0.95, 0.95, 0.97),
        horizon=(0.88, 0.88, 0.88),
        ground=(0.7, 0.69, 0.68),
        ambient=0.35,
    ),
    "shade": Rig(
        (Lamp(20, 35, 5.5, 4.5, 230, (0.93, 0.97, 1.0)),),
        zenith=(0.75, 0.88, 1.1),
        horizon=(0.82, 0.86, 0.9),
        ground=(0.34, 0.36, 0.27),
        ambient=0.58,
        patches=(Patch(25, 40, 20, 75, (1.1, 1.15, 1.25)), Patch(-140, 15, 15, 55, (0.5, 0.42, 0.3))),
    ),
    "room": Rig(
        (Lamp(40, 30, 4.5, 2.4, 240, (1.0, 0.95, 0.87)),),
        zenith=(0.72, 0.69, 0.65),
        horizon=(0.62, 0.58, 0.53),
        ground=(0.36, 0.29, 0.23),
        ambient=0.54,
        patches=(
            Patch(48, 14, 16, 40, (2.4, 2.5, 2.7)),
            Patch(-60, 5, 25, 70, (0.35, 0.27, 0.2)),
            Patch(-10, 70, 12, 35, (1.4, 1.25, 1.0)),
        ),
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
        data.energy = 0.96 * lamp.power * light.strength
        data.color = np.clip(np.asarray(lamp.colour) * tint, 0, 1.2).tolist()
        item = bpy.data.objects.new(data.name, data)
        position = orbit_position(light.azimuth_deg + lamp.azimuth_deg, lamp.elevation_deg, lamp.distance)
        position = position + np.array((0, 0.2, 0))
        where = Vector(to_blender(position).tolist())
        item.location = where
        item.rotation_euler = (-where + Vector((0, 0, 0.2))).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(item)
    _make_sky(scene, rig, light)


def _make_sky(scene: Any, rig: Rig, light: LightSpec) -> None:
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
    background.inputs["Strength"].default_value = rig.ambient * light.strength
    links.new(coordinate.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Z"], height.inputs["Value"])
    links.new(height.outputs[0], ramp.inputs[0])
    colour = ramp.outputs[0]
    for patch in rig.patches:
        facing = nodes.new("ShaderNodeVectorMath")
        facing.operation = "DOT_PRODUCT"
        direction = orbit_position(light.azimuth_deg + patch.azimuth_deg, patch.elevation_deg, 1.0)
        facing.inputs[1].default_value = to_blender(direction).tolist()
        links.new(coordinate.outputs["Generated"], facing.inputs[0])
        amount = nodes.new("ShaderNodeMapRange")
        amount.interpolation_type = "SMOOTHSTEP"
        amount.inputs["From Min"].default_value = math.cos(math.radians(patch.outer_deg))
        amount.inputs["From Max"].default_value = math.cos(math.radians(patch.inner_deg))
        links.new(facing.outputs["Value"], amount.inputs["Value"])
        glow = nodes.new("ShaderNodeVectorMath")
        glow.operation = "SCALE"
        glow.inputs[0].default_value = patch.colour
        links.new(amount.outputs[0], glow.inputs["Scale"])
        total = nodes.new("ShaderNodeVectorMath")
        links.new(colour, total.inputs[0])
        links.new(glow.outputs[0], total.inputs[1])
        colour = total.outputs[0]
    links.new(colour, background.inputs["Color"])
    links.new(background.outputs[0], output.inputs[0])
