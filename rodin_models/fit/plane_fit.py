"""Fitting planes to photographs: one avatar with the decoder frozen, and what one step does.

The loss of a step (Rodin, section 3.1), over rays that can meet the avatar at all:

    |C_white - C*_white|^2 + alpha_weight |A - A*|^2
        + tv_weight * smoothness + sparse_weight * sparsity + compact_weight * compactness

with colour over white, opacity A, and the regularisers of :mod:`rodin_models.field.triplane`; compactness is taken at
random points that the hull proves empty; now and then a patch's perceptual distance
(:mod:`rodin_models.fit.patch_loss`) comes to it, if it has a weight. Features carry a little noise and some steps see
the planes through a coarser grid, so that the decoder reads planes that a diffusion model has drawn as well as fitted
ones.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rodin_models.field.decoder import Decoder
from rodin_models.field.march import march
from rodin_models.field.occupancy import Occupancy, cell_index, dilate, make_occupancy
from rodin_models.field.render import PlaneField
from rodin_models.field.triplane import compactness, random_rescale, resized, smoothness, sparsity, to_planes, to_table
from rodin_models.field.volume import composite, positions
from rodin_models.fit.hull import seen_through, surface_cells, visual_hull
from rodin_models.fit.optimiser import adam_state, learning_rate_share, load_adam_state, move_planes, plane_adam
from rodin_models.fit.patch_loss import patch_distance
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import RayPool, Views
from rodin_models.image.perceptual import FeatureMaps


@dataclass(frozen=True)
class FitResult:
    """Fitted planes of one avatar."""

    planes: Float[Tensor, "3 channel height width"]
    """At full resolution, float32."""
    occupancy: Occupancy
    """The hull and the coarse density by which the fit placed its samples; not stored."""
    losses: tuple[float, ...]
    """One a step."""


class FitDiverged(ArithmeticError):
    """The loss is no finite number any more, and no further step would make it one."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss is not finite at step {step}")
        self.step = step
        """The step at which it was seen."""


CHECK_EVERY = 20
"""Steps between two looks at the loss: on a GPU each look waits for all steps before it."""

SURFACE_THICKNESS = 2.0
"""Optical thickness of a cell with a surface, as the guide of samples knows it before the first step."""


FADE_EVERY = 8
"""Steps between two fadings of the known density, which touch every cell."""


