"""Brows, lashes, beards and moustaches: short strands on regions drawn on the base shape (decimetres)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.body.makehuman import find_assets
from blender_scripts.geometry.arrays import Floats, smoothstep, unit
from blender_scripts.geometry.mesh import waves
from blender_scripts.geometry.parts import StrandPart
from blender_scripts.geometry.strand import at_places, clump, frizz, scatter, taper
from blender_scripts.hair.colour import pigment, strand_colours
from pipeline.contracts.appearance import FacialHairStyle
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

Place = Literal["cheeks and chin", "lip", "chin", "middle of the chin", "corners", "sideburns", "jaw"]
"""Parts of the face that facial hair grows on: :func:`beard_region`."""
WHOLE: Final[tuple[Place, ...]] = ("cheeks and chin", "lip", "sideburns")
"""Where a full beard grows, and what a shaved man's trace shows of one."""


@dataclass(frozen=True, kw_only=True)
class Beard:
    """Numbers of one style."""

    grows: tuple[Place, ...] = WHOLE
    strands: int
    longest_m: float
    trimmed_m: float = math.inf
    """What is longer is cut off."""
    shadow: float
    """How much of the skin below is tinted."""
    shadow_by_length: float = 0.0
    """How much more of it at full length."""
    radius_m: float
    lift: float = 0.75
    """How steeply hairs leave the skin, 0..1."""
    even: bool = False
    """As long everywhere, and each hair by itself: too short to be otherwise."""
    waxed: bool = False
    """Over the lip swept outwards, the tips turning up."""


BEARDS: Final[dict[FacialHairStyle, Beard]] = {
    "stubble": Beard(
        strands=5200, longest_m=0.0016, shadow=0.34, shadow_by_length=0.2, radius_m=0.00014, even=True,
    ),
    "moustache": Beard(grows=("lip",), strands=1700, longest_m=0.0085, shadow=0.42, radius_m=0.00022),
    "handlebar": Beard(grows=("lip",), strands=1900, longest_m=0.011, shadow=0.42, radius_m=0.00022, waxed=True),
    "goatee": Beard(
        grows=("lip", "chin", "corners"), strands=3000, longest_m=0.013, shadow=0.45, radius_m=0.00023,
    ),
    "van dyke": Beard(
        grows=("lip", "middle of the chin"), strands=2600, longest_m=0.015, shadow=0.45, radius_m=0.00023,
    ),
    "chin curtain": Beard(
        grows=("jaw", "sideburns"), strands=6200, longest_m=0.012, shadow=0.42, radius_m=0.00024,
    ),
    "sideburns": Beard(grows=("sideburns",), strands=3000, longest_m=0.009, shadow=0.36, radius_m=0.00022),
    "short": Beard(strands=10500, longest_m=0.0055, trimmed_m=0.007, shadow=0.44, radius_m=0.00019, lift=0.5),
    "full": Beard(strands=10500, longest_m=0.022, shadow=0.52, radius_m=0.00025),
}  # fmt: skip
"""Of all that have facial hair: who has none has no style."""


def _lean(roots: Floats, normals: Floats, along: Floats, lengths: Floats, lift: float, points: int) -> Floats:
    """Strands that leave the skin at ``lift`` and bend over along ``along``."""
    tangent = unit(along - (along * normals).sum(1, keepdims=True) * normals)
    t = np.linspace(0, 1, points)[None, :, None]
    rise = normals[:, None] * lift * (t - 0.5 * t**2)
    return roots[:, None] + lengths[:, None, None] * (tangent[:, None] * t * (1 - 0.35 * lift) + rise)


def brow_band(spec: AvatarSpec, x: Floats) -> tuple[Floats, Floats]:
    """Height of the brow's middle and half its breadth, at distances ``x`` from the nose: rising to an arch."""
    t = (x - 0.105) / 0.50
    arch = (0.05 + 0.075 * spec.brows.arch) * np.sin(np.pi * np.clip(0.12 + 0.62 * t, 0, 1))
    middle = 7.475 + arch - 0.05 * smoothstep(0.62, 1.0, t)
    half = (0.0125 + 0.022 * spec.brows.thickness) * (1.05 - 0.62 * np.clip(t, 0, 1) ** 1.4)
    return np.asarray(middle), np.asarray(half)


def brow_density(spec: AvatarSpec, rest: Floats) -> Floats:
    """0..1 over the brow: a tapering band that thins out at both ends."""
    x = np.abs(rest[:, 0])
    middle, half = brow_band(spec, x)
    t = (x - 0.105) / 0.50
    across = np.exp(-0.5 * ((rest[:, 1] - middle) / half) ** 2)
    along = smoothstep(-0.10, 0.16, t) * smoothstep(1.06, 0.70, t)
    return np.asarray(across * along * (rest[:, 2] > 0.9))


