"""What stages will take, from the configuration alone: tasks, disk, hours of a CPU core."""

from collections.abc import Iterable

from pipeline.config.models import TrainingConfig, UNetConfig
from pipeline.config.run import RunConfig
from pipeline.driver.survey import StageState
from pipeline.run.stage_table import STAGES

# CPU seconds measured on one core of a 2.6 GHz server, in the units that each stage is counted in.
RENDER_S_PER_AVATAR = 5.0
RENDER_S_PER_MEGASAMPLE = 2.2
FIT_S_PER_MEGASAMPLE = 2.0
OWN_S_PER_MEGASAMPLE = 4.95
OWN_S_PER_MEGANUMBER = 0.0076
"""Of planes, at full resolution; steps that see coarse ones are reckoned in."""
OWN_SHOW_S_PER_MEGASAMPLE = 0.42
OWN_OTHER_S = 10.0
"""Reading the photographs, carving the hull, writing what came of it."""
DRAW_S_PER_MEGASAMPLE = 1.0
TRAIN_S_PER_GIGATEXEL_CHANNEL = 8.0
TRANSFORMER_S_PER_GIGAMAC = 0.06
DENSE_S_PER_GIGAMAC = 0.1
CONVOLUTION_S_PER_GIGAMAC = 0.025
READ_S_PER_PICTURE = 0.01
OTHER_REQUESTS = 3
"""Avatars that ``generate`` makes besides those from noise: from a portrait, an edit and a text."""
PASSES = 3
"""Forward and backward, over forward alone."""


def disk_bytes(config: RunConfig, stages: Iterable[str], states: dict[str, StageState]) -> dict[str, int]:
    """Bytes that each stage will write, estimated from the configuration."""
    render, planes = config.render, config.planes
    pixels = render.resolution**2 * render.num_views
    avatars_left = {s: states[s].total - states[s].done for s in ("render", "fit")}
    texels = 3 * planes.channels * (planes.resolution**2 + planes.base_resolution**2)
    unet = config.base.unet
    base_parameters = sum(2 * unet.blocks * 2 * 9 * 3 * (unet.width * m) ** 2 for m in unet.multipliers)
    estimates = {
        # Measured: RGBA and depth together take 2.1 bytes a pixel; a shard holds parts and tar while it is published.
        "render": int(2.1 * pixels * (avatars_left["render"] + render.shard_size)),
        "decoder": 4 * texels * 4 * config.decoder.avatars,
        "fit": 2 * texels * avatars_left["fit"],
        # Planes, their moments and one checkpoint of each avatar in work; planes and a few pictures stay.
        "own": (2 * texels + 4 * 2**20) * (states["own"].total - states["own"].done) + 12 * texels,
        "base": 4 * 4 * base_parameters,
        "upsampler": 4 * base_parameters,
    }
    return {stage: estimates.get(stage, 50 * 2**20) for stage in stages if states[stage].word != "done"}


def num_tasks(config: RunConfig, stages: Iterable[str]) -> int:
    """Ray tasks that the stages are."""
    shards = config.render.num_shards
    counts = {"render": shards, "fit": shards, "own": config.render.num_avatars}
    return sum(counts.get(stage, 1) for stage in stages)


def own_steps(config: RunConfig, minutes: float) -> int:
    """Steps of a fit with a decoder of its own that, measured and shown, takes ``minutes`` on ``fit.threads`` cores.

    They follow from the configuration and measured rates alone, so that the same command always makes the same fit;
    how long it takes elsewhere is what differs.
    """
    cores = config.fit.threads
    left_s = 60.0 * minutes - OWN_OTHER_S - OWN_SHOW_S_PER_MEGASAMPLE * _shown_megasamples(config) / cores
    return max(1, round(left_s * cores / _own_step_s(config)))


def _own_step_s(config: RunConfig) -> float:
    """CPU seconds of one step."""
    meganumbers = 3 * config.planes.channels * config.planes.resolution**2 / 1e6
    return OWN_S_PER_MEGASAMPLE * _fit_megasamples(config) + OWN_S_PER_MEGANUMBER * meganumbers


def _shown_megasamples(config: RunConfig) -> float:
    """Of held-out views and turntable."""
    own, side = config.own, config.render.resolution
    views = min(own.held_out_views, config.render.held_out_views) * (side * own.supersample) ** 2
    turntable = own.turntable_views * min(side, own.turntable_side) ** 2
    return float((views + turntable) * config.fit.render_samples / 1e6)


def _fit_megasamples(config: RunConfig) -> float:
    """Of one step of any fit."""
    return config.fit.rays * config.fit.samples / 1e6


