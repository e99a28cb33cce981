"""What finishes a neckline: a band, a turned collar with buttons, or a hood lying on the shoulders with its cords.

All are profiles swept along the garment's neckline loop.
"""

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.assets import Floats
from blender_scripts.body import CUT_M
from blender_scripts.mesh import resample_closed, sweep, tube
from blender_scripts.parts import MeshPart, linear, smoothstep
from pipeline.contracts.appearance import GarmentSpec

STEPS = 128
UP = np.array((0.0, 1.0, 0.0))


def build_collar(garment: GarmentSpec, loop: Floats, cloth: Floats, settings: dict[str, float]) -> list[MeshPart]:
    """Trim the neckline ``loop`` (point, 3) of a garment whose vertices are ``cloth``."""
    path = _ordered(loop)
    style = garment.style
    colour = linear(garment.colour)
    if style in ("shirt", "polo"):
        size = 1.0 if style == "shirt" else 0.82
        ends = CUT_M + 0.004 if style == "shirt" else path[0, 1] - 0.075
        return [
            _shirt_collar(path, colour, settings, size),
            _placket(path, ends, cloth, 0.96 * colour, settings),
            *_buttons(path, ends, cloth),
        ]
    if style == "hoodie":
        return [
            _band("band", path, colour * 0.92, 0.005, 0.004, settings),
            _hood(path, colour, settings),
            *_cords(path, garment),
        ]
    size_m = {
        "tee": (0.0065, 0.0028),
        "v-neck": (0.0075, 0.0032),
        "turtleneck": (0.003, 0.003),
        "jumper": (0.009, 0.004),
        "tank": (0.0045, 0.0022),
    }
    return [_band("band", path, colour * 0.94, *size_m[style], settings)]


def build_hems(
    loop: Floats, on_cut: np.ndarray[tuple[int], np.dtype[np.bool_]], garment: GarmentSpec, settings: dict[str, float]
) -> list[MeshPart]:
    """Round edges along the parts of a border that are not ``on_cut``: a tank's armholes."""
    if on_cut.all():
        return []
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
        parts.append(_rope(f"hem {number}", line, 0.0024, 0.92 * linear(garment.colour), settings))
    return parts


def build_lapels(
    garment: GarmentSpec,
    edge: Floats,
    at_neck: np.ndarray[tuple[int], np.dtype[np.bool_]],
    on_cut: np.ndarray[tuple[int], np.dtype[np.bool_]],
    settings: dict[str, float],
) -> list[MeshPart]:
    """A standing collar along the part of a jacket's ``edge`` that is ``at_neck``, and the zip's bands down its front.

    The edge is one closed loop: the neck, one front edge, the cut below the chest, the other front edge.
    """
    colour = linear(garment.colour)
    start = int(np.flatnonzero(on_cut & ~np.roll(on_cut, 1))[0])
    edge, at_neck, on_cut = np.roll(edge, -start, 0), np.roll(at_neck, -start), np.roll(on_cut, -start)
    line, neck = edge[~on_cut], at_neck[~on_cut]
    for _ in range(4):
        line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[2:] + line[:-2])
    parts = [_rope("front edge", line, 0.0030, 0.8 * colour, settings)]
    first, last = np.flatnonzero(neck)[[0, -1]]
    path = line[max(first - 1, 0) : last + 2]
    arc = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    at = np.linspace(0, arc[-1], STEPS)
    path = np.stack([np.interp(at, arc, path[:, k]) for k in range(3)], -1)
    for _ in range(8):
        path[1:-1] = 0.5 * path[1:-1] + 0.25 * (path[2:] + path[:-2])
    out = _outward(path)
    u = np.linspace(0, 1, STEPS)
    height = (0.030 * smoothstep(0.0, 0.10, u) * smoothstep(1.0, 0.90, u) + 0.006)[:, None]
    inner = [path + height * p * UP + out * 0.004 * p for p in (0.0, 0.4, 0.8, 1.0)]
    outer = [path + height * p * UP + out * (0.004 * p + 0.0045) for p in (1.0, 0.8, 0.4, 0.0)]
    rings = np.stack([*inner, *outer], 1)
    parts.append(_cloth("collar", rings, 0.97 * colour, settings, closed_path=False, closed_rings=True))
    return parts


