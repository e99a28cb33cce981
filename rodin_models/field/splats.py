"""Radiance fields as 3D Gaussians (Kerbl et al. 2023), for the viewers that draw nothing else.

One Gaussian stands for one cell of a grid in which the field is dense and that some camera sees. All have the same
deviation s, half a cell's side h, so they are round. A Gaussian of opacity a adds the optical depth -log(1 - a g) to a
ray, g = exp(-r^2 / 2 s^2) at distance r from its centre. Over the cell's face its mean is

    (1 / h^2) integral -log(1 - a exp(-r^2 / 2 s^2)) 2 pi r dr = (2 pi s^2 / h^2) Li2(a)                   (1)

with the dilogarithm Li2, and what it should be is density h: equation (1) gives each opacity in closed form. Colours
do not depend on the direction; they are those that give the field's own pictures with the least squared error.

Drawn as viewers do it: Gaussians projected to the picture with their size at their own depth, widened by the variance
of a pixel (0.3 pixels squared), sorted by depth and laid over each other from the front. Left out: the skew of
perspective within one Gaussian, which at half a cell's size is nothing, and spherical harmonics of colours.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rodin_models.field.mesh import MeshField
from rodin_models.field.occupancy import cell_centres, dilate

DEVIATION = 0.5
"""s over h. Smaller, and there is a gap between neighbours; larger, and edges are soft."""
MOST_OPAQUE = 0.99
"""As in Kerbl et al.: a Gaussian lets a little through."""
PIXEL_VARIANCE = 0.3
"""What viewers widen a Gaussian's picture by, in pixels squared."""
REACH = 3.0
"""Deviations from its centre to which a Gaussian is drawn."""
LEAST_SEEN = 1 / 512
"""Weight in some pixel of some view below which a Gaussian is left out: half a level of 255."""
_HIDES, _LAYERS = 0.9, 3
"""Cells behind three of this opacity on all sides are seen by nobody."""
_LEAST_OPAQUE = 0.01
_LEAST_ALPHA = 1 / 255
_TERMS = 200
"""Of the dilogarithm's series, exact to 1e-4 at 0.99."""


class Splats(NamedTuple):
    """Round Gaussians in world units."""

    centres: Float[Tensor, "splat 3"]
    """In the cube."""
    deviation: float
    """Of each, along every axis."""
    opacity: Float[Tensor, "splat"]
    """In (0, 1): what the centre covers."""
    colours: Float[Tensor, "splat 3"]
    """sRGB in [0, 1]."""

    def select(self, index: Tensor) -> "Splats":
        """Some of them."""
        return self._replace(centres=self.centres[index], opacity=self.opacity[index], colours=self.colours[index])


class SplatView(NamedTuple):
    """A camera, and the field's own picture from there."""

    cam2world: Float[Tensor, "4 4"]
    intrinsics: Float[Tensor, " 4"]
    """fx, fy, cx, cy in pixels."""
    rgb: Float[Tensor, "height width 3"]
    """Over white."""


class Contributions(NamedTuple):
    """How a picture is made of Gaussians: every pair of a pixel and one that is seen in it."""

    pixel: Int[Tensor, "pair"]
    splat: Int[Tensor, "pair"]
    weight: Float[Tensor, "pair"]
    """In (0, 1); the weights of a pixel sum to its alpha."""
    height: int
    width: int

    def picture(self, colours: Float[Tensor, "splat 3"]) -> Float[Tensor, "pixel 3"]:
        """Over white, row by row."""
        shown = torch.ones(self.height * self.width, 3, dtype=colours.dtype, device=colours.device)
        return shown.index_add_(0, self.pixel, self.weight[:, None] * (colours[self.splat] - 1))


