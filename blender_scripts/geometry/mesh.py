"""Triangle and quad meshes in numpy: normals, smoothing, clipping by a scalar field, border loops, sweeps, caps."""

import numpy as np
import scipy.sparse as sp

from blender_scripts.geometry.arrays import Floats, Ints


def triangulate(quads: Ints) -> Ints:
    """Two triangles a quad."""
    return np.concatenate((quads[:, (0, 1, 2)], quads[:, (0, 2, 3)]))


def vertex_normals(vertices: Floats, triangles: Ints) -> Floats:
    """Unit normals, area weighted; zero where no triangle touches."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(triangles.T.reshape(-1), np.tile(face[:, k], 3), len(vertices)) for k in range(3)], -1
    )
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))


def adjacency(triangles: Ints, num_vertices: int) -> sp.csr_matrix:
    """Row-normalised neighbour matrix: times positions it gives each vertex's mean neighbour."""
    ends = np.concatenate((triangles[:, (0, 1)], triangles[:, (1, 2)], triangles[:, (2, 0)]))
    ends = np.concatenate((ends, ends[:, ::-1]))
    matrix = sp.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(num_vertices, num_vertices))
    matrix.data[:] = 1
    degree = np.maximum(np.asarray(matrix.sum(1)).reshape(-1), 1)
    return sp.diags(1 / degree) @ matrix


def smooth(values: Floats, mean: sp.csr_matrix, rounds: int, strength: Floats | float = 0.5) -> Floats:
    """Laplacian smoothing; ``strength`` may differ by vertex (0 keeps it)."""
    weight = strength[:, None] if isinstance(strength, np.ndarray) and values.ndim == 2 else strength
    for _ in range(rounds):
        values = values + weight * (mean @ values - values)
    return values


def clip(vertices: Floats, triangles: Ints, field: Floats, attributes: Floats) -> tuple[Floats, Ints, Floats]:
    """Keep where ``field`` is above 0, cutting triangles along its zero line (marching triangles).

    ``attributes`` (vertex, channel) are interpolated along. Returns compact vertices, triangles and attributes;
    vertices on the cut are shared by their triangles.
    """
    sign = field > 0
    kept = sign[triangles].sum(1)
    whole = triangles[kept == 3]
    cut = triangles[(kept == 1) | (kept == 2)]
    # Roll each cut triangle so that its lonely corner (the only one kept, or the only one dropped) comes first.
    inside = sign[cut]
    lonely = np.where(inside.sum(1) == 1, inside.argmax(1), (~inside).argmax(1))
    cut = np.take_along_axis(cut, (lonely[:, None] + np.arange(3)) % 3, 1)
    edges = np.sort(np.concatenate((cut[:, (0, 1)], cut[:, (0, 2)])), 1)
    keys, index = np.unique(edges[:, 0] * len(vertices) + edges[:, 1], return_inverse=True)
    unique = np.stack(np.divmod(keys, len(vertices)), 1)
    index = index + len(vertices)
    low, high = field[unique[:, 0]], field[unique[:, 1]]
    t = np.clip(low / np.where(low == high, 1.0, low - high), 1e-4, 1 - 1e-4)[:, None]
    new_vertices = vertices[unique[:, 0]] * (1 - t) + vertices[unique[:, 1]] * t
    new_attributes = attributes[unique[:, 0]] * (1 - t) + attributes[unique[:, 1]] * t
    first, second = index[: len(cut)], index[len(cut) :]
    tip = sign[cut[:, 0]]
    tips = np.stack((cut[tip, 0], first[tip], second[tip]), 1)
    rest = ~tip
    lower = np.stack((first[rest], cut[rest, 1], cut[rest, 2]), 1)
    upper = np.stack((first[rest], cut[rest, 2], second[rest]), 1)
    all_triangles = np.concatenate((whole, tips, lower, upper))
    all_vertices = np.concatenate((vertices, new_vertices))
    all_attributes = np.concatenate((attributes, new_attributes))
    used, compact = np.unique(all_triangles, return_inverse=True)
    return all_vertices[used], compact.reshape(-1, 3), all_attributes[used]


