"""Fitting several avatars at once under a frozen decoder: each gets what it would get alone.

Their planes stand one after another in one table, their grids in one grid, and one march and one gather serve all
rays, each of which knows its avatar. The loss is the sum of the avatars' own (:mod:`rodin_models.fit.plane_fit`), so
their gradients do not meet, and Adam works on each number alone. Every avatar draws from a generator of its own, what
it would draw alone and in that order: the result does not depend on who shares the batch. An avatar that diverges keeps
its NaN to itself. Meant for GPUs, where one avatar's step is too small to fill the machine; on a GPU the host waits for
the device once a step, when it learns how many of the random points are empty.
"""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from rodin_models.field.decoder import Decoder
from rodin_models.field.march import cells_along, count_pieces, placed_in_pieces
from rodin_models.field.occupancy import cell_index, make_occupancy
from rodin_models.field.rays import Rays, RaySamples, intersect_box, strata
from rodin_models.field.render import inside_cube, standard_normal
from rodin_models.field.triplane import resized, smoothness, sparsity, to_planes, to_table
from rodin_models.field.volume import positions
from rodin_models.fit.optimiser import learning_rate_share, move_planes, plane_adam
from rodin_models.fit.plane_fit import FitResult, PlaneFit, note_density, side_at, table_of_step
from rodin_models.fit.ray_pools import RayPools
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.shading import Shader, Shading
from rodin_models.fit.views import RayPool, Views


