"""How much memory the fits take, as a function of the configuration, and whether that is there.

Bytes of one process at its worst moment. With

    N   pixels of an avatar's training views, ``train_views * resolution^2``; N' those of its held-out views
    v   bytes a pixel of a photograph in memory: 4, and 4 more for depth where it is a guide
    p   bytes a pixel of the pool of rays: an 8-byte index for each that can show the avatar, at most half of them
    T   bytes of an avatar's planes in float32, ``3 * R^2 * channels * 4``
    G   cells of a grid over the cube, ``hull_resolution^3``: hull and occupied (1 byte each), density (4)
    S   bytes of a step: rays * samples * 4 * (what a sample keeps for the gradient: features, their embedding and
        what comes back to them, the layers) and rays * (sqrt 3 * hull_resolution pieces) * 40 to place the samples
    E   bytes of measuring: 4096 rays * render_samples * 4 * (what the decoder holds of a sample), or 420 bytes a pixel
        of one view for its SSIM, whichever is more; N' * 3 * 48; and 64^3 * 80 to find where the planes hold matter

    fit      base + G * 20 + max(N (v + 13),  N (v + p) + 12 T + S,  N' v + 5 T + E)       for one avatar;
             a batch has the first two in the maximum as many times, and G
    decoder  base + own (4 T + 6 G) + 14 G + held N (4 + p) + max(N (v + 13), 9 T + 2 S, N' v + E), where a worker has
             own = avatars / workers avatars and holds held = min(avatars_in_memory, own) avatars' photographs

13 bytes a pixel are the masks and their summed areas while a hull is carved; reading takes less. Of a fit's 12 planes
four last (value, gradient, two moments); the others are what regularisers, resizing and the scatter make on the way.
The joint fit keeps value and moments of all its avatars and stacks their values once, at the end. Its steps keep twice
as much for the decoder's own gradient. ``base`` is the interpreter with torch, zarr and Ray. The factors were measured
(EXPERIMENTS.md, benchmarks/memory.py): the peak is between 0.5 and 1.0 of the function.
"""

import math
from typing import Final

from pipeline.config.run import RunConfig

BASE: Final = 512 * 2**20
"""Resident size of a worker that has imported everything and done nothing."""
FLOAT: Final = 4
EVALUATED_RAYS: Final = 4096
"""Rays that a picture is rendered by at a time."""
NOISE_BANK: Final = 16 * 2**20

Terms = dict[str, int]
"""Bytes by what they are for."""

PHOTOGRAPHS, PLANES, STEP, GRIDS, MEASURING = "photographs", "planes", "a step", "grids", "measuring"


def fit_bytes(config: RunConfig, *, batch: int = 1) -> int:
    """Most memory of fitting ``batch`` avatars at once under the frozen decoder."""
    return sum(fit_terms(config, batch=batch).values())


def decoder_bytes(config: RunConfig) -> int:
    """Most memory of one worker of the joint fit."""
    return sum(decoder_terms(config).values())


def own_bytes(config: RunConfig) -> int:
    """Most memory of fitting one avatar with a decoder of its own."""
    return sum(own_terms(config).values())


def fit_terms(config: RunConfig, *, batch: int = 1) -> Terms:
    """What :func:`fit_bytes` is made of, by what it is for, at the worst of a fit's moments."""
    pixels, photograph = _train_pixels(config), _photograph(config)
    grids = 20 * _cells(config) * batch
    return _worst(
        {PHOTOGRAPHS: batch * pixels * (photograph + 13), GRIDS: grids},
        {
            PHOTOGRAPHS: batch * pixels * (photograph + _POOL),
            PLANES: batch * 12 * _planes(config),
            STEP: batch * _step(config) + NOISE_BANK,
            GRIDS: grids,
        },
        {
            PHOTOGRAPHS: _held_out_pixels(config) * photograph,
            PLANES: (batch + 4) * _planes(config),
            MEASURING: _measuring(config),
            GRIDS: grids,
        },
    )


def decoder_terms(config: RunConfig) -> Terms:
    """What :func:`decoder_bytes` is made of."""
    return _joint_terms(config, -(-config.decoder.avatars // config.decoder.workers))


def own_terms(config: RunConfig) -> Terms:
    """What :func:`own_bytes` is made of."""
    return _joint_terms(config, 1)


def _joint_terms(config: RunConfig, own: int) -> Terms:
    pixels, photograph = _train_pixels(config), _photograph(config)
    held = min(config.decoder.avatars_in_memory, own) * pixels * (4 + _POOL)
    planes, grids = 4 * own * _planes(config), (6 * own + 14) * _cells(config)
    return _worst(
        {PHOTOGRAPHS: held + pixels * (photograph + 13), PLANES: planes, GRIDS: grids},
        {PHOTOGRAPHS: held, PLANES: planes + 9 * _planes(config), STEP: 2 * _step(config) + NOISE_BANK, GRIDS: grids},
        {
            PHOTOGRAPHS: held + _held_out_pixels(config) * photograph,
            PLANES: planes,
            MEASURING: _measuring(config),
            GRIDS: grids,
        },
    )


_POOL: Final = 4
"""Bytes of the pool of rays per pixel: 8 for every second one."""


def _worst(*moments: Terms) -> Terms:
    return {"the program": BASE} | max(moments, key=lambda terms: sum(terms.values()))


def _train_pixels(config: RunConfig) -> int:
    return config.render.train_views * config.render.resolution**2


def _held_out_pixels(config: RunConfig) -> int:
    return config.render.held_out_views * config.render.resolution**2


def _photograph(config: RunConfig) -> int:
    return 8 if config.fit.depth and config.render.passes.depth else 4


def _planes(config: RunConfig) -> int:
    return 3 * config.planes.resolution**2 * config.planes.channels * FLOAT


def _cells(config: RunConfig) -> int:
    return config.fit.hull_resolution**3


def _step(config: RunConfig) -> int:
    decoder, fit = config.decoder, config.fit
    features = config.planes.channels * (2 + 2 * decoder.frequencies)
    of_sample = 2 * features + 3 * (decoder.hidden + decoder.colour_hidden) + 36
    pieces = math.ceil(math.sqrt(3) * fit.hull_resolution)
    return fit.rays * (fit.samples * of_sample * FLOAT + pieces * 40)


def _measuring(config: RunConfig) -> int:
    decoder, fit = config.decoder, config.fit
    features = config.planes.channels * (2 + 2 * decoder.frequencies)
    of_sample = 2 * features + decoder.hidden + decoder.colour_hidden + 36
    rays = min(EVALUATED_RAYS, config.render.resolution**2)
    pieces = math.ceil(math.sqrt(3) * 64)
    rendering = rays * (fit.render_samples * of_sample * FLOAT + pieces * 40)
    similarity = 420 * config.render.resolution**2
    return max(rendering, similarity) + _held_out_pixels(config) * 3 * 48 + 64**3 * 80
