"""Skin: the colour, roughness and furrows of every vertex, from melanin, haemoglobin, age and where it lies.

Regions are drawn on the base shape in decimetres (``Topology.rest``): eyes at y 7.28, mouth at y 6.6, nose tip at
(0, 6.95, 1.65).
"""

import numpy as np

from blender_scripts.body.body import Body, topology
from blender_scripts.body.relief import blob
from blender_scripts.body.skin_line import lines, noise
from blender_scripts.geometry.arrays import Floats, Ints, linear, smoothstep
from blender_scripts.geometry.mesh import waves
from pipeline.contracts.appearance import MakeupSpec, SkinSpec
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

TONES = (
    (0.00, (0.92, 0.765, 0.69)),
    (0.20, (0.875, 0.70, 0.605)),
    (0.45, (0.765, 0.57, 0.445)),
    (0.65, (0.585, 0.415, 0.31)),
    (0.85, (0.42, 0.285, 0.21)),
    (1.00, (0.30, 0.20, 0.15)),
)
"""Diffuse sRGB of skin at amounts of melanin."""


def skin_tone(skin: SkinSpec) -> Floats:
    """Linear colour of skin with little blood."""
    stops = np.asarray([amount for amount, _ in TONES])
    tones = np.stack([linear(tone) for _, tone in TONES])
    return np.stack([np.interp(skin.melanin, stops, tones[:, c]) for c in range(3)])


def paint_skin(
    spec: AvatarSpec, body: Body, scalp: Floats, beard: Floats, brow: Floats, hair: Floats
) -> dict[str, Floats]:
    """Vertex fields 'colour' (linear), 'roughness', 'freckle', and 'phase' and 'depth' of ``skin_line``.

    ``scalp``, ``beard`` and ``brow`` are how densely hair grows at each vertex, ``hair`` is its linear colour: skin is
    tinted under hair, which hides the gaps between strands.
    """
    skin, rest, masks = spec.skin, body.topology.rest, body.topology.masks
    rng = generator_for(spec.seed, 0, "skin")
    tone = skin_tone(skin)
    colour = np.repeat(tone[None], len(rest), 0)
    fair = 1 - skin.melanin
    blood = (
        0.5 * blob(rest, (0.42, 6.93, 1.3), (0.2, 0.2, 0.4))
        + 0.45 * blob(rest, (0.0, 6.98, 1.65), (0.14, 0.13, 0.25))
        + 0.75 * np.clip(masks["ears"], 0, 1)
        + 0.3 * blob(rest, (0.0, 6.2, 1.45), (0.2, 0.15, 0.3))
        + 0.35 * blob(rest, (0.3, 7.16, 1.4), (0.2, 0.07, 0.25))
        + 0.7 * smoothstep(0.2, 1.0, masks["eyelids"])
    )
    worn = float(smoothstep(8, 45, np.asarray(spec.age_years)))
    patches = 0.10 * noise(rng, "broad") + (0.03 + 0.035 * worn) * (noise(rng, "slow") + noise(rng, "blotch"))
    blood = np.clip(blood + patches, 0, 1.2) * (0.3 + 0.9 * skin.haemoglobin)
    flush = np.array((1.02, 0.70, 0.68)) if skin.melanin < 0.5 else np.array((1.0, 0.80, 0.78))
    colour = colour * (1 + blood[:, None] * (flush - 1))
    flushed = 0.6 * skin.blush + (0.5 * spec.makeup.cheeks if spec.makeup is not None else 0.0)
    cheeks = blob(rest, (0.44, 6.92, 1.25), (0.17, 0.14, 0.4)) * flushed
    colour = colour * (1 - cheeks[:, None] * (1 - flush))
    uneven = (0.015 + 0.02 * worn) * noise(rng, "slow") + (0.012 + 0.018 * worn) * noise(rng, "blotch")
    uneven += (0.015 + 0.025 * worn) * noise(rng, "speck")
    colour = colour * np.exp(uneven[:, None] * np.array((0.8, 1.0, 1.25)))
    shade = 0.20 * blob(rest, (0.27, 7.14, 1.42), (0.15, 0.05, 0.3)) * (0.25 + 0.45 * worn + 0.7 * skin.wrinkles)
    shade += 0.12 * smoothstep(0.2, 1.0, masks["eyelids"])
    shade += 0.30 * np.clip(-body.folds / 0.001, 0, 1)
    # The crease of the upper lid and the wings of the nose.
    shade += 0.10 * blob(rest, (0.30, 7.385, 1.42), (0.12, 0.022, 0.3)) + 0.16 * blob(
        rest, (0.17, 6.90, 1.45), (0.03, 0.05, 0.15)
    )
    colour = colour * (1 - shade[:, None] * np.array((0.8, 1.0, 0.95)))
    if skin.moles:
        colour = colour * (1 - _moles(rest, rng, skin.moles)[:, None] * np.array((0.55, 0.72, 0.8)))
    if skin.wrinkles > 0.4:
        spots = smoothstep(1.5, 2.2, waves(rest, rng, np.array((3.2, 3.2, 3.2)), 24)) * (skin.wrinkles - 0.4)
        colour = colour * (1 - 0.4 * spots[:, None] * np.array((0.5, 0.8, 1.0)))
    lips = smoothstep(0.25, 0.85, masks["lips"])[:, None]
    lip_tone = tone * np.array((0.86, 0.56, 0.56)) * (1 + 0.1 * fair)
    if spec.gender < 0.5 or spec.age_years < 14:
        lip_tone = lip_tone * np.array((1.0, 0.84, 0.87))
    else:
        lip_tone = 0.55 * lip_tone + 0.45 * tone * np.array((0.92, 0.72, 0.7))
    colour = colour * (1 - 0.85 * lips) + 0.85 * lips * lip_tone
    if spec.makeup is not None:
        colour = _made_up(colour, rest, masks, spec.makeup)
    mouth = smoothstep(0.3, 0.9, masks["inside-mouth"])[:, None]
    colour = colour * (1 - mouth) + mouth * np.array((0.22, 0.05, 0.05))
    cover = np.clip(0.85 * scalp, 0, 1)[:, None]
    colour = colour * (1 - cover) + cover * (0.6 * hair + 0.12 * tone)
    brows = (0.30 * spec.brows.density * brow)[:, None]
    colour = colour * (1 - brows) + brows * (0.6 * hair + 0.2 * tone)
    shadow = np.clip(beard, 0, 1)[:, None]
    colour = colour * (1 - shadow) + shadow * (0.55 * hair + 0.25 * tone * np.array((0.85, 0.95, 1.05)))
    oily = blob(rest, (0.0, 7.0, 1.6), (0.16, 0.3, 0.3)) + blob(rest, (0.0, 7.8, 1.5), (0.4, 0.2, 0.4))
    roughness = 0.60 - 0.16 * skin.gloss * (0.6 + 0.8 * oily) + 0.02 * noise(rng, "slow")
    roughness -= (0.17 + (0.08 * spec.makeup.lips if spec.makeup is not None else 0.0)) * lips[:, 0]
    phase, depth = lines(spec, rest)
    return {
        "colour": np.clip(colour, 0.002, 0.95),
        "roughness": roughness,
        "phase": phase,
        "depth": depth,
        "freckle": _freckled(rest, skin.freckles),
    }