def fit_batch(
    views: Callable[[int], Views],
    decoder: Decoder,
    settings: FitSettings,
    generators: Sequence[torch.Generator],
    *,
    initial: Float[Tensor, "*avatar 3 channel height width"],
    shading: Shading | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[FitResult]:
    """Fit an avatar for each of ``generators``, which live on the device of ``initial``; the decoder is left as it is.

    ``views(i)`` gives avatar i's photographs and is asked once, one after another: only the pixels that can show the
    avatar are kept. ``initial`` is where to start: of each avatar, or of all of them. On a CPU the results are those of
    :func:`rodin_models.fit.plane_fit.fit_planes` up to the order of summation, with float32 ``shading``, which is the
    default. ``on_step(step)`` is told of every step.
    """
    fit = BatchFit(views, Shader(decoder, shading or Shading()), settings, generators, initial=initial)
    losses = []
    for step in range(settings.steps):
        losses.append(fit.step())
        if on_step is not None:
            on_step(step)
    return fit.results(torch.stack(losses, 1))


class BatchFit:
    """Planes of several avatars under way: the stacked table, its Adam, their grids and rays."""

    def __init__(
        self,
        views: Callable[[int], Views],
        shader: Shader,
        settings: FitSettings,
        generators: Sequence[torch.Generator],
        *,
        initial: Float[Tensor, "*avatar 3 channel height width"],
    ) -> None:
        """Raises ``ValueError`` for settings that only fits of one avatar at a time know."""
        if settings.supersample > 1:
            raise ValueError(f"supersample is {settings.supersample}; several avatars at once have one ray a pixel")
        self.settings = settings
        self.shader = shader
        self.steps_done = 0
        self.avatars = len(generators)
        self._generators = list(generators)
        # Decisions of the host (rescale or not, where noise starts) come from the host: a GPU would have to be asked.
        self._choices = [
            g if g.device.type == "cpu" else torch.Generator().manual_seed(g.initial_seed()) for g in generators
        ]
        fits, pools, pieces = [], RayPools.builder(), []
        for index in range(self.avatars):
            photographs = views(index)
            fits.append(PlaneFit.around(photographs, initial if initial.ndim == 4 else initial[index], settings))
            pools.add(RayPool.around(photographs, fits[-1].hull))
            pieces.append(count_pieces(fits[-1].occupancy))
        self._pools = pools.build()
        self._hull = torch.stack([fit.hull for fit in fits])
        self._grid = torch.stack([fit.occupancy.grid for fit in fits])
        self._density = torch.stack([fit.occupancy.density for fit in fits])
        device = self._grid.device
        self._of_ray = torch.arange(self.avatars, device=device).repeat_interleave(settings.rays)
        self._of_sample = self._of_ray.to(torch.int32).repeat_interleave(settings.samples)
        self._low = torch.stack([fit.occupancy.low for fit in fits])[self._of_ray]
        self._high = torch.stack([fit.occupancy.high for fit in fits])[self._of_ray]
        self._most_pieces = max(pieces)
        self._pieces = torch.tensor(pieces, device=device)[self._of_ray]
        self._cells = self._grid[0].numel()
        self._start(torch.stack([fit.table.detach() for fit in fits]))

    @property
    def planes(self) -> Float[Tensor, "avatar 3 channel height width"]:
        """The planes as they stand, at full resolution also while they are coarse."""
        return torch.stack([resized(to_planes(t), self.settings.resolution) for t in self.table.detach()])

    def step(self) -> Float[Tensor, " avatar"]:
        """One step of every avatar; their losses."""
        if self.table.shape[2] != side_at(self.settings, self.steps_done):
            side = side_at(self.settings, self.steps_done)
            self._start(torch.stack([to_table(resized(to_planes(t), side)) for t in self.table.detach()]))
        losses = self._losses()
        (grad,) = torch.autograd.grad(losses.sum(), (self.table,))
        share = learning_rate_share(self.steps_done, self.settings.steps, self.settings.learning_rate_end)
        move_planes(self.table, self.adam, grad, self.settings, share)
        self.steps_done += 1
        return losses.detach()

    def results(self, losses: Float[Tensor, "avatar step"]) -> list[FitResult]:
        """What the avatars have come to."""
        return [
            FitResult(planes, make_occupancy(grid, density), tuple(of_steps))
            for planes, grid, density, of_steps in zip(
                self.planes, self._grid, self._density, losses.tolist(), strict=True
            )
        ]

    def _start(self, table: Tensor) -> None:
        """Fit this table from now on, with a fresh Adam."""
        self.table = table.requires_grad_()
        self.adam = plane_adam(self.table, self.settings)

    def _losses(self) -> Float[Tensor, " avatar"]:
        settings, generators = self.settings, self._generators
        table = self._table_of_step()
        rays, rgb, alpha = self._pools.draw(settings.rays, generators)
        shares = torch.cat([strata(settings.rays, settings.samples, g, rgb) for g in generators])
        samples = self._march(rays, shares)
        points = positions(rays, samples)
        empty, of_empty, counts = self._empty_points()

        features = self.shader.sample(table, points.reshape(-1, 3), self._of_sample)
        features = self._noisy(features, [settings.rays * settings.samples] * self.avatars)
        features = features.reshape(*points.shape[:-1], -1)
        pixels, density = self.shader.rays(features, rays.directions, inside_cube(points), samples)
        self._note_density(points, density.detach())
        wrong_alpha = pixels.alpha - alpha
        losses = self._means((pixels.rgb - rgb - wrong_alpha[:, None]).square())
        losses = losses + settings.alpha_weight * self._means(wrong_alpha.square())
        if settings.compact_weight and len(empty):
            of_points = self._noisy(self.shader.sample(table, empty, of_empty), counts)
            seen = 1 - torch.exp(-(self.shader.density(of_points) * inside_cube(empty)) * (2 / self._grid.shape[1]))
            each = seen / torch.tensor(counts, device=seen.device)[of_empty]
            losses = losses + settings.compact_weight * losses.new_zeros(self.avatars).index_add(0, of_empty, each)
        if self.steps_done % settings.regularise_every == 0:
            weight = settings.regularise_every
            if settings.tv_weight:
                losses = losses + weight * settings.tv_weight * torch.stack([smoothness(t) for t in self.table])
            if settings.sparse_weight:
                losses = losses + weight * settings.sparse_weight * torch.stack([sparsity(t) for t in self.table])
        return losses

    def _table_of_step(self) -> Float[Tensor, "plane side side channel"]:
        """What this step sees of all planes."""
        tables = self.table.unbind(0)
        seen = [table_of_step(t, self.settings, g) for t, g in zip(tables, self._choices, strict=True)]
        rescaled = any(s is not t for s, t in zip(seen, tables, strict=True))
        return rearrange(torch.stack(seen) if rescaled else self.table, "avatar plane ... -> (avatar plane) ...")

    def _march(self, rays: Rays, shares: Float[Tensor, "ray sample"]) -> RaySamples:
        """:func:`rodin_models.field.march.march`, every ray through the grid of its avatar."""
        near, far = intersect_box(rays, self._low, self._high)
        piece = ((far - near) / self._pieces)[:, None]
        number = torch.arange(self._most_pieces, device=near.device)
        middles = near[:, None] + (number + 0.5) * piece
        cells = cells_along(rays, middles, self._grid.shape[1]) + (self._of_ray * self._cells)[:, None]
        known = self._density.reshape(-1)[cells]
        last = (self._pieces - 1)[:, None]
        return placed_in_pieces(known.masked_fill(number > last, -1), near, piece, shares, last)

    def _empty_points(self) -> tuple[Float[Tensor, "point 3"], Int[Tensor, " point"], list[int]]:
        """Random points that the hulls prove empty, whose they are, and how many each has."""
        count, device = self.settings.empty_points, self.table.device
        points = torch.stack([torch.rand(count, 3, generator=g, device=device) for g in self._generators]) * 2 - 1
        first = torch.arange(self.avatars, device=device)[:, None] * self._cells
        outside = ~self._hull.reshape(-1)[cell_index(points, self._hull.shape[1]) + first]
        avatar, number = outside.nonzero().unbind(-1)
        return points[avatar, number], avatar, outside.sum(1).tolist()

    def _noisy(self, features: Float[Tensor, "point channel"], counts: list[int]) -> Float[Tensor, "point channel"]:
        """Features with the noise that each avatar draws for as many of them as it has."""
        if not self.settings.plane_noise:
            return features
        parts = zip(features.detach().split(counts), self._generators, self._choices, strict=True)
        noise = torch.cat([standard_normal(part, g, c) for part, g, c in parts if len(part)])
        return torch.add(features, noise, alpha=self.settings.plane_noise)

    def _means(self, values: Tensor) -> Float[Tensor, " avatar"]:
        return values.reshape(self.avatars, -1).mean(1)

    def _note_density(self, points: Float[Tensor, "ray sample 3"], density: Float[Tensor, "ray sample"]) -> None:
        cells = cell_index(points, self._grid.shape[1]) + (self._of_ray * self._cells)[:, None]
        note_density(self._density, self._grid, cells.reshape(-1), density, self.settings, self.steps_done)
