"""What is made of gathered hair: a bun's coil, tails that hang, braids of three strands."""

import numpy as np

from blender_scripts.body.obstacle import Obstacle
from blender_scripts.geometry.arrays import Floats, unit
from blender_scripts.geometry.parts import StrandPart
from blender_scripts.geometry.strand import frizz, taper
from blender_scripts.hair.style import Head, Tie
from pipeline.contracts.avatar import AvatarSpec

LONGEST_M = 0.24


def build_tied(
    tie: Tie, spec: AvatarSpec, head: Head, obstacle: Obstacle, colours: Floats, rng: np.random.Generator
) -> list[StrandPart]:
    """The tied part of the hair, ``colours`` (strand, 3) shared out evenly."""
    knots = head.knots(tie)
    parts = []
    for number, (knot, tints) in enumerate(zip(knots, np.array_split(colours, len(knots)), strict=True)):
        if tie == "bun":
            points = _coil(knot, head, spec.hair.length, len(tints), rng)
        else:
            path = _hanging(tie, knot, head, spec.hair.length, obstacle)
            points = _braid(path, len(tints), rng) if tie == "braids" else _tail(path, spec, len(tints), rng)
        radii = taper(len(tints), points.shape[1], 0.0007, 0.6)
        name = f"{tie} {number}"
        parts.append(StrandPart(name=name, role="tied", label="hair", points=points, radii=radii, colours=tints))
    return parts


def _coil(knot: Floats, head: Head, length: float, count: int, rng: np.random.Generator) -> Floats:
    size = 26
    radius = 0.024 + 0.012 * length
    axis = unit(knot - head.centre)
    middle = knot + axis * radius * 0.85
    u = unit(np.cross(axis, np.array((1.0, 0, 0))))
    v = np.cross(axis, u)
    tilt = rng.uniform(0, 2 * np.pi, count)[:, None]
    start = rng.uniform(0, 2 * np.pi, count)[:, None]
    t = np.linspace(0, 1, size)[None]
    angle = start + t * 3.6
    tube = tilt + 1.3 * t
    ring = radius * (0.62 + 0.42 * np.cos(tube) * np.sqrt(rng.random((count, 1))))
    height = radius * 0.55 * np.sin(tube) + radius * 0.25
    strands = (
        middle
        + (ring * np.cos(angle))[..., None] * u
        + (ring * np.sin(angle))[..., None] * v
        + height[..., None] * axis
    )
    return np.asarray(strands + rng.normal(0, 0.0006, (count, 1, 3)))


def _hanging(tie: Tie, knot: Floats, head: Head, length: float, obstacle: Obstacle) -> Floats:
    """The middle line of a tail (point, 3): out from the knot, then down, off skin and cloth."""
    reach = LONGEST_M * (0.55 + 0.45 * length)
    steps = 36
    direction = unit(knot - head.centre + np.array((0, 0.02, 0)))
    # Braids are brought forward over the shoulders; tails hang behind.
    pull = np.array((0.0, -1.0, 0.38 if tie == "braids" else 0.0))
    if tie == "braids":  # they leave the head hanging, so that they lie on narrow shoulders too
        direction = unit(0.3 * direction + pull)
    points = [knot]
    for k in range(1, steps):
        direction = unit((0.62 if k < 6 else 0.5) * direction + (0.10 + 0.04 * k) * pull)
        here = points[-1] + reach / steps * direction
        here = obstacle.push(here[None], np.array((0.016,)))[0]
        direction = unit(here - points[-1])
        points.append(points[-1] + reach / steps * direction)
    path = np.stack(points)
    for _ in range(3):
        path[1:-1] = 0.5 * path[1:-1] + 0.25 * (path[2:] + path[:-2])
    return path


def _frames(path: Floats) -> tuple[Floats, Floats]:
    """Two directions across the path at each point."""
    tangent = unit(np.asarray(np.gradient(path, axis=0)))
    u = unit(np.cross(tangent, np.array((0.2, 0.1, 1.0))))
    return u, np.cross(tangent, u)


def _tail(path: Floats, spec: AvatarSpec, count: int, rng: np.random.Generator) -> Floats:
    """A bundle, narrow at the tie, full below it, thin at the end."""
    u, v = _frames(path)
    t = np.linspace(0, 1, len(path))
    width = 0.007 + 0.019 * np.sin(np.pi * np.clip(0.10 + 0.72 * t, 0, 1)) ** 0.8
    angle, share = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    wave = 0.25 * spec.hair.curl * np.sin(18 * t[None] + rng.uniform(0, 6.3, count)[:, None])
    across = (share * np.cos(angle))[:, None] + wave
    along = (share * np.sin(angle))[:, None]
    strands = path + width[None, :, None] * (across[..., None] * u + along[..., None] * v)
    return frizz(strands, 0.010 * rng.random(count), rng)


def _braid(path: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Three bundles that cross each other: the middle of each runs on a flat figure of eight."""
    size = 64
    at = np.linspace(0, len(path) - 1, size)
    path = np.stack([np.interp(at, np.arange(len(path)), path[:, k]) for k in range(3)], -1)
    u, v = _frames(path)
    arc = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    bundle = rng.integers(0, 3, count)[:, None]
    phase = 2 * np.pi * (arc[None] / 0.034 + bundle / 3)
    thin = np.linspace(1, 0.6, size)[None]
    angle, share = rng.uniform(0, 2 * np.pi, count)[:, None], np.sqrt(rng.random(count))[:, None]
    across = 0.0078 * np.sin(phase) + 0.0052 * share * np.cos(angle)
    along = 0.0042 * np.sin(2 * phase) + 0.0046 * share * np.sin(angle)
    strands = path + (thin * across)[..., None] * u + (thin * along)[..., None] * v
    return frizz(strands, 0.0025 * rng.random(count), rng)
