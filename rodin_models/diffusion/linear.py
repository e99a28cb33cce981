"""The linear model: base planes from an image latent by ridge regression on eigen-planes.

The baseline that a network has to beat, and what the base diffusion stands on: it learns what this leaves over. What
is left over of the avatars that it learned from is taken as if they had not been seen (:mod:`rodin_models.ridge`), so
it is as large as for strangers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rodin_models.checkpoint import settings_from_dict
from rodin_models.diffusion.eigen_planes import EigenPlanes, ReadPlanes, principal_components
from rodin_models.diffusion.normalisation import LatentStatistics
from rodin_models.field.triplane import downsample, resized
from rodin_models.ridge import fit_ridge


@dataclass(frozen=True)
class LinearSettings:
    """Shapes of a :class:`LinearModel`."""

    shape: tuple[int, int, int, int] = (3, 32, 64, 64)
    """Of its planes: 3, channel, side, side."""
    components: int = 340
    """Eigen-planes."""
    latent_dim: int = 512
    """Length of the latent."""


class LinearModel(nn.Module):
    """Eigen-planes, the ridge regression from the latent to their coefficients, and the size of what it leaves over."""

    weight: Tensor
    residual: Tensor

    def __init__(self, settings: LinearSettings) -> None:
        super().__init__()
        self.settings = settings
        self.eigen = EigenPlanes(settings.shape, settings.components)
        self.latents = LatentStatistics(settings.latent_dim)
        self.register_buffer("weight", torch.zeros((settings.latent_dim, settings.components)))
        self.register_buffer("residual", torch.ones(settings.shape))

    def predict(self, latents: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 3 channel side side"]:
        """The planes, in their own units, that a latent makes one expect."""
        return self.eigen.planes(self.latents.normalise(latents) @ self.weight)

    def full_planes(
        self, latents: Float[Tensor, "batch dim"], mean: Float[Tensor, "3 channel full full"]
    ) -> Float[Tensor, "batch 3 channel full full"]:
        """Prediction at the side of ``mean``, the mean of full planes, of which it has what the model's side lacks."""
        side, full = self.settings.shape[-1], mean.shape[-1]
        return mean + torch.stack([resized(planes, full) for planes in self.predict(latents) - downsample(mean, side)])

    def first(self, count: int) -> "LinearModel":
        """The same with its first ``count`` eigen-planes only."""
        fewer = LinearModel(replace(self.settings, components=count))
        fewer.load_state_dict(
            self.state_dict()
            | {
                "eigen.components": self.eigen.components[:count],
                "eigen.spread": self.eigen.spread[:count],
                "weight": self.weight[:, :count],
            }
        )
        return fewer.requires_grad_(False).eval()

    def tree(self) -> dict[str, Any]:
        """Everything, for :func:`rodin_models.checkpoint.save_state`."""
        return {"settings": asdict(self.settings), "model": dict(self.state_dict())}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "LinearModel":
        """What :meth:`tree` gave."""
        model = cls(settings_from_dict(LinearSettings, tree["settings"]))
        model.load_state_dict(tree["model"])
        return model.requires_grad_(False).eval()


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear model, and what it would have predicted for each of its avatars without having seen it."""

    model: LinearModel
    unseen: Float[Tensor, "avatar component"]
    """Coefficients as if neither the avatar nor its mirror image had been seen."""
    ridge: float
    """The chosen l; 0 where the model was given."""
    explained: float
    """Share of the variance of the coefficients that ``unseen`` explains; may be negative. 0 where nobody knows."""

    @classmethod
    def of_strangers(cls, model: LinearModel, latents: Float[Tensor, "avatar dim"]) -> "LinearFit":
        """A given model beside avatars that it has not learned from."""
        return cls(model, model.latents.normalise(latents) @ model.weight, 0.0, 0.0)


def fit_linear(
    read: ReadPlanes, latents: Float[Tensor, "avatar dim"], components: int, *, mirrored: bool = False
) -> LinearFit:
    """Fit the linear model to the planes and latents of the same avatars, in the same order.

    With ``mirrored``, the second half of them are the mirror images of the first, in the same order. Reads all planes a
    few times, in blocks. Raises ``ValueError`` for less than two avatars, and for halves that are not equally long.
    """
    if mirrored and len(latents) % 2:
        raise ValueError(f"{len(latents)} avatars cannot be people and as many mirror images")
    people = len(latents) // 2 if mirrored else len(latents)
    num = len(latents)
    eigen, coefficients = principal_components(read, num, components)
    shape = tuple(eigen.mean.shape)
    model = LinearModel(LinearSettings(shape, len(eigen.spread), latents.shape[1]))  # type: ignore[arg-type]
    model.eigen = eigen
    model.latents.set_from(latents)
    found = fit_ridge(model.latents.normalise(latents).double(), coefficients, people)
    model.weight.copy_(found.weight)
    unseen = found.unseen.float()
    squares = torch.zeros(shape, dtype=torch.float64)
    for first in range(0, num, 64):
        planes = read(first, min(first + 64, num)).float()
        squares += (planes - eigen.planes(unseen[first : first + len(planes)])).double().square().sum(0)
    model.residual.copy_((squares / num).sqrt())
    return LinearFit(model.requires_grad_(False).eval(), unseen, found.ridge, found.explained)