@torch.no_grad()
def extract_splats(
    field: MeshField, views: Sequence[SplatView], *, resolution: int = 160, rounds: int = 5, chunk: int = 1 << 18
) -> Splats:
    """The Gaussians of a field that ``views`` see, with the colours that give their pictures.

    The cube has ``resolution`` cells along each side; ``rounds`` of conjugate gradients find the colours, and more of
    them would follow what is particular to these views. Views should lie all around: what none of them sees is left
    out. Without any matter there are no Gaussians.
    """
    device = views[0].rgb.device
    centres, opacity = _dense(field, resolution, device, chunk)
    splats = Splats(centres, DEVIATION * 2 / resolution, opacity, torch.full_like(centres, 0.5))
    seen = torch.zeros(len(splats.opacity), device=device)
    for view in views:
        # Each in its centre's pixel alone: a tenth of the pairs, and little is hidden that should be seen.
        pairs = contributions(splats, view.cam2world, view.intrinsics, *view.rgb.shape[:2], reach=0.0)
        seen.scatter_reduce_(0, pairs.splat, pairs.weight, "amax")
    splats = splats.select((seen > LEAST_SEEN).nonzero()[:, 0])
    return _coloured(splats, views, rounds)


def opacity_of_depth(depth: Float[Tensor, "splat"]) -> Float[Tensor, "splat"]:
    """The opacity whose mean optical depth over a cell's face is ``depth``, by equation (1); at most 0.99."""
    levels = torch.linspace(0, MOST_OPAQUE, 1024, dtype=torch.float64, device=depth.device)
    reached = 2 * math.pi * DEVIATION**2 * dilogarithm(levels)
    wanted = depth.double().clamp(max=float(reached[-1]))
    above = torch.searchsorted(reached, wanted).clamp(1, len(levels) - 1)
    low, high = reached[above - 1], reached[above]
    share = ((wanted - low) / (high - low)).clamp(0, 1)
    return torch.lerp(levels[above - 1], levels[above], share).to(depth.dtype)


def dilogarithm(x: Float[Tensor, "value"]) -> Float[Tensor, "value"]:
    """Li2(x) = sum of x^k / k^2, for x in [0, 1)."""
    orders = torch.arange(1, _TERMS + 1, dtype=x.dtype, device=x.device)
    return (x[:, None] ** orders / orders.square()).sum(1)


@torch.no_grad()
def contributions(
    splats: Splats,
    cam2world: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, " 4"],
    height: int,
    width: int,
    *,
    reach: float = REACH,
) -> Contributions:
    """Every pixel's Gaussians from the front to the back, each drawn as far as ``reach`` of its deviations."""
    fx, fy, cx, cy = intrinsics.tolist()
    in_camera = (splats.centres - cam2world[:3, 3]) @ cam2world[:3, :3]
    depth = in_camera[:, 2]
    order = torch.argsort(depth)
    order = order[depth[order] > 1e-3]
    x, y, z = in_camera[order].unbind(1)
    column, row = x / z * fx + cx - 0.5, y / z * fy + cy - 0.5
    variance = (splats.deviation * math.sqrt(fx * fy) / z).square() + PIXEL_VARIANCE
    half = math.ceil(reach * math.sqrt(float(variance.max()))) if len(order) else 0
    offsets = torch.arange(-half, half + 1, device=depth.device)
    # A round Gaussian is a product of one along columns and one along rows.
    columns, across = _along(column, variance, offsets, width)
    rows, down = _along(row, variance, offsets, height)
    alpha = (splats.opacity[order, None] * down)[:, :, None] * across[:, None, :]
    found, first, second = (alpha >= _LEAST_ALPHA).nonzero(as_tuple=True)
    alpha = alpha[found, first, second].clamp(max=MOST_OPAQUE)
    pixel = rows[found, first] * width + columns[found, second]
    splat = order[found]
    # Gaussians come by depth already, and a stable sort by pixels leaves that order within each.
    pixel, by_pixel = torch.sort(pixel, stable=True)
    alpha, splat = alpha[by_pixel], splat[by_pixel]
    clear = torch.log1p(-alpha.double())
    before = torch.cumsum(clear, 0) - clear
    first = torch.cat((pixel.new_tensor([True], dtype=torch.bool), pixel[1:] != pixel[:-1]))[: len(pixel)]
    start = before[first][torch.cumsum(first, 0) - 1]
    weight = alpha * torch.exp(before - start).to(alpha.dtype)
    return Contributions(pixel, splat, weight, height, width)


