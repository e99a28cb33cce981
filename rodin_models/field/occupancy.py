"""Where there can be matter: grids of cells over the cube, and a guess of how dense each cell is.

A grid is ``Bool[Tensor, "x y z"]``; cell i of R along an axis spans [2 i / R - 1, 2 (i + 1) / R - 1]. While fitting it
is the visual hull, carved from the alpha masks (:mod:`rodin_models.fit.hull`); for planes alone, the cells in which
their field is dense. Samples are placed by it in :mod:`rodin_models.field.march`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Occupancy(NamedTuple):
    """A grid, the box around its occupied cells, and a guess of their density."""

    grid: Bool[Tensor, "x y z"]
    """Cells in which there can be matter."""
    low: Float[Tensor, " 3"]
    """World corner of the box, the smallest coordinate of each axis."""
    high: Float[Tensor, " 3"]
    """The opposite corner."""
    density: Float[Tensor, "x y z"]
    """About how dense each cell is, per world unit: 0 where nothing is known yet, negative where it is not occupied."""

    @property
    def cell(self) -> float:
        """A cell's side in world units."""
        return 2 / self.grid.shape[0]


def make_occupancy(
    grid: Bool[Tensor, "side side side"], density: Float[Tensor, "side side side"] | None = None
) -> Occupancy:
    """Find the box around the occupied cells; an empty grid gets an empty box at the origin."""
    side = grid.shape[0]
    low, high = torch.zeros(3, device=grid.device), torch.zeros(3, device=grid.device)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = grid.any(dim=others).nonzero()
        if len(filled):
            low[axis], high[axis] = filled[0, 0] * 2 / side - 1, (filled[-1, 0] + 1) * 2 / side - 1
    known = torch.zeros(grid.shape, device=grid.device) if density is None else density
    return Occupancy(grid, low, high, torch.where(grid, known, -1.0))


def attached(occupancy: Occupancy, solid: float = 0.1, share: float = 0.05, reach: float = 3 / 32) -> Occupancy:
    """Without what floats beside a body, such as wisps that a generative model left in the air.

    Bodies are the connected cells whose opacity is above ``solid``, the largest and those of at least ``share`` of its
    cells; what lies within ``reach`` world units of one stays, along each axis. Where nothing is solid, all of it does.
    """
    from scipy.ndimage import label

    side = occupancy.grid.shape[0]
    is_solid = occupancy.density > -math.log(1 - solid) * side / 2
    pieces, count = label(is_solid.cpu().numpy(), structure=[[[1] * 3] * 3] * 3)
    if not count:
        return occupancy
    piece = torch.from_numpy(pieces).to(occupancy.grid.device).long()
    sizes = torch.bincount(piece.flatten(), minlength=count + 1)
    sizes[0] = 0
    bodies = (sizes >= share * sizes.max()) & (sizes > 0)
    return make_occupancy(occupancy.grid & dilate(bodies[piece], max(1, round(reach * side / 2))), occupancy.density)


def cell_centres(cells: Int[Tensor, "cell 3"], resolution: int) -> Float[Tensor, "cell 3"]:
    """World positions of cells given by their three indices."""
    return (cells * 2 + 1) / resolution - 1


def cell_index(points: Float[Tensor, "*batch 3"], resolution: int) -> Int[Tensor, "*batch"]:
    """Flat index of the cell around each point; points outside the cube get the nearest cell."""
    cells = ((points + 1) * (resolution / 2)).clamp(0, resolution - 0.5).to(torch.int32)
    x, y, z = cells.unbind(-1)
    return (x * resolution + y) * resolution + z


def dilate(grid: Bool[Tensor, "x y z"], cells: int = 1) -> Bool[Tensor, "x y z"]:
    """Every cell within ``cells`` cells of an occupied one, diagonals included."""
    for axis, side in enumerate(grid.shape):
        wide = grid.clone()
        for step in range(1, min(cells + 1, side)):
            wide.narrow(axis, step, side - step).logical_or_(grid.narrow(axis, 0, side - step))
            wide.narrow(axis, 0, side - step).logical_or_(grid.narrow(axis, step, side - step))
        grid = wide
    return grid


def outermost(grid: Bool[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """Occupied cells with a face on an empty cell or on the border."""
    inner = grid.clone()
    for axis in range(3):
        rest = grid.shape[axis] - 1
        inner.narrow(axis, 0, 1).fill_(False)
        inner.narrow(axis, rest, 1).fill_(False)
        inner.narrow(axis, 1, rest).logical_and_(grid.narrow(axis, 0, rest))
        inner.narrow(axis, 0, rest).logical_and_(grid.narrow(axis, 1, rest))
    return grid & ~inner


@torch.no_grad()
def field_occupancy(
    density: Callable[[Tensor], Tensor], resolution: int, threshold: float, device: torch.device, chunk: int = 65536
) -> Occupancy:
    """Cells of a field that would be seen: opacity of one cell's length above ``threshold``, and their neighbours.

    ``density(points [point, 3])`` is asked at every cell's centre; the neighbours make up for what lies between.
    """
    cells = torch.arange(resolution**3, device=device)
    index = torch.stack((cells // resolution**2, cells // resolution % resolution, cells % resolution), -1)
    least = -math.log(1 - threshold) * resolution / 2
    parts = [density(cell_centres(part, resolution)).float() for part in index.split(chunk)]
    found = torch.cat(parts).reshape(resolution, resolution, resolution)
    return make_occupancy(dilate(found > least), found)