def border_loops(triangles: Ints) -> list[Ints]:
    """Closed loops of border edges as vertex indices, longest first, running with the surface on their left."""
    ends = np.concatenate((triangles[:, (0, 1)], triangles[:, (1, 2)], triangles[:, (2, 0)]))
    low, high = np.sort(ends, 1).T
    _, index, counts = np.unique(low * (ends.max() + 1) + high, return_inverse=True, return_counts=True)
    border = ends[counts[index] == 1]
    follow = {int(a): int(b) for a, b in border}
    loops = []
    while follow:
        start, here = follow.popitem()
        loop = [start]
        while here != start and here in follow:
            loop.append(here)
            here = follow.pop(here)
        if here == start and len(loop) > 2:
            loops.append(np.asarray(loop))
    return sorted(loops, key=len, reverse=True)


def largest_component(triangles: Ints, num_vertices: int) -> Ints:
    """The triangles of the component with most vertices."""
    ends = np.concatenate((triangles[:, (0, 1)], triangles[:, (1, 2)]))
    graph = sp.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(num_vertices, num_vertices))
    _, label = sp.csgraph.connected_components(graph, directed=False)
    best = np.bincount(label[triangles[:, 0]]).argmax()
    return np.asarray(triangles[label[triangles[:, 0]] == best])


def fan_cap(vertices: Floats, loop: Ints) -> tuple[Floats, Ints]:
    """Close a border loop: its vertices again and their mean, and triangles facing away from the surface."""
    ring = vertices[loop]
    count = len(loop)
    here = np.arange(count)
    triangles = np.stack((np.roll(here, -1), here, np.full(count, count)), 1)
    return np.concatenate((ring, ring.mean(0, keepdims=True))), triangles


def sweep(rings: Floats, closed_rings: bool = True, closed_path: bool = False) -> Ints:
    """Quads of a grid of points (path, ring, 3)."""
    steps, size = rings.shape[:2]
    i = np.arange(steps if closed_path else steps - 1)[:, None]
    j = np.arange(size if closed_rings else size - 1)[None]
    i1, j1 = (i + 1) % steps, (j + 1) % size
    quads = np.stack(np.broadcast_arrays(i * size + j, i * size + j1, i1 * size + j1, i1 * size + j), -1)
    return np.asarray(quads.reshape(-1, 4))


def tube(path: Floats, radius: Floats | float, sides: int = 8, closed: bool = False) -> tuple[Floats, Ints]:
    """A round tube along ``path`` (point, 3); open ends are left open but pulled to a point."""
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.asarray(np.gradient(path, axis=0))
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    mean = np.abs(tangent).mean(0)
    reference = np.eye(3)[mean.argmin()]
    u = np.cross(tangent, reference)
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-12)
    v = np.cross(tangent, u)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    radii = np.broadcast_to(np.asarray(radius, float), (len(path),)).copy()
    if not closed:
        radii[[0, -1]] *= 0.05
    circle = np.cos(angle)[None, :, None] * u[:, None] + np.sin(angle)[None, :, None] * v[:, None]
    rings = path[:, None] + radii[:, None, None] * circle
    return rings.reshape(-1, 3), sweep(rings, closed_path=closed)


def resample_closed(path: Floats, count: int) -> Floats:
    """``count`` points at equal arc length on a closed polyline, starting at its first point."""
    ring = np.concatenate((path, path[:1]))
    arc = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))))
    at = np.linspace(0, arc[-1], count, endpoint=False)
    return np.stack([np.interp(at, arc, ring[:, k]) for k in range(3)], -1)


def waves(points: Floats, rng: np.random.Generator, frequency: Floats, count: int = 12) -> Floats:
    """Smooth noise of unit variance: a sum of random plane waves; ``frequency`` in cycles a unit, by axis."""
    directions = rng.normal(size=(count, 3)) * (2 * np.pi * np.asarray(frequency))
    phases = rng.uniform(0, 2 * np.pi, count)
    total: Floats = np.sin(points @ directions.T + phases).sum(1) * np.sqrt(2 / count)
    return total