def _rope(name: str, path: Floats, radius: float, colour: Floats, settings: dict[str, float]) -> MeshPart:
    vertices, quads = tube(path, radius, 10)
    return MeshPart(
        name,
        vertices,
        quads,
        "cloth",
        "garment",
        np.repeat(colour[None], len(vertices), 0),
        {"weave": vertices},
        settings,
    )


def _ordered(loop: Floats) -> Floats:
    """Resampled, smoothed, beginning at the front and running to the avatar's left."""
    path = resample_closed(loop, STEPS)
    for _ in range(6):
        path = 0.5 * path + 0.25 * (np.roll(path, 1, 0) + np.roll(path, -1, 0))
    path = np.roll(path, -int((path[:, 2] - 3 * np.abs(path[:, 0])).argmax()), 0)
    return path if path[STEPS // 8, 0] > path[-STEPS // 8, 0] else np.roll(path[::-1], 1, 0)


def _outward(path: Floats) -> Floats:
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


def _band(
    name: str, path: Floats, colour: Floats, width: float, thickness: float, settings: dict[str, float]
) -> MeshPart:
    """A flat rounded band along the edge."""
    out = _outward(path)
    up = _skinward_up(path, out)
    lean = np.cross(up, np.roll(path, -1, 0) - np.roll(path, 1, 0))
    lean *= np.sign((lean * out).sum(1, keepdims=True))
    lean /= np.maximum(np.linalg.norm(lean, axis=1, keepdims=True), 1e-9)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    a = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.6 * width
    b = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.6 * thickness
    rings = path[:, None] + a[None, :, None] * up[:, None] + b[None, :, None] * lean[:, None]
    return _cloth(name, rings, colour, settings, closed_rings=True)


def _shirt_collar(path: Floats, colour: Floats, settings: dict[str, float], size: float) -> MeshPart:
    """A stand and a leaf that falls over it, longest at the two points in front, open between them."""
    start = 3
    kept = path[start : STEPS - start + 1]
    out = _outward(path)[start : STEPS - start + 1]
    u = np.linspace(0, 1, len(kept))
    front = np.maximum(smoothstep(0.17, 0.0, u), smoothstep(0.83, 1.0, u))[:, None]
    stand = size * (0.026 - 0.012 * front)
    leaf = size * (0.036 + 0.012 * front)
    flare = 0.014 + 0.010 * front
    points = np.array((0.0, 0.35, 0.75, 1.0))
    rise = [kept + stand[:] * p * UP + out * (0.001 - 0.004 * p) for p in points]
    roll = [kept + (stand + 0.002) * UP + out * 0.003, kept + stand * UP + out * 0.008]
    fall = [kept + (stand - leaf * p) * UP + out * (0.009 + flare * p) for p in (0.25, 0.5, 0.75, 1.0)]
    back = [kept + (stand - leaf * p) * UP + out * (0.006 + flare * p) for p in (0.98, 0.5, 0.1)]
    rings = np.stack([*rise, *roll, *fall, *back], 1)
    side = np.sign(kept[:, :1])
    rings[:, 7:12] += (front * side * 0.010)[:, None] * np.array((1.0, 0, 0)) * np.linspace(0.3, 1, 5)[None, :, None]
    return _cloth("collar", rings, colour, settings, closed_path=False, closed_rings=False)


def _front(cloth: Floats, x: Floats, y: Floats) -> Floats:
    """z of the cloth's front at places (x, y)."""
    front = cloth[(cloth[:, 2] > 0) & (np.abs(cloth[:, 0]) < 0.05)]
    distance, index = cKDTree(front[:, :2]).query(np.stack((x, y), -1), k=6)
    weight = 1 / (distance + 1e-3) ** 2
    return np.asarray((front[index, 2] * weight).sum(-1) / weight.sum(-1))


def _placket(path: Floats, ends: float, cloth: Floats, colour: Floats, settings: dict[str, float]) -> MeshPart:
    """The strip that buttons go through, from the collar down to the height ``ends``."""
    heights = np.linspace(path[0, 1] + 0.002, max(ends, CUT_M + 0.004), 30)
    x = np.array((-0.0125, -0.0120, -0.006, 0.0, 0.006, 0.0120, 0.0125))
    lift = np.array((0.0, 0.0022, 0.0026, 0.0027, 0.0026, 0.0022, 0.0))
    grid_x, grid_y = np.meshgrid(x, heights)
    z = _front(cloth, grid_x.reshape(-1), grid_y.reshape(-1)).reshape(grid_x.shape)
    for _ in range(3):
        z[1:-1] = 0.5 * z[1:-1] + 0.25 * (z[2:] + z[:-2])
    rings = np.stack((grid_x, grid_y, z + lift[None]), -1)
    return _cloth("placket", rings, colour, settings, closed_path=False, closed_rings=False)


def _buttons(path: Floats, ends: float, cloth: Floats) -> list[MeshPart]:
    """Small buttons down the placket."""
    parts = []
    pale = linear(np.array((0.85, 0.83, 0.78)))
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
        parts.append(MeshPart(f"button {number}", rings.reshape(-1, 3), sweep(rings), "wet", "garment", tint))
    return parts


def _hood(path: Floats, colour: Floats, settings: dict[str, float]) -> MeshPart:
    """A soft roll, fullest behind the neck, thin where its ends meet in front."""
    out = _outward(path)
    u = np.arange(STEPS) / STEPS
    behind = 0.5 - 0.5 * np.cos(2 * np.pi * u)
    radius = (0.015 + 0.020 * behind**1.3)[:, None]
    middle = path + out * (0.006 + 0.85 * radius * behind[:, None]) + UP * (0.004 + 0.25 * radius)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    wobble = 1 + 0.05 * np.sin(3 * angle[None] + 9 * np.pi * u[:, None])
    a = np.cos(angle)[None] * radius * 0.85 * wobble
    b = np.sin(angle)[None] * radius * 1.15 * wobble
    # The inner side of the roll leans over, as a hood's opening does.
    b = b - 0.25 * np.maximum(0, -np.cos(angle))[None] * radius
    rings = middle[:, None] + a[..., None] * out[:, None] + b[..., None] * UP
    return _cloth("hood", rings, colour * 0.97, settings, closed_rings=True)


def _cords(path: Floats, garment: GarmentSpec) -> list[MeshPart]:
    """Two cords that hang from the hood's ends."""
    parts = []
    tone = linear(np.array((0.86, 0.85, 0.82)))
    for index, side in ((4, "l"), (STEPS - 4, "r")):
        top = path[index] + np.array((0, 0.0, 0.016))
        t = np.linspace(0, 1, 14)[:, None]
        drop = np.array((0.004 * np.sign(top[0]), -0.075, 0.020 + 0.008 * garment.ease))
        line = top + t * drop + np.array((0, 0, 0.010)) * np.sin(np.pi * t)
        vertices, quads = tube(line, 0.0022, 8)
        parts.append(
            MeshPart(
                f"cord {side}",
                vertices,
                quads,
                "frame",
                "garment",
                np.repeat(tone[None], len(vertices), 0),
                settings={"metallic": 0.0},
            )
        )
    return parts


def _cloth(
    name: str,
    rings: Floats,
    colour: Floats,
    settings: dict[str, float],
    *,
    closed_rings: bool,
    closed_path: bool = True,
) -> MeshPart:
    vertices = rings.reshape(-1, 3)
    across = np.broadcast_to(np.linspace(0, 0.03, rings.shape[1])[None], rings.shape[:2]).reshape(-1)
    step = np.linalg.norm(np.diff(rings[:, 0], axis=0, append=rings[:1, 0]), axis=1)
    along = np.repeat(np.cumsum(step), rings.shape[1])
    weave = np.stack((along, across, np.zeros_like(along)), -1)
    quads = sweep(rings, closed_rings=closed_rings, closed_path=closed_path)
    return MeshPart(
        name, vertices, quads, "cloth", "garment", np.repeat(colour[None], len(vertices), 0), {"weave": weave}, settings
    )
