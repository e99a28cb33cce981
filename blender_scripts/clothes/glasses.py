"""Glasses that sit on the nose and the ears."""

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats, linear
from blender_scripts.geometry.material import Frame, Lens
from blender_scripts.geometry.mesh import tube
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.appearance import GlassesSpec
from pipeline.contracts.avatar import AvatarSpec

EXPONENTS = {"round": 2.0, "oval": 2.3, "square": 4.2, "aviator": 2.5, "cat-eye": 2.7}
ASPECTS = {"round": 0.94, "oval": 0.70, "square": 0.76, "aviator": 0.92, "cat-eye": 0.72}


def build_glasses(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """Two rims, two lenses, a bridge and two arms; nothing without glasses."""
    glasses = spec.glasses
    if glasses is None:
        return []
    left, right = (body.eyes[i][0] for i in (0, 1))
    apart = left[0] - right[0]
    half = apart * (0.385 + 0.035 * glasses.width)
    wire = 0.0011 + 0.0013 * glasses.thickness
    front = _front_z(body) + 0.003
    colour = linear(glasses.colour)
    material = Frame(metallic=1.0 if min(glasses.colour) > 0.2 else 0.0)
    parts = []

    def frame(name: str, path: Floats, radius: float, closed: bool = False) -> None:
        vertices, quads = tube(path, radius, 10, closed)
        tint = np.repeat(colour[None], len(vertices), 0)
        parts.append(
            MeshPart(name=name, vertices=vertices, faces=quads, material=material, label="glasses", colours=tint)
        )

    for eye, sign in ((left, 1.0), (right, -1.0)):
        side = "l" if sign > 0 else "r"
        rim = _outline(glasses, np.array((sign * apart * 0.52, eye[1] - 0.004, front)), half, sign)
        frame(f"rim {side}", rim, wire, closed=True)
        lens = np.concatenate((rim, rim.mean(0, keepdims=True)))
        here = np.arange(len(rim))
        fan = np.stack((here, np.roll(here, -1), np.full(len(rim), len(rim))), 1)
        parts.append(
            MeshPart(
                name=f"lens {side}",
                vertices=lens,
                faces=fan,
                material=Lens(tint=0.94),
                label=None,
                colours=np.ones_like(lens),
                shadow=False,
            )
        )
        frame(f"arm {side}", _arm(rim, body, sign), wire * 0.95)
    gap = apart * 0.52 - half
    frame("bridge", _bridge(gap, left[1] + 0.004, front), wire)
    if glasses.shape == "aviator":
        bar = _bridge(gap + 0.006, left[1] + 0.013, front)
        frame("bar", bar, 0.8 * wire)
    for sign in (1.0, -1.0):
        frame(f"pad {sign:+.0f}", _pad(body, sign, gap, left[1] - 0.006, front), 0.9 * wire)
    return parts


def _front_z(body: Body) -> float:
    """In front of brows, lashes and eyeballs."""
    rest = body.topology.rest
    region = (np.abs(np.abs(rest[:, 0]) - 0.3) < 0.22) & (np.abs(rest[:, 1] - 7.3) < 0.22)
    outer = float(body.vertices[region, 2].max())
    return float(max(outer, body.eyes[0][0][2] + body.eyes[0][1] + 0.009))


def _outline(glasses: GlassesSpec, centre: Floats, half: float, sign: float) -> Floats:
    """A superellipse, bent back towards the temple."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    power = 2 / EXPONENTS[glasses.shape]
    x = half * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    y = half * ASPECTS[glasses.shape] * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    outward = (x / half + 1) / 2
    if glasses.shape == "aviator":  # drops: narrow above, full below and outside
        x = x * (1 - 0.13 * y / half) + 0.06 * half * (outward - 0.5) * (y < 0)
        y = y - 0.10 * half * (1 - outward) * np.sign(y) * (y < 0) * -1
    elif glasses.shape == "cat-eye":  # the upper outer corners are drawn up
        y = y + 0.34 * half * outward**2.2 * (np.sin(angle) > -0.25) * np.clip(np.sin(angle) + 0.25, 0, 1)
    z = -0.010 * outward**2 * half / 0.024
    return np.asarray(centre + np.stack((sign * x, y, z), -1))


def _bridge(gap: float, height: float, front: float) -> Floats:
    t = np.linspace(-1, 1, 16)
    return np.stack((t * (gap + 0.0005), height + 0.0035 * (1 - t**2), front - 0.0 * t), -1)


def _pad(body: Body, sign: float, gap: float, height: float, front: float) -> Floats:
    """From the rim's inner edge back to the side of the nose, where it rests."""
    top = np.array((sign * gap, height, front))
    near = body.vertices[(np.abs(body.vertices[:, 1] - height + 0.004) < 0.004) & (body.vertices[:, 2] > front - 0.03)]
    offset = np.abs(near - np.array((sign * 0.75 * gap, height - 0.004, front - 0.008))).sum(1)
    seat = near[offset.argmin()] + np.array((sign * 0.0012, 0, 0.0008))
    t = np.linspace(0, 1, 12)[:, None]
    return np.asarray(top + t * (seat - top) + np.sin(np.pi * t) * np.array((0, 0.0015, 0)))


def _arm(rim: Floats, body: Body, sign: float) -> Floats:
    """From the rim's outer end along the temple, over the ear and down behind it."""
    rest, ears = body.topology.rest, body.topology.masks["ears"] > 0.5
    ear = body.vertices[ears & (sign * rest[:, 0] > 0)]
    hinge = rim[(sign * rim[:, 0] + 0.35 * rim[:, 1]).argmax()]
    top = ear[:, 1].max()
    root = ear[np.abs(ear[:, 1] - (top - 0.012)) < 0.008]
    # Where the ear meets the head: its innermost point near the top.
    inner = root[(sign * root[:, 0]).argmin()]
    seat = np.array((inner[0] + sign * 0.003, top - 0.010, inner[2]))
    corner = hinge + np.array((sign * 0.003, 0, -0.008))
    middle = (corner + seat) / 2 + np.array((sign * 0.003, 0.001, 0))
    end = seat + np.array((-sign * 0.002, -0.022, -0.018))
    keys = np.stack((hinge, corner, middle, seat, seat + (end - seat) * 0.5 + np.array((0, 0.003, -0.002)), end))
    at = np.linspace(0, len(keys) - 1, 40)
    path = np.stack([np.interp(at, np.arange(len(keys)), keys[:, k]) for k in range(3)], -1)
    for _ in range(4):
        path[1:-1] = 0.5 * path[1:-1] + 0.25 * (path[2:] + path[:-2])
    return path
