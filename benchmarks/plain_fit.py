"""The plain way to fit planes, which the fast one is compared with: nothing clever, nothing slow without need.

Three ``grid_sample`` calls a point, 48 stratified samples along the whole ray and 48 more where those weigh, float32,
rays drawn evenly over all pixels of all views, Adam. It knows no hull, no guide and no good start. Rays are taken
in chunks whose activations stay in the processor's cache, which is faster than all at once.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from rodin_models.field import triplane
from rodin_models.field.decoder import Decoder
from rodin_models.field.rays import Rays, RaySamples, intersect_box, pixel_rays, strata
from rodin_models.field.volume import Field, Pixels, positions, render_samples
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import Views

COARSE, FINE = 48, 48


def intersect_cube(rays: Rays) -> tuple[Float[Tensor, " ray"], Float[Tensor, " ray"]]:
    """:func:`rodin_models.field.rays.intersect_box` for the cube [-1, 1]^3."""
    one = torch.ones(3, dtype=rays.origins.dtype, device=rays.origins.device)
    return intersect_box(rays, -one, one)


def stratified_samples(
    near: Float[Tensor, " ray"], far: Float[Tensor, " ray"], samples: int, generator: torch.Generator | None
) -> RaySamples:
    """One sample in each of ``samples`` equal parts of [near, far], at random or (without generator) in the middle."""
    length = (far - near)[:, None]
    distances = near[:, None] + strata(near.shape[0], samples, generator, near) * length
    return RaySamples(distances, (length / samples).expand_as(distances))


def importance_samples(
    near: Float[Tensor, " ray"],
    far: Float[Tensor, " ray"],
    coarse: RaySamples,
    weights: Float[Tensor, "ray sample"],
    samples: int,
    generator: torch.Generator | None,
) -> RaySamples:
    """The coarse samples of [near, far] and ``samples`` more, drawn where ``weights`` are large (NeRF, section 5.2).

    The coarse samples stand for equal pieces of the ray; their weights are a step density, inverted here.
    Lengths become distances between the midpoints of neighbours.
    """
    mass = weights.detach() + 1e-5
    cumulated = mass.cumsum(-1)
    wanted = strata(mass.shape[0], samples, generator, mass) * cumulated[:, -1:]
    piece = torch.searchsorted(cumulated, wanted, right=True).clamp(max=mass.shape[1] - 1)
    inside = (wanted - (cumulated - mass).gather(1, piece)) / mass.gather(1, piece)
    fine = near[:, None] + (piece + inside.clamp(0, 1)) * coarse.lengths[:, :1]
    distances = torch.cat((coarse.distances, fine), -1).sort(-1).values
    middles = (distances[:, 1:] + distances[:, :-1]) / 2
    edges = torch.cat((near[:, None], middles, far[:, None]), -1)
    return RaySamples(distances, edges.diff(dim=-1))


def render_hierarchical(
    field: Field,
    rays: Rays,
    near: Float[Tensor, " ray"],
    far: Float[Tensor, " ray"],
    coarse: int,
    fine: int,
    generator: torch.Generator | None,
) -> Pixels:
    """Stratified samples along the whole ray, then more where they weigh most, from one field.

    The customary way and the reference for faster ones: every ray costs ``2 * coarse + fine`` questions.
    """
    first = stratified_samples(near, far, coarse, generator)
    with torch.no_grad():
        weights = render_samples(field, rays, first).weights
    return render_samples(field, rays, importance_samples(near, far, first, weights, fine, generator))


def plain_field(planes: Tensor, decoder: Decoder) -> Field:
    """The field of planes (3, channel, height, width) through a decoder; nothing exists outside the cube."""

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        features = triplane.sample_planes_reference(planes, points.reshape(-1, 3))
        density, rgb = decoder(features.reshape(*points.shape[:-1], -1), directions)
        return density * (points.abs().amax(-1) <= 1), rgb

    return field


def plain_loss(pixels: Pixels, rgb: Tensor, alpha: Tensor, alpha_weight: float) -> Tensor:
    """|C_white - C*_white|^2 + alpha_weight |A - A*|^2, means over rays; ``rgb`` is premultiplied."""
    colour = (pixels.over(1.0) - (rgb + 1 - alpha[:, None])).square().mean()
    return colour + alpha_weight * (pixels.alpha - alpha).square().mean()


class PlainFit:
    """Planes under way, fitted the plain way under a frozen decoder."""

    def __init__(
        self, planes: Tensor, views: Views, decoder: Decoder, settings: FitSettings, *, chunk: int = 128
    ) -> None:
        self.parameter = planes.clone().requires_grad_()
        self.views, self.decoder, self.settings, self.chunk = views, decoder, settings, chunk
        self.steps_done = 0
        self.adam = torch.optim.Adam(
            [self.parameter], lr=settings.learning_rate, betas=(0.9, 0.99), eps=1e-15, fused=True
        )

    @property
    def planes(self) -> Tensor:
        """The planes as they stand."""
        return self.parameter.detach().clone()

    def draw(self, generator: torch.Generator) -> tuple[Rays, Tensor, Tensor]:
        """Rays through random pixels with their premultiplied colour and alpha."""
        views = self.views
        count, size = self.settings.rays, (len(views), views.height, views.width)
        view, row, column = (torch.randint(n, (count,), generator=generator, device=views.rgba.device) for n in size)
        rgba = views.rgba[view, row, column].float() / 255
        rays = pixel_rays(views.cam2world, views.intrinsics, view, column, row)
        return rays, rgba[:, :3] * rgba[:, 3:], rgba[:, 3]

    def step(self, generator: torch.Generator, lr_share: float) -> float:
        """One step; returns its loss."""
        settings, total = self.settings, 0.0
        rays, rgb, alpha = self.draw(generator)
        field = plain_field(self.parameter, self.decoder)
        for part in torch.arange(settings.rays, device=rgb.device).split(self.chunk):
            chosen = rays.select(part)
            pixels = render_hierarchical(field, chosen, *intersect_cube(chosen), COARSE, FINE, generator)
            loss = plain_loss(pixels, rgb[part], alpha[part], settings.alpha_weight) * (len(part) / settings.rays)
            loss.backward()
            total += float(loss.detach())
        self.steps_done += 1
        if settings.tv_weight and self.steps_done % settings.regularise_every == 0:
            (
                settings.regularise_every * settings.tv_weight * triplane.smoothness(self.parameter.permute(0, 2, 3, 1))
            ).backward()
        self.adam.param_groups[0]["lr"] = settings.learning_rate * lr_share
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            self.parameter.clamp_(-settings.limit, settings.limit)
        return total

    def points(self, samples: int, generator: torch.Generator) -> list[Tensor]:
        """Points (ray * sample, 3) along a step's rays, by chunk."""
        rays = self.draw(generator)[0]
        chunks = [rays.select(part) for part in torch.arange(self.settings.rays).split(self.chunk)]
        placed = [stratified_samples(*intersect_cube(chunk), samples, generator) for chunk in chunks]
        return [positions(*pair).reshape(-1, 3) for pair in zip(chunks, placed, strict=True)]

    def bare_products(self, coarse: list[Tensor], all_samples: list[Tensor]) -> None:
        """The ``grid_sample`` calls and matrix products of a step at such points, forward and backward, no more."""
        decoder, channels = self.decoder, self.parameter.shape[1]
        layers = (decoder.trunk, decoder.density, decoder.colour_feature, decoder.colour)
        for pair in zip(coarse, all_samples, strict=True):
            for points, gradient in zip(pair, (False, True), strict=True):
                count = len(points)
                with torch.set_grad_enabled(gradient):
                    features = triplane.sample_planes_reference(self.parameter, points)
                inputs = [torch.zeros(count, layer.in_features) for layer in layers]
                for layer, given in zip(layers, inputs, strict=True):
                    F.linear(given, layer.weight, layer.bias)
                if gradient:
                    for layer in layers:
                        torch.zeros(count, layer.out_features) @ layer.weight
                    features.backward(torch.ones(count, channels))
        self.parameter.grad = None
