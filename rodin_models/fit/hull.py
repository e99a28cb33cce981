"""Carving a grid from photographs: the visual hull of their masks, and what their depth shows and looks through.

Grids are those of :mod:`rodin_models.field.occupancy`, cameras those of :mod:`rodin_models.field.rays`. The way back is
here as well: which pixels can show a grid at all.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from rodin_models.field.occupancy import cell_centres, cell_index, dilate, outermost
from rodin_models.field.rays import pixel_rays


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