def skin_labels(faces: Ints) -> dict[str, Floats]:
    """Each segmentation class's share (face,) of the skin's faces: skin, lips, and what lines the mouth."""
    masks = topology().masks
    lips = masks["lips"][faces].mean(1) > 0.5
    mouth = (masks["inside-mouth"][faces].mean(1) > 0.5) & ~lips
    return {"lips": lips.astype(float), "mouth interior": mouth.astype(float), "skin": (~lips & ~mouth).astype(float)}


def _made_up(colour: Floats, rest: Floats, masks: dict[str, Floats], makeup: MakeupSpec) -> Floats:
    """Lipstick, shadow on the lids, a line along the lashes."""
    lips = smoothstep(0.35, 0.8, masks["lips"])[:, None] * makeup.lips
    colour = colour * (1 - lips) + lips * linear(makeup.lip_colour)
    lid = np.maximum(
        0.8 * blob(rest, (0.31, 7.40, 1.40), (0.12, 0.05, 0.3)), 0.6 * smoothstep(0.3, 1.0, masks["eyelids"])
    )
    shadow = (0.75 * makeup.eyes * np.clip(lid, 0, 1) * (rest[:, 1] > 7.27))[:, None]
    colour = colour * (1 - shadow) + shadow * linear(makeup.shadow_colour)
    rim = blob(rest, (0.31, 7.335, 1.405), (0.10, 0.012, 0.05))
    return np.asarray(colour * (1 - 0.8 * makeup.eyes * np.clip(rim, 0, 1))[:, None])


def _moles(rest: Floats, rng: np.random.Generator, count: int) -> Floats:
    """Single dark spots on face and neck, 0..1."""
    spots = np.zeros(len(rest))
    front = np.flatnonzero((rest[:, 2] > 0.6) & (rest[:, 1] > 5.9) & (rest[:, 1] < 8.0) & (np.abs(rest[:, 0]) < 0.85))
    for centre in rest[rng.choice(front, count)]:
        size = rng.uniform(0.006, 0.014)
        spots = np.maximum(spots, np.exp(-0.5 * (((rest - centre) / size) ** 2).sum(1)))
    return spots


def _freckled(rest: Floats, amount: float) -> Floats:
    """Where freckles lie, 0..1: across the nose and cheeks. Each spot is the shader's."""
    nose = np.exp(-0.5 * ((rest[:, 0] / 0.45) ** 2 + ((rest[:, 1] - 7.0) / 0.2) ** 2)) * (rest[:, 2] > 0.7)
    return np.asarray(amount * np.clip(nose + 0.12 * (rest[:, 2] > 0.6), 0, 1))
