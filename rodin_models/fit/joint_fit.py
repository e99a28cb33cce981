"""The shared decoder, fitted jointly with the planes of several avatars.

Fitting avatars one after another makes the decoder forget the first. Here it visits all of them again and
again for a few steps each, in random order (RodinHD's task replay), with weight decay on the decoder. A visit
needs the views of one avatar only; they are asked for when they are needed.

Several processes can share one fit: avatars are dealt out to ranks, each keeps its own avatars' planes, and a step is
one step of every rank on an avatar of its own, with the decoder's gradient averaged over those avatars. All decoders
then stay equal. Where they cannot be dealt out evenly, some ranks sit out the last visit of a round.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rodin_models.field.decoder import Decoder
from rodin_models.fit.optimiser import adam_state, learning_rate_share, load_adam_state
from rodin_models.fit.plane_fit import FitDiverged, PlaneFit
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import RayPool, Views
from rodin_models.image.perceptual import FeatureMaps

INITIAL_DEVIATION = 0.01
"""Standard deviation of the planes before the first step; all avatars start from the same draw."""


@dataclass(frozen=True)
class Share:
    """What of a joint fit falls to one of several processes. All of them call the same methods in the same order."""

    rank: int
    """This process's number, from 0."""
    world_size: int
    """Number of processes."""
    average: Callable[[Tensor], Tensor]
    """The mean over all ranks of one tensor of each, the same bytes on all of them."""

    def own(self, num_avatars: int) -> tuple[int, ...]:
        """This rank's avatars: every ``world_size``-th."""
        return tuple(range(self.rank, num_avatars, self.world_size))


ALONE = Share(rank=0, world_size=1, average=lambda tensor: tensor)