def build_brows(spec: AvatarSpec, body: Body) -> list[StrandPart]:
    """Hairs that stand up at the inner end and lie outwards further on, the upper ones down and the lower ones up."""
    rng = generator_for(spec.seed, 0, "brows")
    count = int(300 + 760 * spec.brows.density * (0.45 + 0.95 * spec.brows.thickness))
    triangles = body.topology.triangles
    density = brow_density(spec, body.topology.rest) ** 1.3
    places = scatter(body.vertices, triangles, density, count, rng)
    roots, normals, rest = (at_places(v, triangles, places) for v in (body.vertices, body.normals, body.topology.rest))
    side = np.sign(rest[:, 0])
    t = np.clip((np.abs(rest[:, 0]) - 0.105) / 0.5, 0, 1)
    middle, half = brow_band(spec, np.abs(rest[:, 0]))
    across = np.clip((rest[:, 1] - middle) / half, -2, 2)
    up = 0.75 * (1 - t) ** 2 - 0.12 - 0.45 * t - 0.22 * across * (0.3 + t) + 0.16 * rng.normal(size=count)
    along = np.stack((side * (0.35 + 0.8 * t), up, -0.35 * t), -1)
    lengths = rng.uniform(0.0040, 0.0075, count) * (0.75 + 0.4 * spec.brows.thickness) * (1 - 0.35 * t)
    strands = _lean(roots + 0.0002 * normals, normals, along, lengths, 0.30, 5)
    grey = 0.55 * spec.hair.grey
    colours = strand_colours(spec, count, rng, grey) * (0.72 if spec.hair.melanin < 0.5 else 0.95)
    radius = 0.000065 + 0.00003 * spec.brows.thickness
    return [
        StrandPart(name="brows", label="brows", points=strands, radii=taper(count, 5, radius, 0.3), colours=colours)
    ]


def build_lashes(spec: AvatarSpec, body: Body) -> list[StrandPart]:
    """Lashes along MakeHuman's lash strips, upper ones longer and curved up, women's longer and denser."""
    rng = generator_for(spec.seed, 0, "lashes")
    base = find_assets().base
    strands = []
    for number, side in enumerate("lr"):
        centre, _ = body.eyes[number]
        for row, each in ((1, 1), (2, 2 if spec.gender > 0.5 else 3)):
            quads = base.faces[f"helper-{side}-eyelashes-{row}"]
            corners = body.base[quads]
            order = np.linalg.norm(corners - centre, axis=2).argsort(1)
            roots = np.take_along_axis(corners, order[:, :2, None], 1)
            tips = np.take_along_axis(corners, order[:, 2:, None], 1)
            swap = ((tips[:, 0] - roots[:, 0]) ** 2).sum(1) > ((tips[:, 1] - roots[:, 0]) ** 2).sum(1)
            tips[swap] = tips[swap, ::-1]
            s = rng.random((len(quads), each, 1))
            root = (roots[:, None, 0] * (1 - s) + roots[:, None, 1] * s).reshape(-1, 3)
            tip = (tips[:, None, 0] * (1 - s) + tips[:, None, 1] * s).reshape(-1, 3)
            reach = (0.0048 if row == 2 else 0.0018) * (0.75 if spec.gender > 0.5 else 1.1)
            out = unit(tip - root) * reach * rng.uniform(0.6, 1.1, (len(root), 1))
            t = np.linspace(0, 1, 5)[None, :, None]
            bend = np.array((0, 0.35 if row == 2 else -0.2, 0)) * reach
            strands.append(root[:, None] + out[:, None] * t + bend * t**2)
    points = np.concatenate(strands)
    dark = np.clip(pigment(spec) * 0.35, 0.003, 0.06)
    colours = np.repeat(dark[None], len(points), 0)
    thickness = 0.00008 if spec.gender > 0.5 else 0.00011
    radii = taper(len(points), 5, thickness, 0.2)
    return [StrandPart(name="lashes", label="eyes", points=points, radii=radii, colours=colours)]


