"""Cycles: device, sampling, film."""

from typing import Any

import bpy

from blender_scripts.scene.segmentation import pass_name
from pipeline.contracts.conventions import SEGMENTATION_CLASSES
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.rendering import RenderSettings


def choose_device(wanted: str) -> str:
    """Enable a GPU for Cycles, or none; returns 'optix', 'cuda' or 'cpu'. Raises if a wanted GPU is not there."""
    candidates = {"auto": ("OPTIX", "CUDA"), "cpu": (), "optix": ("OPTIX",), "cuda": ("CUDA",)}[wanted]
    preferences: Any = bpy.context.preferences.addons["cycles"].preferences
    for kind in candidates:
        try:
            preferences.compute_device_type = kind
        except TypeError:  # this build of Blender has no such back end
            continue
        preferences.refresh_devices()
        devices = [device for device in preferences.devices if device.type == kind]
        if devices:
            for device in preferences.devices:
                device.use = device.type == kind
            return kind.lower()
    if wanted in ("optix", "cuda"):
        raise ResourceError(f"render.device is {wanted!r}, and Blender finds no such GPU; use 'auto' or 'cpu'")
    preferences.compute_device_type = "NONE"
    return "cpu"


def configure(scene: Any, settings: RenderSettings, device: str) -> None:
    """Set everything of the renderer that does not depend on the view."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU" if device == "cpu" else "GPU"
    cycles.samples = settings.samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = settings.denoise
    if settings.denoise:
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        cycles.denoising_prefilter = "FAST"
        cycles.denoising_use_gpu = False
    cycles.max_bounces = settings.max_bounces
    cycles.diffuse_bounces = settings.max_bounces
    cycles.glossy_bounces = settings.max_bounces
    cycles.transmission_bounces = settings.max_bounces
    cycles.transparent_max_bounces = 8
    cycles.caustics_reflective = False
    cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 3.0
    cycles.use_light_tree = False
    cycles.use_animated_seed = False
    scene.cycles_curves.shape = "RIBBONS"
    render = scene.render
    render.film_transparent = True
    render.use_persistent_data = True
    render.threads_mode = "FIXED"
    render.threads = settings.threads
    render.use_compositing = False
    render.use_sequencer = False
    render.use_file_extension = False
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.image_settings.color_depth = "32"
    render.image_settings.exr_codec = "NONE"
    layer = scene.view_layers[0]
    # Landmarks and checks read depth even where no depth.png is wanted; it costs nothing measurable.
    layer.use_pass_z = True
    layer.use_pass_normal = settings.passes.normal
    for name in SEGMENTATION_CLASSES[1:] if settings.passes.segmentation else ():
        aov = layer.aovs.add()
        aov.name, aov.type = pass_name(name), "VALUE"


def seed_view(scene: Any, seed: int) -> None:
    """The sampling pattern of the next frame: a function of avatar and view, never of what was rendered before."""
    scene.cycles.seed = seed % (2**31 - 1)