def first_planes(
    decoder: Decoder, settings: FitSettings, generator: torch.Generator
) -> Float[Tensor, "3 channel height width"]:
    """The draw that all avatars start from."""
    shape = (3, decoder.settings.channels, settings.resolution, settings.resolution)
    return INITIAL_DEVIATION * torch.randn(shape, generator=generator, device=generator.device)


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
        share: Share = ALONE,
        initial: Float[Tensor, "3 channel height width"] | None = None,
    ) -> None:
        """``views(i)`` gives avatar i's photographs, on the generator's device, whenever they are not among the
        last ``pools_in_memory`` used. ``decoder`` is trained in place. ``settings.steps`` counts per avatar.
        ``features`` are those of the perceptual distance, if it has a weight.

        With several ranks, decoder and ``initial`` (see :func:`first_planes`) must be equal on all of them, and
        generators are better not. Without ``initial`` the generator's first draw is taken.
        """
        self.decoder = decoder
        self.settings = settings
        self.num_avatars = num_avatars
        self.own = share.own(num_avatars)
        self.steps_done = 0
        self._share = share
        self._views = views
        self._generator = generator
        self._pools: dict[int, RayPool] = {}
        self._pools_in_memory = pools_in_memory
        self._features = features
        self._fits: dict[int, PlaneFit] = {}
        self._queue: list[int] = []
        self._initial = first_planes(decoder, settings, generator) if initial is None else initial
        self._adam = torch.optim.AdamW(
            decoder.parameters(),
            lr=settings.decoder_learning_rate,
            betas=(0.9, 0.99),
            weight_decay=settings.decoder_weight_decay,
            fused=True,
        )

    @property
    def visits_in_round(self) -> int:
        """Visits until every avatar was visited once, ranks visiting at the same time."""
        return -(-self.num_avatars // self._share.world_size)

    @property
    def total_steps(self) -> int:
        """Steps until the fit is done: those of each avatar times the most avatars that a rank has."""
        return self.settings.steps * self.visits_in_round

    def planes_of(self, avatar: int) -> Float[Tensor, "3 channel height width"]:
        """Planes of an own avatar as they stand."""
        assert avatar in self.own, f"avatar {avatar} belongs to another rank"
        return self._fits[avatar].planes if avatar in self._fits else self._initial

    @property
    def planes(self) -> Float[Tensor, "avatar 3 channel height width"]:
        """Planes of all own avatars as they stand."""
        return torch.stack([self.planes_of(avatar) for avatar in self.own])

    def mean_planes(self, avatars: Collection[int] | None = None) -> Float[Tensor, "3 channel height width"]:
        """The mean over ``avatars`` of all ranks, all of them if none are named: a good start for another one's fit."""
        chosen = range(self.num_avatars) if avatars is None else avatars
        own = [avatar for avatar in self.own if avatar in chosen]
        if self._share.world_size == 1:
            return torch.stack([self.planes_of(avatar) for avatar in own]).mean(0)
        total = torch.zeros_like(self._initial)
        for avatar in own:
            total += self.planes_of(avatar)
        return self._share.average(total) * (self._share.world_size / len(chosen))

    def step(self) -> float:
        """One step of every rank on the avatar it visits; returns the mean of their losses, the same on all ranks."""
        place = self.steps_done // self.settings.visit_steps % self.visits_in_round
        if self.steps_done % (self.settings.visit_steps * self.visits_in_round) == 0:
            device = self._generator.device
            order = torch.randperm(len(self.own), generator=self._generator, device=device)
            self._queue = [self.own[i] for i in order.tolist()]
        parameters = list(self.decoder.parameters())
        fit, plane_grad = None, None
        if place < len(self._queue):
            fit, pool = self._visit(self._queue[place])
            loss = fit.loss(pool, self.decoder, self._generator)
            plane_grad, *decoder_grads = torch.autograd.grad(loss, (fit.table, *parameters))
            loss = loss.detach()
        else:
            loss, decoder_grads = parameters[0].new_zeros(()), [torch.zeros_like(p) for p in parameters]
        if self._share.world_size > 1:
            loss, *decoder_grads = self._averaged([loss, *decoder_grads], place)
        share = learning_rate_share(self.steps_done, self.total_steps, self.settings.learning_rate_end)
        for parameter, grad in zip(parameters, decoder_grads, strict=True):
            parameter.grad = grad
        self._adam.param_groups[0]["lr"] = self.settings.decoder_learning_rate * share
        self._adam.step()
        self._adam.zero_grad()
        if fit is not None and plane_grad is not None:
            fit.step(plane_grad, share)
        self.steps_done += 1
        return float(loss)

    def run(self, until: int, on_step: Callable[[int, float], None] | None = None) -> None:
        """Step until ``until`` steps are done in all, or the fit is complete.

        Raises :class:`rodin_models.fit.plane_fit.FitDiverged`, on all ranks, when the loss is no number.
        """
        while self.steps_done < min(until, self.total_steps):
            loss = self.step()
            if not math.isfinite(loss):
                raise FitDiverged(self.steps_done - 1)
            if on_step is not None:
                on_step(self.steps_done - 1, loss)

    def state(self) -> dict[str, Any]:
        """Everything a new process needs to go on: nested dicts of tensors, ints and floats, keys strings."""
        avatars = {str(avatar): self.avatar_state(avatar) for avatar in self.avatars_begun}
        return self.common_state() | {"avatars": avatars}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`. The fit must have been made with the same views, sizes, settings and share."""
        self.load_common_state(state)
        for key, saved in state["avatars"].items():
            self.load_avatar_state(int(key), saved)

    @property
    def avatars_begun(self) -> tuple[int, ...]:
        """Own avatars that have a state of their own, which those not yet visited have not."""
        return tuple(sorted(self._fits))

    def avatar_state(self, avatar: int) -> dict[str, Any]:
        """Planes, moments and grids of one of them: what a checkpoint holds most of, so it can be written singly."""
        return self._fits[avatar].state()

    def load_avatar_state(self, avatar: int, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`avatar_state`, after :meth:`load_common_state`."""
        hull = state["hull"].to(self._generator.device)
        fit = PlaneFit(self._initial, hull, self.settings, features=self._features)
        fit.load_state(state)
        self._fits[avatar] = fit

    def common_state(self) -> dict[str, Any]:
        """What :meth:`state` has beside the avatars."""
        return {
            "steps_done": self.steps_done,
            "generator": self._generator.get_state(),
            "queue": torch.tensor(self._queue, dtype=torch.int64),
            "initial": self._initial.clone(),
            "decoder": {name: tensor.clone() for name, tensor in self.decoder.state_dict().items()},
            "decoder_adam": adam_state(self._adam),
        }

    def load_common_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`common_state`; forgets all avatars."""
        self.steps_done = int(state["steps_done"])
        self._generator.set_state(state["generator"].cpu())
        self._queue = state["queue"].tolist()
        self._initial = state["initial"].to(self._generator.device).clone()
        self.decoder.load_state_dict(state["decoder"])
        load_adam_state(self._adam, state["decoder_adam"])
        self._fits = {}

    def _averaged(self, tensors: list[Tensor], place: int) -> list[Tensor]:
        """Means over the ranks that have a visit at ``place`` of the round; the others give zeros. One message."""
        visiting = min(self._share.world_size, self.num_avatars - place * self._share.world_size)
        flat = self._share.average(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        flat = flat * (self._share.world_size / visiting)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def _visit(self, avatar: int) -> tuple[PlaneFit, RayPool]:
        """An avatar's planes and rays; its views are asked for if its rays are not in memory."""
        pool = self._pools.pop(avatar, None)
        if pool is None:
            while len(self._pools) >= self._pools_in_memory:
                del self._pools[next(iter(self._pools))]
            views = self._views(avatar)
            if avatar not in self._fits:
                self._fits[avatar] = PlaneFit.around(views, self._initial, self.settings, features=self._features)
            # Depth was for the surface; twice as many photographs fit without it.
            pool = RayPool.around(replace(views, depth=None), self._fits[avatar].hull)
        self._pools[avatar] = pool
        return self._fits[avatar], pool
