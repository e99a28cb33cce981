"""The shared decoder, fitted jointly with the planes of several avatars.

Fitting avatars one after another makes the decoder forget the first. Here it visits all of them again and
again for a few steps each, in random order (RodinHD's task replay), with weight decay on the decoder. A visit
needs the views of one avatar only; they are asked for when they are needed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.decoder import Decoder
from rodin_models.fitting import (
    FitSettings,
    PlaneFit,
    adam_state,
    carve_hull,
    find_surface,
    learning_rate_share,
    load_adam_state,
)
from rodin_models.perceptual import FeatureMaps
from rodin_models.views import RayPool, Views

INITIAL_DEVIATION = 0.01
"""Standard deviation of the planes before the first step; all avatars start from the same draw."""


class JointFit:
    """Joint fit of a decoder and ``num_avatars`` tri-planes; can stop after any step and go on to the same bytes."""

    def __init__(
        self,
        views: Callable[[int], Views],
        num_avatars: int,
        decoder: Decoder,
        settings: FitSettings,
        generator: torch.Generator,
        *,
        features: FeatureMaps | None = None,
        pools_in_memory: int = 8,
    ) -> None:
        """``views(i)`` gives avatar i's photographs, on the generator's device, whenever they are not among the
        last ``pools_in_memory`` used. ``decoder`` is trained in place. ``settings.steps`` counts per avatar.
        ``features`` are those of the perceptual distance, if it has a weight.
        """
        self.decoder = decoder
        self.settings = settings
        self.num_avatars = num_avatars
        self.steps_done = 0
        self._views = views
        self._generator = generator
        self._pools: dict[int, RayPool] = {}
        self._pools_in_memory = pools_in_memory
        self._features = features
        self._fits: dict[int, PlaneFit] = {}
        self._queue: list[int] = []
        shape = (3, decoder.settings.channels, settings.resolution, settings.resolution)
        self._initial = INITIAL_DEVIATION * torch.randn(shape, generator=generator, device=generator.device)
        self._adam = torch.optim.AdamW(
            decoder.parameters(),
            lr=settings.lr_decoder,
            betas=(0.9, 0.99),
            weight_decay=settings.decoder_weight_decay,
            fused=True,
        )

    @property
    def total_steps(self) -> int:
        """Steps over all avatars until the fit is done."""
        return self.settings.steps * self.num_avatars

    @property
    def planes(self) -> Float[Tensor, "avatar 3 channel height width"]:
        """Planes of all avatars as they stand."""
        return torch.stack(
            [self._fits[i].planes if i in self._fits else self._initial for i in range(self.num_avatars)]
        )

    def mean_planes(self) -> Float[Tensor, "3 channel height width"]:
        """The mean over avatars: a good start for fitting another one under this decoder."""
        return self.planes.mean(0)

    def step(self) -> float:
        """One step on the avatar being visited; returns its loss."""
        place = self.steps_done // self.settings.visit_steps % self.num_avatars
        if self.steps_done % (self.settings.visit_steps * self.num_avatars) == 0:
            device = self._generator.device
            self._queue = torch.randperm(self.num_avatars, generator=self._generator, device=device).tolist()
        avatar = self._queue[place]
        fit, pool = self._visit(avatar)
        loss = fit.loss(pool, self.decoder, self._generator)
        parameters = list(self.decoder.parameters())
        plane_grad, *decoder_grads = torch.autograd.grad(loss, (fit.table, *parameters))
        share = learning_rate_share(self.steps_done, self.total_steps, self.settings.lr_end)
        for parameter, grad in zip(parameters, decoder_grads, strict=True):
            parameter.grad = grad
        self._adam.param_groups[0]["lr"] = self.settings.lr_decoder * share
        self._adam.step()
        self._adam.zero_grad()
        fit.step(plane_grad, share)
        self.steps_done += 1
        return float(loss.detach())

    def run(self, until: int, on_step: Callable[[int, float], None] | None = None) -> None:
        """Step until ``until`` steps are done in all, or the fit is complete."""
        while self.steps_done < min(until, self.total_steps):
            loss = self.step()
            if on_step is not None:
                on_step(self.steps_done - 1, loss)

    def state(self) -> dict[str, Any]:
        """Everything a new process needs to go on: nested dicts of tensors, ints and floats, keys strings."""
        return {
            "steps_done": self.steps_done,
            "generator": self._generator.get_state(),
            "queue": torch.tensor(self._queue, dtype=torch.int64),
            "initial": self._initial.clone(),
            "decoder": {name: tensor.clone() for name, tensor in self.decoder.state_dict().items()},
            "decoder_adam": adam_state(self._adam),
            "avatars": {str(avatar): fit.state() for avatar, fit in sorted(self._fits.items())},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`. The fit must have been made with the same views, sizes and settings."""
        self.steps_done = int(state["steps_done"])
        self._generator.set_state(state["generator"].cpu())
        self._queue = state["queue"].tolist()
        self._initial = state["initial"].to(self._generator.device).clone()
        self.decoder.load_state_dict(state["decoder"])
        load_adam_state(self._adam, state["decoder_adam"])
        self._fits = {}
        for key, saved in state["avatars"].items():
            fit = PlaneFit(
                self._initial, saved["hull"].to(self._generator.device), self.settings, features=self._features
            )
            fit.load_state(saved)
            self._fits[int(key)] = fit

    def _visit(self, avatar: int) -> tuple[PlaneFit, RayPool]:
        """An avatar's planes and rays; its views are asked for if its rays are not in memory."""
        pool = self._pools.pop(avatar, None)
        if pool is None:
            views = self._views(avatar)
            if avatar not in self._fits:
                hull, surface = carve_hull(views, self.settings), find_surface(views, self.settings)
                self._fits[avatar] = PlaneFit(
                    self._initial, hull, self.settings, surface=surface, features=self._features
                )
            pool = RayPool.around(views, self._fits[avatar].hull)
        self._pools[avatar] = pool
        while len(self._pools) > self._pools_in_memory:
            del self._pools[next(iter(self._pools))]
        return self._fits[avatar], pool
