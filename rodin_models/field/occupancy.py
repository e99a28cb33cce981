"""Where there can be matter: grids of cells over the cube, and samples placed only inside occupied ones.

A grid is ``Bool[Tensor, "x y z"]``; cell i of R along an axis spans [2 i / R - 1, 2 (i + 1) / R - 1]. While fitting it
is the visual hull, carved from the alpha masks; for planes alone, the cells in which their field is dense. Beside
it, a coarse density says which of a ray's occupied cells will be seen, and most samples go there.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from rodin_models.field.rays import Rays, RaySamples, intersect_box, pixel_rays, strata


class Occupancy(NamedTuple):
    """A grid, the box around its occupied cells, and a guess of their density."""

    grid: Bool[Tensor, "x y z"]
    low: Float[Tensor, " 3"]
    high: Float[Tensor, " 3"]
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


def full_occupancy(device: torch.device) -> Occupancy:
    """The whole cube: nothing is known."""
    return make_occupancy(torch.ones(32, 32, 32, dtype=torch.bool, device=device))


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


def visual_hull(
    masks: Bool[Tensor, "view height width"],
    cam2world: Float[Tensor, "view 4 4"],
    intrinsics: Float[Tensor, "view 4"],
    resolution: int,
) -> Bool[Tensor, "{resolution} {resolution} {resolution}"]:
    """Cells that no view shows to be empty (Laurentini 1994), conservatively: the hull contains the true shape.

    A cell falls when some view shows all of its circumscribed ball, and no mask pixel there.
    What a view does not show it cannot carve. Coarse cells are carved first; of the survivors those that have an empty
    neighbour are split and carved again; hardly a cell behind them would fall (at 128 cells a side 1 % more are kept).
    """
    side = resolution
    while side % 2 == 0 and side > 16:
        side //= 2
    sums = summed_areas(masks)
    grid = torch.ones(side, side, side, dtype=torch.bool, device=masks.device)
    cells = grid.nonzero()
    while True:
        radius = math.sqrt(3) / side
        left = cells
        for sum_, matrix, pinhole in zip(sums, cam2world, intrinsics, strict=True):
            left = left[_maybe_inside(cell_centres(left, side), radius, sum_, matrix, pinhole)]
        grid[tuple(cells.unbind(-1))] = False
        grid[tuple(left.unbind(-1))] = True
        if side == resolution:
            return grid
        corner = torch.ones(2, 2, 2, dtype=torch.bool, device=masks.device).nonzero()
        cells = (outermost(grid).nonzero()[:, None] * 2 + corner).reshape(-1, 3)
        for axis in range(3):
            grid = grid.repeat_interleave(2, axis)
        side *= 2


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


def surface_cells(
    depth: Float[Tensor, "view height width"],
    cam2world: Float[Tensor, "view 4 4"],
    intrinsics: Float[Tensor, "view 4"],
    resolution: int,
) -> Bool[Tensor, "{resolution} {resolution} {resolution}"]:
    """Cells in which some photograph shows a surface; ``depth`` is z-depth in world units, 0 where there is none."""
    grid = torch.zeros(resolution**3, dtype=torch.bool, device=depth.device)
    for index, picture in enumerate(depth):  # one at a time: all rays together would be ten times the photographs
        row, column = (picture > 0).nonzero().unbind(-1)
        rays = pixel_rays(cam2world, intrinsics, torch.full_like(row, index), column, row)
        distance = picture[row, column] / rays.cosines
        points = rays.origins + distance[:, None] * rays.directions
        grid[cell_index(points, resolution).long()[(points.abs() <= 1).all(-1)]] = True
    return grid.view(resolution, resolution, resolution)


def seen_through(
    depth: Float[Tensor, "view height width"],
    cam2world: Float[Tensor, "view 4 4"],
    intrinsics: Float[Tensor, "view 4"],
    grid: Bool[Tensor, "x y z"],
    surface: Bool[Tensor, "x y z"],
) -> Bool[Tensor, "x y z"]:
    """Occupied cells in front of what some photograph shows: empty, though no outline can tell (a chin's shadow side).

    Depth knows one surface a pixel, and strands cover pixels in part, so that cells near any surface are never counted.
    """
    side = grid.shape[0]
    reach = 2 * math.sqrt(3) / side
    height, width = depth.shape[1:]
    cells = (grid & ~dilate(surface)).nonzero()
    through = torch.zeros_like(grid)
    for picture, matrix, pinhole in zip(depth, cam2world, intrinsics, strict=True):
        points = (cell_centres(cells, side) - matrix[:3, 3]) @ matrix[:3, :3]
        fx, fy, cx, cy = pinhole.unbind(-1)
        near = points[:, 2].clamp(min=reach)
        column, row = (points[:, 0] / near * fx + cx).floor().long(), (points[:, 1] / near * fy + cy).floor().long()
        shown = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (points[:, 2] > reach)
        behind = picture[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        empty = shown & (points[:, 2] + reach < behind)
        through[tuple(cells[empty].unbind(-1))] = True
        cells = cells[~empty]
    return through


def grid_pixels(
    grid: Bool[Tensor, "x y z"],
    cam2world: Float[Tensor, "view 4 4"],
    intrinsics: Float[Tensor, "view 4"],
    height: int,
    width: int,
) -> Bool[Tensor, "view {height} {width}"]:
    """Pixels whose rays may meet an occupied cell; no other ray does."""
    side = grid.shape[0]
    centres = cell_centres(outermost(grid).nonzero(), side)
    pictures = torch.zeros(len(cam2world), height, width, dtype=torch.bool, device=grid.device)
    if not len(centres):
        return pictures
    for index, (matrix, pinhole) in enumerate(zip(cam2world, intrinsics, strict=True)):
        ball = _project_balls(centres, math.sqrt(3) / side, matrix, pinhole, height, width)
        if ball.touches_camera.any():
            pictures[index] = True
            continue
        row, column = ball.row[ball.in_sight], ball.column[ball.in_sight]
        pictures[index, row.clamp(0, height - 1), column.clamp(0, width - 1)] = True
        pictures[index] = dilate_mask(pictures[index], ball.reach)
    return pictures


class _Balls(NamedTuple):
    """Where balls appear in one picture: their centres' pixels, and one reach that holds for all of them."""

    column: Tensor
    row: Tensor
    reach: int
    touches_camera: Tensor
    in_sight: Tensor
    """Some of the ball may show."""
    whole: Tensor
    """All of the ball shows."""


def _project_balls(
    centres: Tensor, radius: float, cam2world: Tensor, intrinsics: Tensor, height: int, width: int
) -> _Balls:
    points = (centres - cam2world[:3, 3]) @ cam2world[:3, :3]
    fx, fy, cx, cy = (float(x) for x in intrinsics)
    touches_camera = points[:, 2] <= 2 * radius
    depth = points[:, 2].clamp(min=2 * radius)
    column = (points[:, 0] / depth * fx + cx).floor().long()
    row = (points[:, 1] / depth * fy + cy).floor().long()
    nearest = max(float(depth.min()) - radius, radius)
    slant = math.sqrt(1 + (max(cx, width - cx) / fx) ** 2 + (max(cy, height - cy) / fy) ** 2)
    reach = math.ceil(radius * max(fx, fy) / nearest * slant)
    in_sight = (column >= -reach) & (column < width + reach) & (row >= -reach) & (row < height + reach)
    whole = (column >= reach) & (column < width - reach) & (row >= reach) & (row < height - reach)
    return _Balls(column, row, reach, touches_camera, in_sight & ~touches_camera, whole & ~touches_camera)


def summed_areas(masks: Bool[Tensor, "view height width"]) -> Int[Tensor, "view _ _"]:
    """Set pixels above and to the left of each pixel's corner: any rectangle is counted from four of them."""
    sums = torch.zeros(len(masks), masks.shape[1] + 1, masks.shape[2] + 1, dtype=torch.int32, device=masks.device)
    sums[:, 1:, 1:] = masks.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return sums


def _maybe_inside(centres: Tensor, radius: float, sums: Tensor, cam2world: Tensor, intrinsics: Tensor) -> Tensor:
    """Whether balls around ``centres`` may touch what a mask, given by its summed areas, shows."""
    if not len(centres):
        return torch.zeros(0, dtype=torch.bool, device=centres.device)
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    ball = _project_balls(centres, radius, cam2world, intrinsics, height, width)
    stride = width + 1
    top, bottom = ((ball.row + d).clamp(0, height) * stride for d in (-ball.reach, ball.reach + 1))
    left, right = ((ball.column + d).clamp(0, width) for d in (-ball.reach, ball.reach + 1))
    flat = sums.reshape(-1)
    set_pixels = flat[bottom + right] - flat[bottom + left] - flat[top + right] + flat[top + left]
    return ~ball.whole | (set_pixels > 0)


def dilate_mask(mask: Bool[Tensor, "height width"], reach: int) -> Bool[Tensor, "height width"]:
    """Every pixel within ``reach`` rows and columns of the mask."""
    wide = mask[None, None].float()
    wide = F.max_pool2d(wide, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(wide, (1, 2 * reach + 1), stride=1, padding=(0, reach))[0, 0] > 0


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


EVEN_MASS = 1.0
"""Mass spread evenly over a ray's occupied cells, beside at most 1 for what is expected to be seen.

No sample then stands for more than twice the length that it would in even sampling. Less mass makes such samples
rarer and longer, and a long sample that meets matter unexpectedly spoils its ray.
"""


def march(rays: Rays, occupancy: Occupancy, samples: int, generator: torch.Generator | None) -> RaySamples:
    """``samples`` positions a ray, inside occupied cells, most of them where the ray will see something.

    Each ray is cut into pieces about a cell long between the ends of the occupied box. A piece has as mass the weight
    in the pixel that the coarse density gives it and its neighbours, and an even share beside; empty ones have none.
    The masses, put end to end, are divided into equal strata with one sample each: at random or, without generator,
    in the middle. A sample's length is its share of all mass over the mass a unit of length has where it lies, so a
    sum over samples is an unbiased integral over the occupied length; with equal masses all lengths are equal.
    A ray that meets no occupied piece gets samples of zero length.
    """
    near, far = intersect_box(rays, occupancy.low, occupancy.high)
    pieces = count_pieces(occupancy)
    piece = ((far - near) / pieces)[:, None]
    middles = near[:, None] + (torch.arange(pieces, device=near.device) + 0.5) * piece
    known = occupancy.density.reshape(-1)[cells_along(rays, middles, occupancy.grid.shape[0])].to(near.dtype)
    return placed_in_pieces(known, near, piece, strata(near.shape[0], samples, generator, near), pieces - 1)


def count_pieces(occupancy: Occupancy) -> int:
    """How many pieces, each at most a cell long, a ray through the occupied box is cut into."""
    diagonal = float((occupancy.high - occupancy.low).norm())
    return max(1, math.ceil(diagonal / occupancy.cell))


def placed_in_pieces(
    known: Float[Tensor, "ray piece"],
    near: Float[Tensor, " ray"],
    piece: Float[Tensor, "ray 1"],
    shares: Float[Tensor, "ray sample"],
    last: int | Int[Tensor, "ray 1"],
) -> RaySamples:
    """The second half of :func:`march`: samples at given ``shares`` of all mass of their ray.

    ``known`` is the coarse density of each piece, negative where it is not occupied, and is used up. ``piece`` is a
    piece's length, ``last`` the index of a ray's last one: rays of several avatars have different numbers, and what
    lies behind is not occupied.
    """
    filled = ((known >= 0) & (piece > 0)).to(near.dtype)
    total = filled.sum(-1, keepdim=True)
    mass = _seen_mass(known.clamp_(min=0).mul_(piece)).add_(EVEN_MASS / total.clamp(min=1)).mul_(filled)
    cumulated = mass.cumsum(-1)

    wanted = shares * cumulated[:, -1:]
    found = torch.searchsorted(cumulated, wanted, right=True).clamp(max=last)
    of_piece = mass.gather(1, found).clamp(min=torch.finfo(near.dtype).tiny)
    inside = (wanted - cumulated.gather(1, found) + of_piece) / of_piece
    distances = near[:, None] + (found + inside.clamp(0, 1)) * piece
    lengths = piece * filled.gather(1, found) * cumulated[:, -1:] / (of_piece * shares.shape[1])
    return RaySamples(distances, lengths)


def cells_along(rays: Rays, distances: Float[Tensor, "ray piece"], resolution: int) -> Int[Tensor, "ray piece"]:
    """:func:`cell_index` of positions on rays, axis by axis: nothing of three numbers a position is ever made."""
    origins, directions = (rays.origins + 1) * (resolution / 2), rays.directions * (resolution / 2)
    index = torch.zeros((), dtype=torch.int32, device=distances.device)
    for origin, direction in zip(origins.t(), directions.t(), strict=True):
        place = torch.addcmul(origin[:, None], distances, direction[:, None]).clamp_(0, resolution - 0.5)
        index = index * resolution + place.to(torch.int32)
    return index


def _seen_mass(thickness: Float[Tensor, "ray piece"]) -> Float[Tensor, "ray piece"]:
    """Weights of pieces in their pixel, shared with their neighbours: the coarse density is not exact."""
    behind = thickness.cumsum(-1).neg_().exp_()
    weight = behind.neg()
    weight[:, 0] += 1
    weight[:, 1:] += behind[:, :-1]
    shared = weight.clone()
    shared[:, 1:] += weight[:, :-1]
    shared[:, :-1] += weight[:, 1:]
    return shared.div_(3)
