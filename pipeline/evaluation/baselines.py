"""What costs nothing and has to be beaten: the mean avatar, a Gaussian in eigen-planes, ridge regressions.

The ridge regression from latents to *all* eigen-planes needs none of them: with Z the standardised latents of the
training avatars, X their planes less the mean m, and z a new latent,

    predicted planes = m + w X,    w = z (Z^T Z + l I)^-1 Z^T                                                 (1)

is a weighted sum of training planes, which one pass over them gives for full planes too. l is the one that the linear
model of the base planes chose by leaving people out. Baselines are made of the run's own planes, under its own decoder.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.evaluation.subject import Subject
from pipeline.io.plane_store import Level
from rodin_models.diffusion.linear import LinearFit, fit_linear
from rodin_models.diffusion.upsampler import enlarge

COMPONENTS = 340
"""Most eigen-planes of the Gaussian."""


@dataclass(frozen=True)
class Baselines:
    """Fitted to the training avatars of a subject."""

    subject: Subject
    linear: LinearFit
    """On base planes."""

    @classmethod
    def of(cls, subject: Subject) -> "Baselines":
        """Fit them."""
        training = subject.training

        def read(first: int, last: int) -> Tensor:
            return torch.from_numpy(subject.store.read_many(training[first:last], "base_planes"))

        count = min(COMPONENTS, len(training) - 1)
        return cls(subject, fit_linear(read, subject.latents(training), count))

    def mean_planes(self) -> Tensor:
        """Full planes of the mean avatar, (3, channel, side, side)."""
        return self._weighted(torch.full((1, len(self.subject.training)), 0.0), "planes")[0]

    def mean_seen(self, mean: Tensor, index: int) -> Tensor:
        """:meth:`mean_planes` from rig ``index`` (view, 3, side, side)."""
        return self._seen("mean", index, lambda: mean)

    def gaussian_seen(self, index: int) -> Tensor:
        """Person ``index`` from a Gaussian in the eigen-planes, base planes enlarged, from the rig of that number."""

        def drawn() -> Tensor:
            return self.enlarged(self.linear.model.eigen.gaussian(1, self.subject.generator(index, "gaussian")))[0]

        return self._seen("gaussian", index, drawn)

    def ridge_base(self, latents: Tensor) -> Tensor:
        """Full planes by ridge regression to base planes, enlarged bicubically, (row, 3, channel, side, side)."""
        return self.enlarged(self._weighted(self._weights(latents), "base_planes"))

    def ridge_full(self, latents: Tensor) -> Tensor:
        """Full planes by ridge regression to full planes."""
        return self._weighted(self._weights(latents), "planes")

    def enlarged(self, base: Tensor) -> Tensor:
        """Base planes at the side of full ones."""
        return enlarge(base, self.subject.store.spec.resolution).clamp(-1, 1)

    def nearest(self, latents: Tensor) -> list[int]:
        """The training avatar whose latent is nearest to each."""
        training = self.subject.training
        rows = torch.cdist(latents, self.subject.latents(training)).argmin(1).tolist()
        return [training[row] for row in rows]

    def _seen(self, kind: str, index: int, planes: Callable[[], Tensor]) -> Tensor:
        subject = self.subject
        return subject.fitted.pictures(
            f"{kind}-{subject.planes_name(subject.training)}/{index:06d}",
            lambda: subject.seen(planes(), subject.rig(index), subject.decoder)[:, :3],
        )

    def _weights(self, latents: Tensor) -> Tensor:
        """Equation (1), (row, training avatar)."""
        statistics = self.linear.model.latents
        z = statistics.normalise(self.subject.latents(self.subject.training)).double()
        square = z.T @ z + self.linear.ridge * torch.eye(z.shape[1], dtype=z.dtype)
        return statistics.normalise(latents).double() @ torch.linalg.solve(square, z.T)

    def _weighted(self, weights: Tensor, level: Level) -> Tensor:
        """Mean planes plus weighted sums of what each training avatar has beyond them, in one pass."""
        training, total, summed = self.subject.training, None, None
        for column, avatar in enumerate(training):
            planes = self.subject.planes(avatar, level).cpu()
            if total is None or summed is None:
                total, summed = torch.zeros_like(planes).double(), planes.new_zeros((len(weights), planes.numel()))
            total += planes
            summed.addr_(weights[:, column].float(), planes.flatten())
        assert total is not None and summed is not None
        mean = (total / len(training)).float()
        summed += (1 - weights.sum(1)).float()[:, None] * mean.flatten()
        return summed.view(-1, *mean.shape).to(self.subject.sampler.device)
