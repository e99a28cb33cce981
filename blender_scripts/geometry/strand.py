"""Strands in numpy: roots scattered on a surface, children between guides, clumps, curls, tapering."""

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.geometry.arrays import Floats, Ints, unit


def scatter(
    vertices: Floats, triangles: Ints, density: Floats, count: int, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """``count`` random places on a surface, ``density`` (vertex,) weighting the area: triangle and barycentrics.

    Density varies within triangles too (by rejection): otherwise a hairline would show their corners as teeth.
    """
    kept = np.flatnonzero(density[triangles].max(1) > 1e-6)
    a, b, c = (vertices[triangles[kept, i]] for i in range(3))
    highest = density[triangles[kept]].max(1)
    bounds = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1) * highest)
    found: list[tuple[Ints, Floats]] = []
    missing = count
    while missing > 0:
        tries = int(1.5 * missing) + 64
        # Stratified along the cumulative area: a few strands already cover evenly.
        picks = (np.arange(tries) + rng.random(tries)) / tries * bounds[-1]
        chosen = np.minimum(np.searchsorted(bounds, picks, side="right"), len(kept) - 1)
        r1, r2 = np.sqrt(rng.random(tries)), rng.random(tries)
        weights = np.stack((1 - r1, r1 * (1 - r2), r1 * r2), -1)
        here = (density[triangles[kept[chosen]]] * weights).sum(1)
        accepted = np.flatnonzero(rng.random(tries) * highest[chosen] < here)
        accepted = np.sort(rng.permutation(accepted)[:missing])
        found.append((kept[chosen[accepted]], weights[accepted]))
        missing -= len(accepted)
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def at_places(values: Floats, triangles: Ints, places: tuple[Ints, Floats]) -> Floats:
    """Vertex values interpolated at scattered places."""
    corners = values[triangles[places[0]]]
    weights = places[1] if values.ndim == 1 else places[1][..., None]
    total: Floats = (corners * weights).sum(1)
    return total


def between_guides(roots: Floats, sides: Floats, guides: Floats, guide_sides: Floats, lengths: Floats) -> Floats:
    """Strands at ``roots`` as mixtures of the three nearest guides' shapes.

    ``sides`` is -1..1; guides on the other side of a parting count as far away. ``lengths`` scales each child.
    """
    lift = 0.03
    tree = cKDTree(np.concatenate((guides[:, 0], lift * guide_sides[:, None]), 1))
    distance, index = tree.query(np.concatenate((roots, lift * sides[:, None]), 1), k=3)
    weight = 1 / (distance + 1e-3) ** 2
    weight /= weight.sum(1, keepdims=True)
    shapes = guides - guides[:, :1]
    mixed = np.einsum("nk,nkpc->npc", weight, shapes[index])
    return np.asarray(roots[:, None] + mixed * lengths[:, None, None])


def clump(strands: Floats, spacing: int, strength: float, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Pull strands towards every ``spacing``-th one, more so at the tips; also returns each strand's clump."""
    centres = strands[rng.permutation(len(strands))[: max(1, len(strands) // spacing)]]
    _, index = cKDTree(centres[:, 0]).query(strands[:, 0])
    t = np.linspace(0, 1, strands.shape[1])
    amount = strength * t**0.7 * (0.6 + 0.4 * rng.random((len(strands), 1)))
    pulled = strands + amount[..., None] * (centres[index] - strands) * np.minimum(1, 1.15 - 0.5 * t)[None, :, None]
    return np.asarray(pulled), np.asarray(index)


def curl(
    strands: Floats, radius: Floats, wavelength: Floats, phase: Floats, rng: np.random.Generator, flat: float = 0.0
) -> Floats:
    """Wind each strand around itself: a helix, or with ``flat`` 1 a wave in one plane."""
    steps = np.linalg.norm(np.diff(strands, axis=1), axis=2)
    arc = np.concatenate((np.zeros((len(strands), 1)), np.cumsum(steps, 1)), 1)
    along = unit(strands[:, -1] - strands[:, 0])
    u = unit(np.cross(along, unit(rng.normal(0, 0.35, along.shape) + np.array((0.35, 0.2, 0.9)))))
    v = np.cross(along, u)
    angle = 2 * np.pi * arc / wavelength[:, None] + phase[:, None]
    size = radius[:, None] * np.clip(arc / (0.7 * wavelength[:, None]), 0, 1)
    spin = (np.cos(angle) * size)[..., None] * u[:, None]
    return np.asarray(strands + spin + (1 - flat) * (np.sin(angle) * size)[..., None] * v[:, None])


def frizz(strands: Floats, amount: Floats, rng: np.random.Generator) -> Floats:
    """Bend each strand by a smooth random curve growing to ``amount`` metres at its tip."""
    t = np.linspace(0, 1, strands.shape[1])[None, :, None]
    first, second = rng.normal(size=(2, len(strands), 1, 3))
    bend = first * t**1.5 + 0.5 * second * np.sin(2 * np.pi * t) * t
    return np.asarray(strands + amount[:, None, None] * bend)


def taper(count: int, size: int, root: Floats | float, tip: float = 0.35, rising: bool = False) -> Floats:
    """Radii (strand, point) from ``root`` metres to ``tip`` times that."""
    t = np.linspace(0, 1, size)
    profile = 1 - (1 - tip) * t**2
    if rising:
        profile = profile * np.minimum(1, 0.5 + 3 * t)
    return np.asarray(np.broadcast_to(np.asarray(root, float), (count,))[:, None] * profile)
