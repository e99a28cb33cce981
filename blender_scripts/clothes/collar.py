"""What finishes a neckline: a band, a turned collar with buttons, or a hood lying on the shoulders with its cords.

All are profiles swept along the garment's neckline loop, and what falls outside is laid on the cloth.
"""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.body.body import CUT_M
from blender_scripts.clothes.cut import Band, Hood, Turned
from blender_scripts.geometry.arrays import Floats, linear, smoothstep
from blender_scripts.geometry.material import Cloth, Frame, Wet
from blender_scripts.geometry.mesh import resample_closed, sweep, tube
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.appearance import GarmentSpec

STEPS = 128
UP = np.array((0.0, 1.0, 0.0))
RIBS: Final = 1300.0
"""Of knitted bands, in radians a metre."""


class Surface(NamedTuple):
    """Of a garment's cloth."""

    vertices: Floats
    normals: Floats


def lay_on(points: Floats, cloth: Surface, margin: Floats | float) -> Floats:
    """Move points that are nearer to the cloth than ``margin`` metres, or under it, outwards along its normals."""
    vertices, normals = cloth
    flat = points.reshape(-1, 3)
    distance, index = cKDTree(vertices).query(flat, k=3)
    weight = 1 / (distance + 1e-3)
    weight /= weight.sum(1, keepdims=True)
    at = (vertices[index] * weight[..., None]).sum(1)
    normal = (normals[index] * weight[..., None]).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    wanted = np.broadcast_to(np.asarray(margin, float), points.shape[:-1]).reshape(-1)
    lack = np.clip(wanted - ((flat - at) * normal).sum(1), 0, 0.04)
    return np.asarray((flat + lack[:, None] * normal).reshape(points.shape))


def build_collar(
    garment: GarmentSpec, trim: Band | Turned | Hood, loop: Floats, cloth: Surface, material: Cloth
) -> list[MeshPart]:
    """Trim the neckline ``loop`` (point, 3) of a garment."""
    path = _ordered(loop)
    colour = linear(garment.colour)
    match trim:
        case Turned():
            ends = CUT_M + 0.004 if trim.placket_m is None else path[0, 1] - trim.placket_m
            return [
                _shirt_collar(path, colour, cloth, material, trim.size),
                _placket(path, ends, cloth.vertices, 0.97 * colour, material),
                *_buttons(path, ends, cloth.vertices, garment),
            ]
        case Hood():
            return [
                _band(path, colour * 0.92, Band(width_m=0.005, thickness_m=0.004), material),
                _hood(path, colour, cloth, material),
                *_cords(path, garment, cloth.vertices),
            ]
        case Band():
            return [_band(path, colour * 0.96, trim, replace(material, rib=RIBS))]


def build_hems(
    loop: Floats,
    on_cut: np.ndarray[tuple[int], np.dtype[np.bool_]],
    garment: GarmentSpec,
    material: Cloth,
    side: int = 0,
) -> list[MeshPart]:
    """Round edges along the parts of a border that are not ``on_cut``: a tank's armholes."""
    colour = 0.95 * linear(garment.colour)
    if on_cut.all():
        return []
    if not on_cut.any():
        path = resample_closed(loop, STEPS)
        for _ in range(6):
            path = 0.5 * path + 0.25 * (np.roll(path, 1, 0) + np.roll(path, -1, 0))
        return [rope(f"hem side {side}", path, 0.0024, colour, material, closed=True)]
    start = int(np.flatnonzero(on_cut & ~np.roll(on_cut, -1))[0])
    loop, on_cut = np.roll(loop, -start, 0), np.roll(on_cut, -start)
    parts = []
    edges = np.flatnonzero(np.diff(np.concatenate(([True], on_cut, [True])).astype(int)))
    for number, (first, last) in enumerate(edges.reshape(-1, 2)):
        line = loop[max(first - 1, 0) : last + 1].copy()
        if len(line) < 8:
            continue
        for _ in range(6):
            line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[2:] + line[:-2])
        parts.append(rope(f"hem {number}", line, 0.0024, colour, material))
    return parts


def rope(name: str, path: Floats, radius: float, colour: Floats, material: Cloth, closed: bool = False) -> MeshPart:
    """A round edge along a path."""
    vertices, quads = tube(path, radius, 10, closed)
    return MeshPart(
        name=name,
        vertices=vertices,
        faces=quads,
        material=material,
        label="garment",
        colours=np.repeat(colour[None], len(vertices), 0),
        fields={"weave": vertices},
    )


