"""What finishes a neckline: a band, a turned collar with buttons, or a hood lying on the shoulders with its cords.

All are profiles swept along the garment's neckline loop.
"""

import numpy as np

from blender_scripts.assets import Floats
from blender_scripts.body import CUT_M, Body
from blender_scripts.mesh import resample_closed, sweep, tube
from blender_scripts.parts import MeshPart, linear, smoothstep
from pipeline.contracts.avatar import AvatarSpec

STEPS = 128
UP = np.array((0.0, 1.0, 0.0))


def build_collar(spec: AvatarSpec, body: Body, loop: Floats, settings: dict[str, float]) -> list[MeshPart]:
    """Trim the neckline ``loop`` (point, 3)."""
    path = _ordered(loop)
    style = spec.garment.style
    colour = linear(spec.garment.colour)
    if style == "shirt":
        return [_shirt_collar(path, colour, settings), *_buttons(path, body, spec)]
    if style == "hoodie":
        return [
            _band("band", path, colour * 0.92, 0.005, 0.004, settings),
            _hood(path, colour, settings),
            *_cords(path, spec),
        ]
    size = {"tee": (0.0065, 0.0028), "v-neck": (0.0075, 0.0032), "turtleneck": (0.003, 0.003), "jumper": (0.009, 0.004)}
    return [_band("band", path, colour * 0.94, *size[style], settings)]


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


def _shirt_collar(path: Floats, colour: Floats, settings: dict[str, float]) -> MeshPart:
    """A stand and a leaf that falls over it, longest at the two points in front, open between them."""
    start = 3
    kept = path[start : STEPS - start + 1]
    out = _outward(path)[start : STEPS - start + 1]
    u = np.linspace(0, 1, len(kept))
    front = np.maximum(smoothstep(0.17, 0.0, u), smoothstep(0.83, 1.0, u))[:, None]
    stand = 0.026 - 0.012 * front
    leaf = 0.036 + 0.012 * front
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


def _buttons(path: Floats, body: Body, spec: AvatarSpec) -> list[MeshPart]:
    """Three small buttons below the collar."""
    parts = []
    pale = linear(np.array((0.85, 0.83, 0.78)))
    start = path[0]
    for number in range(3):
        height = start[1] - 0.012 - 0.042 * number
        near = np.abs(body.vertices[:, 0]) < 0.006
        front = body.vertices[near & (np.abs(body.vertices[:, 1] - height) < 0.006)]
        if height < CUT_M + 0.012 or not len(front):
            continue
        z = max(front[:, 2].max() + 0.0185 + 0.010 * spec.garment.ease, 0)
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        rings = np.stack(
            [
                np.stack((r * np.cos(angle), height + r * np.sin(angle), np.full(12, z + d)), -1)
                for r, d in ((0.0055, -0.004), (0.0055, 0.001), (0.004, 0.0018), (0.0003, 0.0012))
            ]
        )
        parts.append(
            MeshPart(
                f"button {number}", rings.reshape(-1, 3), sweep(rings), "wet", np.repeat(pale[None], rings.size // 3, 0)
            )
        )
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


def _cords(path: Floats, spec: AvatarSpec) -> list[MeshPart]:
    """Two cords that hang from the hood's ends."""
    parts = []
    tone = linear(np.array((0.86, 0.85, 0.82)))
    for index, side in ((4, "l"), (STEPS - 4, "r")):
        top = path[index] + np.array((0, 0.0, 0.016))
        t = np.linspace(0, 1, 14)[:, None]
        drop = np.array((0.004 * np.sign(top[0]), -0.075, 0.020 + 0.008 * spec.garment.ease))
        line = top + t * drop + np.array((0, 0, 0.010)) * np.sin(np.pi * t)
        vertices, quads = tube(line, 0.0022, 8)
        parts.append(
            MeshPart(
                f"cord {side}",
                vertices,
                quads,
                "frame",
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
        name, vertices, quads, "cloth", np.repeat(colour[None], len(vertices), 0), {"weave": weave}, settings
    )