class PlaneFit:
    """Planes under way: the table, its Adam, the hull, and what is known of the density in it."""

    def __init__(
        self,
        planes: Float[Tensor, "3 channel height width"],
        hull: Bool[Tensor, "x y z"],
        settings: FitSettings,
        *,
        surface: Bool[Tensor, "x y z"] | None = None,
        features: FeatureMaps | None = None,
    ) -> None:
        """``surface`` are the cells in which depth images show one: samples then lie there and beside them only.

        ``features`` are those of the perceptual distance; they must be given where it has a weight. Raises
        ``ValueError`` where they are not.
        """
        if settings.perceptual_weight and features is None:
            raise ValueError(f"perceptual_weight is {settings.perceptual_weight} but no feature network was given")
        self.settings = settings
        self.features = features
        self.hull = hull
        self.steps_done = 0
        self._start(to_table(resized(planes.float(), self._side())))
        self.occupancy = make_occupancy(hull)
        if surface is not None:
            shell = dilate(surface, settings.shell_cells) & hull
            self.occupancy = make_occupancy(shell, surface * (SURFACE_THICKNESS / self.occupancy.cell))

    @classmethod
    def around(
        cls,
        views: Views,
        planes: Float[Tensor, "3 channel height width"],
        settings: FitSettings,
        *,
        features: FeatureMaps | None = None,
    ) -> "PlaneFit":
        """A fit to photographs: their hull is carved, and the surface found where they have depth."""
        surface = find_surface(views, settings)
        return cls(planes, carve_hull(views, settings, surface), settings, surface=surface, features=features)

    @property
    def planes(self) -> Float[Tensor, "3 channel height width"]:
        """The planes as they stand, at full resolution also while they are coarse."""
        return resized(to_planes(self.table.detach()), self.settings.resolution)

    def loss(self, pool: RayPool, decoder: Decoder, generator: torch.Generator) -> Float[Tensor, ""]:
        """The loss of the next step on freshly drawn rays; notes the densities met."""
        settings = self.settings
        if len(self.table[0]) != self._side():
            self._start(to_table(resized(to_planes(self.table.detach()), self._side())))
        table = table_of_step(self.table, settings, generator)
        field = PlaneField(table, decoder, noise=settings.plane_noise, generator=generator)
        supersample = settings.supersample if self.steps_done >= settings.supersample_from * settings.steps else 1
        count = max(1, settings.rays // supersample**2)
        rays, rgb, alpha = pool.draw(count, generator, supersample=supersample)
        samples = march(rays, self.occupancy, settings.samples, generator)
        points = positions(rays, samples)
        empty = self._empty_points(generator)
        density, colour = field(points, rays.directions[:, None])
        pixels = composite(density, colour, samples)
        self._note_density(points, density)
        wrong_alpha = pixels.alpha.reshape(count, -1).mean(1) - alpha
        wrong_rgb = pixels.rgb.reshape(count, -1, 3).mean(1) - rgb
        loss = (wrong_rgb - wrong_alpha[:, None]).square().mean()
        loss = loss + settings.alpha_weight * wrong_alpha.square().mean()
        if settings.compact_weight and len(empty):
            loss = loss + settings.compact_weight * compactness(field.density(empty), self.occupancy.cell)
        sees_patch = bool(settings.perceptual_weight) and self.steps_done % settings.perceptual_every == 0
        if self.features is not None and sees_patch:
            distance = patch_distance(
                field,
                pool,
                self.occupancy,
                self.features,
                side=settings.perceptual_patch,
                samples=settings.samples,
                generator=generator,
            )
            loss = loss + settings.perceptual_every * settings.perceptual_weight * distance
        if self.steps_done % settings.regularise_every == 0:
            if settings.tv_weight:
                loss = loss + settings.regularise_every * settings.tv_weight * smoothness(self.table)
            if settings.sparse_weight:
                loss = loss + settings.regularise_every * settings.sparse_weight * sparsity(self.table)
        return loss

    def step(self, grad: Tensor, lr_share: float) -> None:
        """Move the planes along a gradient of :meth:`loss`."""
        move_planes(self.table, self.adam, grad, self.settings, lr_share)
        self.steps_done += 1

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on: nested dicts of tensors and ints."""
        return {
            "table": self.table.detach().clone(),
            "adam": adam_state(self.adam),
            "hull": self.hull.clone(),
            "occupied": self.occupancy.grid.clone(),
            "density": self.occupancy.density.clone(),
            "steps_done": self.steps_done,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        device = self.table.device
        self._start(state["table"].to(device).clone())
        load_adam_state(self.adam, state["adam"])
        self.hull, occupied, density = (state[n].to(device).clone() for n in ("hull", "occupied", "density"))
        self.occupancy = make_occupancy(occupied, density)
        self.steps_done = int(state["steps_done"])

    def _side(self) -> int:
        return side_at(self.settings, self.steps_done)

    def _start(self, table: Tensor) -> None:
        """Fit this table from now on, with a fresh Adam."""
        self.table = table.requires_grad_()
        self.adam = plane_adam(self.table, self.settings)

    def _empty_points(self, generator: torch.Generator) -> Tensor:
        points = torch.rand(self.settings.empty_points, 3, generator=generator, device=self.table.device) * 2 - 1
        return points[~self.hull.reshape(-1)[cell_index(points, len(self.hull))]]

    def _note_density(self, points: Tensor, density: Tensor) -> None:
        cells = cell_index(points, len(self.occupancy.grid)).reshape(-1).long()
        note_density(self.occupancy.density, self.occupancy.grid, cells, density, self.settings, self.steps_done)


@torch.no_grad()
def note_density(
    known: Tensor, occupied: Tensor, cells: Int[Tensor, " sample"], density: Tensor, settings: FitSettings, step: int
) -> None:
    """Keep in ``known`` the densest that was met in each occupied cell; what was met long ago fades.

    Grids may stand one after another, ``cells`` are flat indices into all of them.
    """
    # A fit that diverges must not lead its samples astray: NaN is no place and no texel.
    met = density.detach().reshape(-1).nan_to_num(0.0)
    met = torch.where(occupied.reshape(-1)[cells], met, -1.0)
    known.reshape(-1).scatter_reduce_(0, cells, met, "amax")
    if step % FADE_EVERY == FADE_EVERY - 1:
        known.mul_(settings.density_decay**FADE_EVERY)
        known.masked_fill_(~occupied, -1.0)


def side_at(settings: FitSettings, steps_done: int) -> int:
    """Texels a side of the planes of the next step."""
    done = steps_done / settings.steps
    factor = next((factor for until, factor in settings.coarse if done < until), 1)
    return -(-settings.resolution // factor)


def table_of_step(
    table: Float[Tensor, "3 side side channel"], settings: FitSettings, generator: torch.Generator
) -> Float[Tensor, "3 side side channel"]:
    """What a step sees of planes: themselves, now and then through a coarser side."""
    if float(torch.rand((), generator=generator, device=generator.device)) >= settings.rescale_probability:
        return table
    return random_rescale(table, math.ceil(settings.rescale_smallest * table.shape[1]), generator)


def carve_hull(
    views: Views, settings: FitSettings, surface: Bool[Tensor, "x y z"] | None = None
) -> Bool[Tensor, "x y z"]:
    """The visual hull of photographs at the fit's resolution of cells.

    With the ``surface`` that :func:`find_surface` found, what their depth looks through is left out.
    """
    hull = visual_hull(views.masks(), views.cam2world, views.intrinsics, settings.hull_resolution)
    if views.depth is None or surface is None:
        return hull
    return hull & ~seen_through(views.depth, views.cam2world, views.intrinsics, hull, surface)


def find_surface(views: Views, settings: FitSettings) -> Bool[Tensor, "x y z"] | None:
    """Where depth images show a surface; nothing where there are none."""
    if views.depth is None:
        return None
    return surface_cells(views.depth, views.cam2world, views.intrinsics, settings.hull_resolution)


def fit_planes(
    views: Views,
    decoder: Decoder,
    settings: FitSettings,
    generator: torch.Generator,
    *,
    initial: Float[Tensor, "3 channel height width"],
    features: FeatureMaps | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> FitResult:
    """Fit one avatar's planes under a frozen decoder, which is left as it is.

    Raises :class:`FitDiverged` soon after the loss is no number any more.

    ``initial`` is where to start: the decoder's mean planes (see :class:`rodin_models.fit.joint_fit.JointFit`).
    ``generator`` lives on the device of ``views``, as do ``features`` (see :class:`PlaneFit`). ``on_step(step, loss)``
    is told of every step; reading that loss waits for the device.
    """
    fit = PlaneFit.around(views, initial, settings, features=features)
    pool = RayPool.around(views, fit.hull)
    losses = []
    for step in range(settings.steps):
        loss = fit.loss(pool, decoder, generator)
        (grad,) = torch.autograd.grad(loss, (fit.table,))
        fit.step(grad, learning_rate_share(step, settings.steps, settings.learning_rate_end))
        losses.append(loss.detach())
        if step % CHECK_EVERY == CHECK_EVERY - 1 and not math.isfinite(float(losses[-1])):
            raise FitDiverged(step)
        if on_step is not None:
            on_step(step, losses[-1])
    return FitResult(fit.planes, fit.occupancy, tuple(torch.stack(losses).tolist()))
