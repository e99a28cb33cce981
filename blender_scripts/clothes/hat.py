"""Hats, each a grid around the head: rings from a rim line on the scalp to the crown, and what belongs to the style.

The rim is drawn on the base shape (decimetres): a plane that is higher in front than behind and passes above the ears.
Above it the head is seen from a point inside, so a hat is the distance of its cloth in every direction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.body.body import Body, topology
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.geometry.arrays import Floats, Ints, linear, smoothstep
from blender_scripts.geometry.material import Cloth
from blender_scripts.geometry.mesh import border_loops, clip, largest_component, sweep, tube
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.appearance import HatSpec, HatStyle
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

UP = np.array((0.0, 1.0, 0.0))
STEPS = 192
"""Around the head; a multiple of the ribs of a beanie and of the panels of a cap."""
RIBS: Final = 48
PANELS: Final = 6


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Numbers of one style."""

    height: float
    """Of the rim where z = 0, in decimetres, and its rise a unit of z."""
    rise: float
    sheen: float
    nap: float
    """How coarse its cloth is, as a share of jersey's."""


SHAPES: Final[dict[HatStyle, Shape]] = {
    "beanie": Shape(height=7.46, rise=0.32, sheen=0.3, nap=2.0),
    "cap": Shape(height=7.52, rise=0.29, sheen=0.05, nap=0.6),
    "bucket hat": Shape(height=7.54, rise=0.24, sheen=0.05, nap=0.8),
    "beret": Shape(height=7.62, rise=0.26, sheen=0.4, nap=1.5),
}


def hat_field(hat: HatSpec, rest: Floats) -> Floats:
    """Signed height above the rim, in decimetres."""
    shape = SHAPES[hat.style]
    return np.asarray(rest[:, 1] - (shape.height + 0.08 * (0.5 - hat.depth)) - shape.rise * rest[:, 2])


@dataclass(frozen=True, eq=False)
class Crown:
    """The head above a rim, seen from the rim's middle."""

    centre: Floats
    front: Floats
    left: Floats
    top: Floats
    rim: Floats
    """(STEPS,) distance of the rim at each angle from the front to the left."""
    drop: Floats
    """(STEPS,) elevation of the rim at each angle."""
    directions: cKDTree
    distances: Floats

    @classmethod
    def of_head(cls, hat: HatSpec, body: Body) -> "Crown":
        """Cut the scalp at the rim."""
        coarse = topology(1)
        free = (coarse.masks["ears"] < 0.2) & (coarse.rest[:, 1] > 6.9)
        triangles = coarse.triangles[free[coarse.triangles].all(1)]
        vertices, triangles, _ = clip(coarse.matrix @ body.base, triangles, hat_field(hat, coarse.rest), coarse.rest)
        triangles = largest_component(triangles, len(vertices))
        loop = vertices[border_loops(triangles)[0]]
        centre = loop.mean(0)
        top = np.linalg.svd(loop - centre)[2][2]
        top *= np.sign(top[1])
        left = np.array((1.0, 0, 0)) - top[0] * top
        left /= np.linalg.norm(left)
        front = np.cross(left, top)
        used = vertices[np.unique(triangles)] - centre
        distance = np.linalg.norm(used, axis=1)
        offset = loop - centre
        angle = np.arctan2(offset @ left, offset @ front)
        order = np.argsort(angle)
        at = 2 * np.pi * np.arange(STEPS) / STEPS
        flat = np.hypot(offset @ left, offset @ front)
        rim, drop = (
            np.interp(at, angle[order], values[order], period=2 * np.pi)
            for values in (np.linalg.norm(offset, axis=1), np.arctan2(offset @ top, flat))
        )
        for _ in range(6):
            rim, drop = (0.5 * v + 0.25 * (np.roll(v, 1) + np.roll(v, -1)) for v in (rim, drop))
        return cls(centre, front, left, top, rim, drop, cKDTree(used / distance[:, None]), distance)

    def rings(self, rows: Floats, off: Callable[[Floats, Floats], Floats], inside: Floats | None = None) -> Floats:
        """(row, STEPS, 3): at shares ``rows`` of the way up from the rim, ``off(angle, share)`` metres off the head.

        ``inside`` (row,) draws single rows in.
        """
        angle = 2 * np.pi * np.arange(STEPS)[None] / STEPS
        up = self.drop[None] + (np.pi / 2 - self.drop[None]) * rows[:, None]
        level = np.cos(up)[..., None]
        aim = level * (np.cos(angle)[..., None] * self.front + np.sin(angle)[..., None] * self.left)
        aim = aim + np.sin(up)[..., None] * self.top
        far, index = self.directions.query(aim.reshape(-1, 3), k=8)
        weight = 1 / (far + 0.03) ** 2
        reach = ((self.distances[index] * weight).sum(1) / weight.sum(1)).reshape(up.shape)
        low = smoothstep(0.15, 0.0, np.clip(rows, 0, 1))[:, None]
        # Where the head bulges above the rim the blend must not cut into it.
        reach = np.maximum(low * self.rim[None] + (1 - low) * reach, np.where(rows[:, None] > 0.02, reach, 0))
        for _ in range(4):
            reach = 0.5 * reach + 0.25 * (np.roll(reach, 1, 1) + np.roll(reach, -1, 1))
        share = np.broadcast_to(rows[:, None], up.shape)
        reach = reach + off(np.broadcast_to(angle, up.shape), share)
        if inside is not None:
            reach = reach + inside[:, None]
        return np.asarray(self.centre + reach[..., None] * aim)