def _ordered(loop: Floats) -> Floats:
    """Resampled, smoothed, beginning at the front and running to the avatar's left."""
    path = resample_closed(loop, STEPS)
    for _ in range(6):
        path = 0.5 * path + 0.25 * (np.roll(path, 1, 0) + np.roll(path, -1, 0))
    path = np.roll(path, -int((path[:, 2] - 3 * np.abs(path[:, 0])).argmax()), 0)
    return path if path[STEPS // 8, 0] > path[-STEPS // 8, 0] else np.roll(path[::-1], 1, 0)


def outward(path: Floats) -> Floats:
    """Horizontal directions away from the neck's axis."""
    out = path - path.mean(0)
    out[:, 1] = 0
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


def _skinward_up(path: Floats, out: Floats) -> Floats:
    """Across the band: at right angles to the path, upwards along the neck."""
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    up = np.cross(tangent, out)
    up *= np.sign(up[:, 1:2] + 1e-9)
    return np.asarray(up / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-9))


def _band(path: Floats, colour: Floats, band: Band, material: Cloth) -> MeshPart:
    """A flat rounded band along the edge; it is joined behind the neck."""
    path = np.roll(path, STEPS // 2, 0)
    out = outward(path)
    up = _skinward_up(path, out)
    lean = np.cross(up, np.roll(path, -1, 0) - np.roll(path, 1, 0))
    lean *= np.sign((lean * out).sum(1, keepdims=True))
    lean /= np.maximum(np.linalg.norm(lean, axis=1, keepdims=True), 1e-9)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    a = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.6 * band.width_m
    b = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.6 * band.thickness_m
    rings = path[:, None] + a[None, :, None] * up[:, None] + b[None, :, None] * lean[:, None]
    return swept_cloth("band", rings, colour, material, closed_rings=True)


def _shirt_collar(path: Floats, colour: Floats, cloth: Surface, material: Cloth, size: float) -> MeshPart:
    """A stand and a leaf that falls over it and lies on the cloth, longest at two points in front, open between."""
    start = 2
    kept = path[start : STEPS - start + 1]
    out = outward(path)[start : STEPS - start + 1]
    u = np.linspace(0, 1, len(kept))
    front = np.maximum(smoothstep(0.17, 0.0, u), smoothstep(0.83, 1.0, u))[:, None]
    tip = np.maximum(smoothstep(0.10, 0.015, u), smoothstep(0.90, 0.985, u))[:, None]
    stand = size * (0.029 - 0.014 * front)
    leaf = size * (0.043 + 0.006 * front + 0.016 * tip)
    flare = 0.012 + 0.012 * front
    side = np.sign(kept[:, :1]) * np.array((1.0, 0, 0))
    rise = [kept + stand * p * UP + out * (0.001 - 0.004 * p) for p in (0.0, 0.35, 0.75, 0.95)]
    roll = [kept + (stand + 0.0016) * UP - out * 0.0005, kept + (stand + 0.0012) * UP + out * 0.0035]

    def fall(p: float, off: float) -> Floats:
        spread = 0.014 * p * tip * side
        return np.asarray(kept + (stand - leaf * p) * UP + out * (off + flare * p) + spread)

    outer = [fall(p, 0.0055) for p in (0.12, 0.35, 0.6, 0.82, 0.97, 1.0)]
    under = [fall(p, 0.0028) for p in (0.985, 0.6, 0.15)]
    rings = np.stack([*rise, *roll, *outer, *under], 1)
    margin = np.concatenate((np.full(6, -1.0), np.linspace(0.003, 0.0048, 6), (0.0028, 0.0015, -1.0)))
    rings = lay_on(rings, cloth, np.broadcast_to(margin, rings.shape[:2]))
    return swept_cloth("collar", rings, colour, material, closed_path=False, closed_rings=False)


def _front(cloth: Floats, x: Floats, y: Floats) -> Floats:
    """z of the cloth's front at places (x, y)."""
    front = cloth[(cloth[:, 2] > 0) & (np.abs(cloth[:, 0]) < 0.07)]
    distance, index = cKDTree(front[:, :2]).query(np.stack((x, y), -1), k=6)
    weight = 1 / (distance + 1e-3) ** 2
    return np.asarray((front[index, 2] * weight).sum(-1) / weight.sum(-1))


def _placket(path: Floats, ends: float, cloth: Floats, colour: Floats, material: Cloth) -> MeshPart:
    """The strip that buttons go through, from the collar down to the height ``ends``."""
    heights = np.linspace(path[0, 1] + 0.002, max(ends, CUT_M + 0.004), 30)
    # Flat, with a raised edge where it is stitched.
    x = np.array((-0.0155, -0.0150, -0.0138, -0.0122, -0.006, 0.0, 0.006, 0.0122, 0.0138, 0.0150, 0.0155))
    lift = np.array((-0.002, 0.0030, 0.0034, 0.0026, 0.0030, 0.0030, 0.0030, 0.0026, 0.0034, 0.0030, -0.002))
    grid_x, grid_y = np.meshgrid(x, heights)
    z = _front(cloth, grid_x.reshape(-1), grid_y.reshape(-1)).reshape(grid_x.shape)
    for _ in range(3):
        z[1:-1] = 0.5 * z[1:-1] + 0.25 * (z[2:] + z[:-2])
    rings = np.stack((grid_x, grid_y, z + lift[None]), -1)
    return swept_cloth("placket", rings, colour, material, closed_path=False, closed_rings=False)


def _buttons(path: Floats, ends: float, cloth: Floats, garment: GarmentSpec) -> list[MeshPart]:
    """Small buttons down the placket."""
    parts = []
    pale = linear(np.array((0.80, 0.78, 0.73))) if garment.ease < 0.6 else 0.45 * linear(garment.colour)
    for number in range(4):
        height = path[0, 1] - 0.012 - 0.036 * number
        if height < max(CUT_M + 0.012, ends + 0.006):
            continue
        z = float(_front(cloth, np.zeros(1), np.full(1, height))[0]) + 0.0045
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        rings = np.stack(
            [
                np.stack((r * np.cos(angle), height + r * np.sin(angle), np.full(12, z + d)), -1)
                for r, d in ((0.0048, -0.004), (0.0048, 0.0006), (0.0036, 0.0012), (0.0003, 0.0008))
            ]
        )
        tint = np.repeat(pale[None], rings.size // 3, 0)
        parts.append(
            MeshPart(
                name=f"button {number}",
                vertices=rings.reshape(-1, 3),
                faces=sweep(rings),
                material=Wet(),
                label="garment",
                colours=tint,
            )
        )
    return parts


def _hood(path: Floats, colour: Floats, cloth: Surface, material: Cloth) -> MeshPart:
    """A hood let down: cloth that stands about the neck, turns over, and hangs on the back in a soft bag.

    Its profile is swept along the neckline: up the neck, over a rolled edge, down outside, and back under. Behind it is
    long and full, gathered in folds round its tip; in front it thins to the edges that the cords come from.
    """
    out = outward(path)
    u = np.arange(STEPS) / STEPS
    behind = (0.5 - 0.5 * np.cos(2 * np.pi * u))[:, None]
    tip = np.exp(-0.5 * ((u - 0.5) / 0.13) ** 2)[:, None]
    stand = 0.019 + 0.018 * behind**1.5
    room = float(np.clip((path[STEPS // 2, 1] - CUT_M - 0.035) / 0.125, 0.2, 1.0))
    fall = 0.030 + room * (0.040 * behind**2 + 0.055 * tip)
    depth = 0.011 + 0.012 * behind + 0.014 * tip
    # The bag's tip is narrower than the shoulders.
    inward = -0.045 * smoothstep(0.12, 0.3, np.abs(u - 0.5))[:, None] * behind
    rise = [path + stand * p * UP + out * (0.002 + 0.010 * behind * p**2) for p in (0.0, 0.3, 0.6, 0.85, 0.96)]
    top = path + out * (0.002 + 0.010 * behind)
    arc = np.linspace(0.15 * np.pi, 0.85 * np.pi, 5)
    roll = [top + (stand * 0.96 + 0.25 * depth * np.sin(a)) * UP + out * depth * 0.5 * (1 - np.cos(a)) for a in arc]
    edge = top + out * depth
    swell = 0.018 * behind * np.sin(np.pi * np.array((0.15, 0.35, 0.55, 0.75, 0.92)))[:, None, None]
    hang = [
        edge + (0.96 * stand - (stand + fall) * p) * UP + out * (s + 0.03 * p * behind) + inward * p * out * 0.3
        for p, s in zip((0.15, 0.35, 0.55, 0.75, 0.92), swell, strict=True)
    ]
    ends = [
        edge + (0.96 * stand - (stand + fall) * p) * UP + out * (0.03 * p * behind - 0.006 * (k + 1))
        for k, p in enumerate((1.0, 0.97, 0.80))
    ]
    rings = np.stack([*rise, *roll, *hang, *ends], 1)
    margin = np.array([-1.0] * 5 + [-1.0] * 5 + [0.010, 0.012, 0.014, 0.014, 0.011, 0.006, 0.002, -0.002])
    rings = lay_on(rings, cloth, np.broadcast_to(margin, rings.shape[:2]))
    for _ in range(6):
        rings[:, 5:] = 0.5 * rings[:, 5:] + 0.25 * (np.roll(rings, 1, 0) + np.roll(rings, -1, 0))[:, 5:]
    # Gathered folds: swags that hang round the tip, deepest half way down.
    down = np.linspace(0, 1, 8)
    wave = np.sin(2.2 * np.pi * down[None] * 2 + 5.5 * np.abs(u - 0.5)[:, None] * 2 * np.pi)
    rings[:, 10:] += (0.0042 * wave * np.sin(np.pi * down)[None] * behind)[..., None] * out[:, None]
    seam = 0.0030 * np.exp(-0.5 * ((u - 0.5) / 0.012) ** 2)
    rings[:, 6:16] -= seam[:, None, None] * out[:, None]
    return swept_cloth("hood", rings, colour * 0.98, material, closed_rings=False)


def _cords(path: Floats, garment: GarmentSpec, cloth: Floats) -> list[MeshPart]:
    """Two cords that hang from the hood's ends."""
    parts = []
    tone = linear(np.array((0.78, 0.77, 0.74))) if garment.folds > 0.55 else 0.6 * linear(garment.colour)
    for index, side in ((4, "l"), (STEPS - 4, "r")):
        top = path[index] + np.array((0, 0.004, 0.009))
        t = np.linspace(0, 1, 14)[:, None]
        length = 0.055 + 0.035 * garment.ease + (0.008 if side == "l" else 0.0)
        length = min(length, float(top[1]) - CUT_M - 0.03)
        line = top + t * np.array((0.006 * np.sign(top[0]), -length, 0.0))
        line[:, 0] += 0.0025 * np.sin(5 * t[:, 0] + index)
        line[2:, 2] = _front(cloth, line[2:, 0], line[2:, 1]) + 0.0030
        line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[2:] + line[:-2])
        vertices, quads = tube(line, np.r_[np.full(11, 0.0018), 0.0028, 0.0028, 0.0024], 8)
        parts.append(
            MeshPart(
                name=f"cord {side}",
                vertices=vertices,
                faces=quads,
                material=Frame(metallic=0.0),
                label="garment",
                colours=np.repeat(tone[None], len(vertices), 0),
            )
        )
    return parts


def swept_cloth(
    name: str,
    rings: Floats,
    colour: Floats,
    material: Cloth,
    *,
    closed_rings: bool,
    closed_path: bool = True,
) -> MeshPart:
    """Cloth swept along a path, with threads along it."""
    if closed_path:  # the last ring again: threads end where they began
        rings = np.concatenate((rings, rings[:1]))
    vertices = rings.reshape(-1, 3)
    across = np.broadcast_to(np.linspace(0, 0.03, rings.shape[1])[None], rings.shape[:2]).reshape(-1)
    step = np.linalg.norm(np.diff(rings[:, 0], axis=0, prepend=rings[:1, 0]), axis=1)
    along = np.repeat(np.cumsum(step), rings.shape[1])
    weave = np.stack((along, across, np.zeros_like(along)), -1)
    quads = sweep(rings, closed_rings=closed_rings)
    return MeshPart(
        name=name,
        vertices=vertices,
        faces=quads,
        material=material,
        label="garment",
        colours=np.repeat(colour[None], len(vertices), 0),
        fields={"weave": weave},
    )
