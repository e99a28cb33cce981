"""The plain way to fit planes, which the fast one is compared with: nothing clever, nothing slow without need.

Three ``grid_sample`` calls a point, 48 stratified samples along the whole ray and 48 more where those weigh, float32,
rays drawn evenly over all pixels of all views, Adam. It knows no hull, no guide and no good start. Rays are taken
in chunks whose activations stay in the processor's cache, which is faster than all at once.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from rodin_models.field import triplane
from rodin_models.field.decoder import Decoder
from rodin_models.field.rays import Rays, intersect_cube, pixel_rays, stratified_samples
from rodin_models.field.volume import Field, Pixels, positions, render_hierarchical
from rodin_models.fit.plane_fit import FitSettings
from rodin_models.fit.views import Views

COARSE, FINE = 48, 48


def plain_field(planes: Tensor, decoder: Decoder) -> Field:
    """The field of planes (3, channel, height, width) through a decoder; nothing exists outside the cube."""

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        features = triplane.sample_planes_reference(planes, points.reshape(-1, 3))
        density, rgb = decoder(features.reshape(*points.shape[:-1], -1), directions)
        return density * (points.abs().amax(-1) <= 1), rgb

    return field


def plain_loss(pixels: Pixels, rgb: Tensor, alpha: Tensor, alpha_weight: float) -> Tensor:
    """|C_white - C*_white|^2 + alpha |A - A*|^2, means over rays; ``rgb`` is premultiplied."""
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
        self.adam = torch.optim.Adam([self.parameter], lr=settings.lr_planes, betas=(0.9, 0.99), eps=1e-15, fused=True)

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
            loss = plain_loss(pixels, rgb[part], alpha[part], settings.alpha) * (len(part) / settings.rays)
            loss.backward()
            total += float(loss.detach())
        self.steps_done += 1
        if settings.tv and self.steps_done % settings.regularise_every == 0:
            (
                settings.regularise_every * settings.tv * triplane.smoothness(self.parameter.permute(0, 2, 3, 1))
            ).backward()
        self.adam.param_groups[0]["lr"] = settings.lr_planes * lr_share
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