def beard_region(grows: Iterable[Place], rest: Floats, lips: Floats) -> Floats:
    """The places where facial hair grows, together, 0..1."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    # The cheek line falls from the sideburn (x 0.7, y 7.15) to the corner of the mouth.
    cheek = np.interp(x, (0.0, 0.22, 0.32, 0.5, 0.66, 0.8), (6.50, 6.62, 6.70, 6.86, 7.08, 7.15))
    below = np.interp(x, (0.0, 0.3, 0.5, 0.7), (6.12, 6.15, 6.28, 6.5))
    jaw = smoothstep(0.10, -0.16, y - cheek) * smoothstep(-0.10, 0.04, y - below) * smoothstep(0.45, 0.62, z)
    under = smoothstep(6.02, 6.12, y) * smoothstep(0.62, 0.9, z) * (y < 6.5) * smoothstep(0.62, 0.5, x)
    jaw = np.maximum(jaw, 0.8 * under)
    lip_line = 6.735 + 0.05 * np.exp(-((x / 0.12) ** 2)) - 0.22 * np.clip(x - 0.12, 0, 1)
    upper = smoothstep(6.665, 6.70, y + 0.20 * x) * smoothstep(0.095, 0.02, y - lip_line) * smoothstep(0.34, 0.25, x)
    upper = upper * (z > 1.2)
    free = smoothstep(0.35, 0.1, lips)
    chin = smoothstep(0.30, 0.20, x) * jaw * smoothstep(6.58, 6.50, y)
    corner = smoothstep(0.07, 0.02, np.abs(x - 0.30)) * smoothstep(6.42, 6.5, y) * smoothstep(6.75, 6.68, y) * (z > 1.0)
    # From the hair before the ear down to the jaw, wider and sparser there.
    front = np.interp(y, (6.55, 6.75, 7.0, 7.2), (1.08, 0.96, 0.78, 0.74))
    sideburn = (
        smoothstep(0.06, -0.10, z - front)
        * smoothstep(6.52, 6.84, y)
        * smoothstep(7.26, 7.06, y)
        * smoothstep(0.46, 0.58, z)
        * smoothstep(0.42, 0.50, x)
    )
    soul = 1 - 0.75 * np.exp(-(((x - 0.17) / 0.06) ** 2)) * smoothstep(6.38, 6.44, y)
    curtain = jaw * np.maximum(smoothstep(0.30, 0.36, x), smoothstep(6.44, 6.36, y))
    places: dict[Place, Floats] = {
        "cheeks and chin": jaw * soul,
        "lip": upper,
        "chin": chin,
        "middle of the chin": chin * smoothstep(0.24, 0.14, x),
        "corners": corner,
        "sideburns": sideburn,
        "jaw": curtain,
    }
    return np.asarray(np.clip(np.maximum.reduce([places[name] for name in grows]), 0, 1) * free)


def beard_density(spec: AvatarSpec, body: Body) -> Floats:
    """How much skin is shadowed by facial hair, 0..1; shaved men keep a trace."""
    rest, lips = body.topology.rest, body.topology.masks["lips"]
    beard = BEARDS.get(spec.facial_hair.style)
    if beard is None:
        grown = spec.gender > 0.5 and spec.age_years >= 17
        trace = 0.16 * spec.hair.melanin * (1 - 0.6 * spec.hair.grey) if grown else 0.0
        # What is shaved still shows, bluish under fair skin.
        return 1.7 * (beard_region(WHOLE, rest, lips) * trace)
    # Skin shows at a beard's border, where hairs stand apart.
    shadow = beard.shadow + beard.shadow_by_length * spec.facial_hair.length
    return beard_region(beard.grows, rest, lips) ** 1.6 * shadow


def build_beard(spec: AvatarSpec, body: Body) -> list[StrandPart]:
    """Strands of the beard; stubble is very short ones."""
    beard = BEARDS.get(spec.facial_hair.style)
    if beard is None:
        return []
    rng = generator_for(spec.seed, 0, "facial hair")
    rest = body.topology.rest
    region = beard_region(beard.grows, rest, body.topology.masks["lips"])
    grown = np.flatnonzero(region)
    region[grown] *= np.clip(0.8 + 0.35 * waves(rest[grown], rng, np.full(3, 1.5)), 0.15, 1)
    # Sparser where most ancestors were Asian.
    count = int(beard.strands * (1 - 0.35 * spec.ancestry[1]))
    triangles = body.topology.triangles
    places = scatter(body.vertices, triangles, region, count, rng)
    roots, normals, at = (at_places(v, triangles, places) for v in (body.vertices, body.normals, rest))
    longest = beard.longest_m
    lengths = longest * (0.55 + 0.9 * spec.facial_hair.length) * rng.uniform(0.6, 1.1, count)
    x, y = np.abs(at[:, 0]), at[:, 1]
    if not beard.even:
        # Short at the cheek line and over the lip, longest at the chin.
        lengths *= np.where(y > 6.66, np.minimum(1, 0.0085 / longest), 1.0) * (1 - 0.72 * smoothstep(6.5, 7.0, y))
        lengths *= 1 - 0.35 * smoothstep(0.3, 0.6, x)
    upper = (y > 6.64) & (x < 0.33)
    along = np.stack(
        (np.sign(at[:, 0]) * np.where(upper, 0.45 + 2.2 * x, 0.12), np.full(count, -1.0), np.full(count, 0.12)), -1
    )
    along += 0.22 * rng.normal(size=along.shape)
    if beard.waxed:
        # Swept outwards, the tips turning up.
        along = np.where(upper[:, None], along * (2.6, 0.35, 1) + np.array((0, 0.25, 0.2)), along)
        lengths = lengths * np.where(upper, 1 + 4.5 * np.clip(x - 0.10, 0, 0.3), 1)
    lengths = np.minimum(lengths, beard.trimmed_m)
    points = 3 if beard.even else 7
    strands = _lean(roots, normals, along, lengths, beard.lift, points)
    if beard.waxed:
        t = np.linspace(0, 1, points)[None]
        strands[..., 1] += (0.55 * lengths * np.clip(x - 0.12, 0, 0.2) / 0.2)[:, None] * t**2
    if not beard.even:
        strands, _ = clump(strands, 9, 0.35, rng)
        strands = frizz(strands, 0.12 * lengths * (1 + spec.hair.curl), rng)
    colours = strand_colours(spec, count, rng, 0.85 * spec.hair.grey)
    radii = taper(count, points, beard.radius_m, 0.2)
    return [StrandPart(name="beard", label="facial hair", points=strands, radii=radii, colours=colours)]