def _along(
    centre: Tensor, variance: Tensor, offsets: Tensor, size: int
) -> tuple[Int[Tensor, "splat offset"], Float[Tensor, "splat offset"]]:
    """Pixels around each centre along one axis, and the Gaussian there; 0 outside the picture."""
    places = centre.round().long()[:, None] + offsets
    value = torch.exp(-(places - centre[:, None]).square() / (2 * variance[:, None]))
    return places, value * ((places >= 0) & (places < size))


def _dense(
    field: MeshField, resolution: int, device: torch.device, chunk: int
) -> tuple[Float[Tensor, "splat 3"], Float[Tensor, "splat"]]:
    """Centres and opacities of cells that hold matter, but for those that lie behind others on all sides."""
    cells = torch.arange(resolution**3, device=device)
    index = torch.stack((cells // resolution**2, cells // resolution % resolution, cells % resolution), -1)
    parts = []
    for part in index.split(chunk):
        depth = field.density(cell_centres(part, resolution)).float() * (2 / resolution)
        parts.append(opacity_of_depth(depth))
    opacity = torch.cat(parts)
    is_open = (opacity < _HIDES).reshape(resolution, resolution, resolution)
    # The cube's border is open too: nothing is outside.
    near_the_open = dilate(torch.nn.functional.pad(is_open, (1,) * 6, value=True), _LAYERS)[1:-1, 1:-1, 1:-1]
    kept = (opacity > _LEAST_OPAQUE) & near_the_open.reshape(-1)
    return cell_centres(index[kept], resolution), opacity[kept]


def _coloured(splats: Splats, views: Sequence[SplatView], rounds: int) -> Splats:
    """Colours by least squares over all pixels, and only the Gaussians that are seen.

    By conjugate gradients (Hestenes and Stiefel 1952), each Gaussian's share divided by how much it is seen.
    """
    made = [_seen(contributions(splats, view.cam2world, view.intrinsics, *view.rgb.shape[:2])) for view in views]
    total, most = torch.zeros(2, len(splats.opacity), device=splats.opacity.device)
    for pairs in made:
        total.index_add_(0, pairs.splat, pairs.weight)
        most.scatter_reduce_(0, pairs.splat, pairs.weight, "amax")
    total = total.clamp(min=1e-6)[:, None]

    def back(errors: list[Tensor]) -> Tensor:
        out = torch.zeros_like(splats.colours)
        for pairs, error in zip(made, errors, strict=True):
            out.index_add_(0, pairs.splat, pairs.weight[:, None] * error[pairs.pixel])
        return out

    colours = splats.colours.clone()
    left = [view.rgb.reshape(-1, 3) - pairs.picture(colours) for pairs, view in zip(made, views, strict=True)]
    gradient = back(left)
    way = gradient / total
    slope = (gradient * way).sum(0)
    for _ in range(rounds):
        change = [pairs.picture(way + 1) - 1 for pairs in made]  # what is left of white is 1 in a picture
        step = slope / sum((part.square().sum(0) for part in change), torch.full_like(slope, 1e-12))
        colours += step * way
        left = [error - step * part for error, part in zip(left, change, strict=True)]
        gradient = back(left)
        before, slope = slope, (gradient * gradient / total).sum(0)
        way = gradient / total + slope / before.clamp(min=1e-12) * way
    return splats._replace(colours=colours.clamp(0, 1)).select((most > LEAST_SEEN).nonzero()[:, 0])


def _seen(pairs: Contributions) -> Contributions:
    """Without the many that hardly count."""
    kept = pairs.weight > LEAST_SEEN / 4
    return pairs._replace(pixel=pairs.pixel[kept], splat=pairs.splat[kept], weight=pairs.weight[kept])