def estimated_cpu_hours(config: RunConfig) -> dict[str, float]:
    """Hours of one CPU core for each stage done from the start, to within a factor of about two."""
    render = config.render
    megasamples = render.num_views * render.resolution**2 * render.samples / 1e6
    fit_step_s = FIT_S_PER_MEGASAMPLE * _fit_megasamples(config)
    seconds = {
        "render": render.num_avatars * (RENDER_S_PER_AVATAR + RENDER_S_PER_MEGASAMPLE * megasamples),
        "decoder": len(config.decoder_avatars()) * config.decoder.steps_per_avatar * fit_step_s,
        "fit": render.num_avatars * config.fit.steps * fit_step_s,
        "own": render.num_avatars * config.own.steps * _own_step_s(config),
        "clip": _items(config.clip) * PASSES * _clip_s(config),
        "encode": render.num_avatars * (1 + config.train.mirror) * (READ_S_PER_PICTURE + _clip_s(config)),
        "base": _items(config.base) * PASSES * _unet_s(config.base.unet, config.planes.base_resolution),
        "upsampler": _items(config.upsampler) * PASSES * _unet_s(config.upsampler.unet, config.planes.resolution),
        "latent": _items(config.latent) * PASSES * _latent_s(config),
        "frontal": _items(config.frontal) * PASSES * _unet_s(config.frontal.unet, config.frontal.side, planes=1),
        "head": _items(config.head) * PASSES * _unet_s(config.head.unet, config.head.side, planes=1),
        "refiner": _items(config.refiner) * PASSES * _refiner_s(config, config.refiner.input_side)
        + render.num_avatars
        * (1 + min(config.refiner.views_per_avatar, render.train_views))
        * _draw_s(config.refiner.input_side, config.refiner.samples),
        "generate": (config.generate.num + OTHER_REQUESTS) * _avatar_s(config),
        "evaluate": (render.num_avatars + config.generate.num)
        * config.evaluate.images_per_avatar
        * (READ_S_PER_PICTURE + _clip_s(config)),
    }
    return {stage: seconds[stage] / 3600 for stage in STAGES}


def _items(training: TrainingConfig) -> int:
    return training.steps * training.batch * training.accumulate


def _unet_s(unet: UNetConfig, side: int, planes: int = 3) -> float:
    """CPU seconds of one forward pass of one item."""
    # Each level has a quarter of the texels of the one before.
    channels = sum((unet.width * m) ** 2 / 4**level for level, m in enumerate(unet.multipliers))
    work = planes * (side // unet.patch) ** 2 * channels * unet.blocks / 1e9
    return float(work * TRAIN_S_PER_GIGATEXEL_CHANNEL / PASSES)


def _clip_s(config: RunConfig) -> float:
    clip = config.clip
    tokens = (clip.image_size // clip.patch_size) ** 2 + 1 + clip.max_tokens
    return TRANSFORMER_S_PER_GIGAMAC * 12 * clip.width**2 * clip.layers * tokens / 1e9


def _latent_s(config: RunConfig) -> float:
    # A block: width to three times width for modulation, to twice width, and back.
    return DENSE_S_PER_GIGAMAC * 7 * config.latent.width**2 * config.latent.layers / 1e9


def _refiner_s(config: RunConfig, side: int) -> float:
    refiner = config.refiner
    # Kernels of 3 x 3: about five of a level's width in a block, down and up; two at each doubled side.
    inside = sum(
        45 * refiner.blocks * (refiner.width * m) ** 2 / 4**level for level, m in enumerate(refiner.multipliers)
    )
    doublings = range(1, refiner.scale.bit_length())
    enlarging = sum(18 * max(refiner.width >> i, 16) ** 2 * 4**i for i in doublings)
    return float(CONVOLUTION_S_PER_GIGAMAC * side**2 * (inside + enlarging) / 1e9)


def _draw_s(side: int, samples: int) -> float:
    """CPU seconds of one picture of planes."""
    return DRAW_S_PER_MEGASAMPLE * side**2 * samples / 1e6


def _avatar_s(config: RunConfig) -> float:
    """CPU seconds of a generated avatar with its turntable."""
    generate, planes = config.generate, config.planes
    drawn = generate.base_steps * _unet_s(config.base.unet, planes.base_resolution)
    drawn += generate.upsampler_steps * _unet_s(config.upsampler.unet, planes.resolution)
    view = _draw_s(generate.image_side, generate.samples) + _refiner_s(config, generate.image_side)
    return drawn + generate.views * view