def build_hat(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """The hat's parts; nothing without one."""
    hat = spec.hat
    if hat is None:
        return []
    crown, shape = Crown.of_head(hat, body), SHAPES[hat.style]
    material = Cloth(
        melange=0.15,
        rib=0.0,
        sheen=shape.sheen,
        nap=shape.nap,
        folds=0.0,
        pattern="plain",
        accent=(0.0, 0.0, 0.0),
        period_m=1.0,
        share=0.5,
    )
    rng = generator_for(spec.seed, 0, "hat")
    build = {"beanie": _beanie, "cap": _cap, "bucket hat": _bucket, "beret": _beret}[hat.style]
    return build(crown, linear(hat.colour), material, rng)


def _beanie(crown: Crown, colour: Floats, material: Cloth, rng: np.random.Generator) -> list[MeshPart]:
    """Ribbed knit that gathers at the top, and its edge turned up."""
    slack = rng.uniform(0.004, 0.022)
    phase = rng.uniform(0, 2 * np.pi)

    def rib(angle: Floats) -> Floats:
        return np.asarray(np.abs(np.cos(0.5 * RIBS * angle)) ** 0.7)

    def cap(angle: Floats, share: Floats) -> Floats:
        loose = slack * smoothstep(0.35, 0.9, share) * (1 - 0.35 * np.cos(angle))
        crumple = 0.003 * np.sin(3 * angle + phase + 7 * share) * smoothstep(0.3, 0.6, share)
        depth = 0.0022 * rib(angle) * smoothstep(1.0, 0.75, share)
        gather = -0.006 * smoothstep(0.93, 1.0, share)
        return np.asarray(0.0060 + loose + crumple + depth + gather)

    def cuff(angle: Floats, share: Floats) -> Floats:
        return np.asarray(0.0125 + 0.0026 * rib(angle) + 0.0015 * np.sin(2 * angle + phase) + 0.004 * share)

    high = rng.uniform(0.36, 0.46)
    rows = np.concatenate(((-0.02, -0.05), np.linspace(-0.06, high, 9), (high + 0.012, high - 0.02)))
    inside = np.concatenate(((-0.0075, -0.003), (-0.0004,), np.zeros(7), (-0.0006, -0.0034, -0.0065)))
    return [
        _grid("hat", crown.rings(np.linspace(0, 1, 28), cap), colour, material),
        _grid("hat cuff", crown.rings(rows, cuff, inside), 0.97 * colour, material),
    ]


def _cap(crown: Crown, colour: Floats, material: Cloth, rng: np.random.Generator) -> list[MeshPart]:
    """Panels sewn together under a button, a band, and a curved peak."""
    tall = rng.uniform(0.006, 0.014)

    def panel(angle: Floats, share: Floats) -> Floats:
        seam = np.abs(np.mod(PANELS * angle / (2 * np.pi) + 0.5, 1) - 0.5) * 2 * np.pi / PANELS * np.cos(share * 1.4)
        groove = 0.0016 * np.exp(-0.5 * (seam / 0.03) ** 2) * smoothstep(0.02, 0.1, share)
        puff = 0.0025 * np.sin(np.clip(seam / 0.52, 0, 1) * np.pi / 2)
        front = tall * smoothstep(0.9, 0.2, np.abs(np.mod(angle + np.pi, 2 * np.pi) - np.pi)) * np.sin(np.pi * share)
        edge = 0.0012 * smoothstep(0.09, 0.08, share)
        return np.asarray(0.0058 + 0.006 * smoothstep(0.1, 0.6, share) + puff + front + edge - groove)

    rows = np.sort(np.concatenate((np.linspace(0, 1, 26), (0.078, 0.092))))
    rings = crown.rings(rows, panel)
    top = rings[-1].mean(0)
    polar = np.linspace(0.02, 1.0, 6) * np.pi / 2
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ball = np.stack(
        [
            np.outer(np.sin(polar), np.cos(angle)),
            np.tile(np.cos(polar)[:, None] * 0.5, 20),
            np.outer(np.sin(polar), np.sin(angle)),
        ],
        -1,
    )
    button = top + 0.0065 * ball - 0.0015 * UP
    return [
        _grid("hat", rings, colour, material),
        _hem(crown, rings[0], 0.0024, 0.92 * colour, material),
        _sheet("peak", _peak(rings[0], rng.uniform(0.5, 1.0)), 0.96 * colour, material, closed=False),
        _cloth("button top", button.reshape(-1, 3), sweep(button)[:, ::-1], colour, material),
    ]


def _bucket(crown: Crown, colour: Floats, material: Cloth, rng: np.random.Generator) -> list[MeshPart]:
    """A wall that narrows upwards, a flat top with a seam round it, and a brim with rows of stitches."""
    phase = rng.uniform(0, 2 * np.pi)
    base = crown.rings(np.linspace(0, 1, 30), lambda angle, share: np.full_like(share, 0.0055))
    height = float((base[-1].mean(0) - crown.centre) @ crown.top) + 0.006
    wall = base[0] - crown.centre
    wall_flat = wall - (wall @ crown.top)[:, None] * crown.top
    rows, corner = [], 0.84
    for share in np.linspace(0, 1, 16):
        narrow = 1.0 - 0.11 * share**1.5
        lift = (1 - share) * (wall @ crown.top) + share * height * corner
        dent = 0.0016 * np.sin(5 * 2 * np.pi * np.arange(STEPS) / STEPS + phase + 4 * share) * np.sin(np.pi * share)
        out = wall_flat / np.linalg.norm(wall_flat, axis=1, keepdims=True)
        rows.append(crown.centre + narrow * wall_flat + lift[:, None] * crown.top + dent[:, None] * out)
    edge = rows[-1] - (rows[-1] - crown.centre) @ crown.top[:, None] * crown.top - crown.centre
    for scale, lift in (
        (0.99, 0.86),
        (0.96, 0.89),
        (0.88, 0.925),
        (0.73, 0.96),
        (0.5, 0.99),
        (0.25, 1.0),
        (0.02, 1.0),
    ):
        rows.append(crown.centre + scale * edge + lift * height * crown.top)
    rings = np.stack(rows)
    # Wherever the head is wider than the wall, the hat follows the head.
    inner = base.reshape(-1, 3) - crown.centre
    far = np.linalg.norm(inner, axis=1)
    offset = rings - crown.centre
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    _, index = cKDTree(inner / far[:, None]).query((offset / distance).reshape(-1, 3))
    rings = crown.centre + offset / distance * np.maximum(distance, far[index].reshape(distance.shape))
    return [
        _grid("hat", rings, colour, material),
        _hem(crown, rings[-7], 0.0014, 0.93 * colour, material),
        _sheet(
            "brim", _brim(rings[0], rng.uniform(0.5, 1.0)), 0.98 * colour, replace(material, rib=900.0), closed=True
        ),
    ]


def _beret(crown: Crown, colour: Floats, material: Cloth, rng: np.random.Generator) -> list[MeshPart]:
    """Felt: a narrow band, a wide soft disc that sinks to one side, and a stalk."""
    side, phase = rng.choice((-1, 1)) * 0.9, rng.uniform(0, 2 * np.pi)

    def felt(angle: Floats, share: Floats) -> Floats:
        # Close to the head on one side, and wide on the other, where the felt sags over the band.
        lean = 0.5 + 0.5 * np.cos(angle - side * np.pi / 2)
        disc = (0.006 + 0.044 * lean**1.3) * smoothstep(0.02, 0.16, share) * smoothstep(0.75, 0.22, share)
        fold = 0.0024 * np.sin(7 * angle + phase + 5 * share) * np.sin(np.pi * np.clip(share * 1.6, 0, 1))
        return np.asarray(0.0055 + disc + fold)

    rings = crown.rings(np.linspace(0, 1, 30) ** 1.15, felt)
    top = rings[-1].mean(0)
    stalk, quads = tube(top + np.array([(0, -0.003, 0), (0, 0.003, 0), (0.001, 0.007, 0)]), 0.0016, 8)
    return [
        _grid("hat", rings, colour, material),
        _hem(crown, rings[0], 0.0028, 0.9 * colour, material),
        _cloth("stalk", stalk, quads, colour, material),
    ]


def _cloth(
    name: str, vertices: Floats, faces: Ints, colour: Floats, material: Cloth, weave: Floats | None = None
) -> MeshPart:
    """A piece of the hat; without ``weave`` its threads run along the axes."""
    return MeshPart(
        name=name,
        vertices=vertices,
        faces=faces,
        material=material,
        label="hat",
        colours=np.repeat(colour[None], len(vertices), 0),
        fields={"weave": vertices if weave is None else weave},
    )


def _grid(name: str, rings: Floats, colour: Floats, material: Cloth) -> MeshPart:
    """Rings from the rim up, with threads around and along."""
    up = np.linalg.norm(np.diff(rings, axis=0, prepend=rings[:1]), axis=-1).mean(1).cumsum()
    around = np.minimum(np.arange(STEPS), STEPS - np.arange(STEPS)) * 0.58 / STEPS
    weave = np.stack(np.broadcast_arrays(around[None], up[:, None], 0.0), -1).reshape(-1, 3)
    return _cloth(name, rings.reshape(-1, 3), sweep(rings), colour, material, weave)


def _hem(crown: Crown, ring: Floats, radius: float, colour: Floats, material: Cloth) -> MeshPart:
    vertices, quads = tube(ring, radius, 8, closed=True)
    return _cloth(f"hat band {1000 * radius:.1f}", vertices, quads, colour, material)


def _outward(loop: Floats) -> Floats:
    out = (loop - loop.mean(0)) * (1, 0, 1)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


def _peak(loop: Floats, curve: float) -> Floats:
    """(path, across, 3): the front of the rim drawn forward, curved down at the sides."""
    half = STEPS * 62 // 360
    edge = np.roll(loop, half, 0)[: 2 * half + 1]
    span = np.linspace(-1, 1, len(edge))
    reach = 0.070 * np.clip(1 - np.abs(span) ** 2.6, 0, 1) ** 0.6
    t = np.linspace(0, 1, 14)
    ahead = (
        np.array((0, -0.30, 1.0))
        + 0.30 * _outward(loop)[0] * (0, 0, 0)
        + np.stack((0.22 * span, 0 * span, 0 * span), -1)
    )
    drop = 0.030 * curve * np.abs(edge[:, 0] / 0.075) ** 2
    return np.asarray(
        edge[:, None]
        + (reach[:, None] * t[None])[..., None] * ahead[:, None]
        - (drop[:, None] * smoothstep(0, 0.7, t)[None] * np.minimum(reach / 0.03, 1)[:, None])[..., None] * UP
    )


def _brim(loop: Floats, wide: float) -> Floats:
    """(path, across, 3): all round, outwards and down."""
    t = np.linspace(0, 1, 12)
    out = _outward(loop)
    wave = 1 + 0.12 * np.sin(3 * 2 * np.pi * np.arange(STEPS) / STEPS + 5 * wide)
    fall = (0.024 + 0.012 * wide) * t + 0.008 * t**2
    return np.asarray(
        loop[:, None]
        + (0.030 + 0.010 * wide) * t[None, :, None] * out[:, None]
        - (wave[:, None] * fall[None])[..., None] * UP
    )


def _sheet(name: str, rows: Floats, colour: Floats, material: Cloth, closed: bool) -> MeshPart:
    """A sheet of cloth with thickness: upper and lower face joined at the outer edge, threads across in x.

    A ``closed`` one runs all round.
    """
    thick = 0.0024
    rings = np.concatenate((rows + thick / 2 * UP, rows[:, ::-1] - thick / 2 * UP), 1)
    across = np.linalg.norm(np.diff(rings, axis=1, prepend=rings[:, :1]), axis=-1).cumsum(1)
    weave = np.stack((across, rings[..., 0], rings[..., 2]), -1).reshape(-1, 3)
    quads = sweep(rings, closed_rings=False, closed_path=closed)
    return _cloth(name, rings.reshape(-1, 3), quads, colour, material, weave)


def press_hair(hat: HatSpec, body: Body, skin: Obstacle, strands: Floats) -> Floats:
    """Hold hair under the hat: above the rim it lies on the scalp, and from there to below the rim it comes free."""
    flat = strands.reshape(-1, 3)
    # Measured from the skull: hair that lay on the ears would stand out as tufts.
    on_head = _head_vertices(body)
    skull = np.flatnonzero(body.topology.masks["ears"][on_head] < 0.1)
    _, nearest = cKDTree(skin.points[skull]).query(flat)
    index, rest = skull[nearest], body.topology.rest[on_head]
    height = ((flat - skin.points[index]) * skin.normals[index]).sum(1)
    field = hat_field(hat, rest[index])
    share = smoothstep(-0.75, 0.02, field)
    # Hair is bent down where it comes out, so it also stands off less below; beneath the jaw it hangs as it likes.
    most = 0.0015 + (1 - share) * 0.014
    held = np.maximum(share, 0.85 * smoothstep(6.2, 6.7, rest[index, 1]))
    excess = held * np.maximum(height - most, 0)
    return np.asarray((flat - excess[:, None] * skin.normals[index]).reshape(strands.shape))


def _head_vertices(body: Body) -> Ints:
    """The vertices that ``Obstacle.of_parts`` takes from the body, in its order."""
    on_head = (body.topology.rest[:, 1] > 5.9) & (body.topology.masks["inside-mouth"] < 0.1)
    return np.asarray(np.flatnonzero(on_head)[::3])
