"""Looks: what a text tells of somebody, what a latent shows, and latents that are moved until they show it.

Looks are answers to a few attributes: hair colour, garment, glasses ... :class:`Told` is the loss by which a text
encoder learns to tell them. :class:`Looks` reads from text latents, by linear layers, the answers' chances and which of
the attributes are named (*a woman* makes a beard unlikely and does not name it; *without glasses* does), reads the
chances from image latents too, and knows by a ridge regression how a latent changes with them:

    latent' = latent + (f(wanted) - f(shown)) W,    wanted: as told where a text names something, else as shown before.

f are the chances of all answers and, for pairs of attributes, their products: grey is another change to long hair than
to short. Ridge and reading are both blurred, so a latent is moved again until it shows what is wanted; what it showed
of everything else is wanted too, so nothing drifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rodin_models.image.attribute_classifier import UNKNOWN
from rodin_models.ridge import regress

SCALE = 10.0
"""Factor on unit latents, so that small weights can be sure of something."""
PENALTIES: Final = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Weights of squared coefficients that are tried for reading latents."""
TEXT_PENALTY: Final = 1e-4
"""The same for reading texts, of which there are many."""
LEFT_OUT: Final = 5
"""Every so many-th person is left out to choose a penalty."""
FEWEST: Final = 3
"""People who must show an answer, or a pair of them, for it to be known how it changes a latent."""


class Told(nn.Module):
    """One linear layer for the answers to all attributes; ``sizes`` are the numbers of answers, by attribute."""

    def __init__(self, dim: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.answers = nn.Linear(dim, sum(sizes))

    def forward(self, texts: Float[Tensor, "b d"]) -> list[Float[Tensor, "b answers"]]:
        """Logits of the answers of each attribute, from unit text latents."""
        return list(self.answers(SCALE * texts).split(self.sizes, dim=1))

    def loss(self, texts: Float[Tensor, "b d"], answers: Int[Tensor, "b attribute"]) -> Float[Tensor, ""]:
        """Nats a sentence that the true answers are unexpected by, summed over attributes; ``UNKNOWN`` ones are not."""
        return _nats(self(texts), answers) / len(texts)


@dataclass(frozen=True)
class LooksSettings:
    """Attributes, by their numbers of answers, and what of them hangs together."""

    sizes: tuple[int, ...]
    pairs: tuple[int, ...] = ()
    """First and second attribute of each pair whose answers change each other's worth, one pair after the other."""
    finer: tuple[int, ...] = ()
    """An attribute and one that hangs on it, one after the other: what is told of one is told of both."""

    def __post_init__(self) -> None:
        for name in ("pairs", "finer"):
            numbers = getattr(self, name)
            if len(numbers) % 2 or any(not 0 <= number < len(self.sizes) for number in numbers):
                raise ValueError(f"{name} {numbers} are no pairs of {len(self.sizes)} attributes")

    @property
    def features(self) -> int:
        """Numbers of f: chances, and their products."""
        pairs = _couples(self.pairs)
        return sum(self.sizes) + sum(self.sizes[first] * self.sizes[second] for first, second in pairs)


class Reading(NamedTuple):
    """How well texts and latents are read."""

    explained: float
    """Share of the variance of strangers' latents that their looks explain."""
    nats: float
    """Nats a stranger's looks are unexpected by, reading the latent."""


class Looks(nn.Module):
    """Reads looks from texts and image latents, and moves latents by them; zero until fitted or loaded."""

    named_weight: Tensor
    named_bias: Tensor
    text_weight: Tensor
    text_bias: Tensor
    latent_weight: Tensor
    latent_bias: Tensor
    worth: Tensor

    def __init__(self, settings: LooksSettings, text_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.settings = settings
        answers = sum(settings.sizes)
        self.register_buffer("named_weight", torch.zeros(text_dim, len(settings.sizes)))
        self.register_buffer("named_bias", torch.zeros(len(settings.sizes)))
        self.register_buffer("text_weight", torch.zeros(text_dim, answers))
        self.register_buffer("text_bias", torch.zeros(answers))
        self.register_buffer("latent_weight", torch.zeros(latent_dim, answers))
        self.register_buffer("latent_bias", torch.zeros(answers))
        self.register_buffer("worth", torch.zeros(settings.features, latent_dim))

    def of_texts(self, texts: Float[Tensor, "b d"]) -> Float[Tensor, "b answers"]:
        """Chances of all answers by unit text latents; those of one attribute add up to 1."""
        return self._chances(texts @ self.text_weight + self.text_bias)

    def of_latents(self, latents: Float[Tensor, "b k"]) -> Float[Tensor, "b answers"]:
        """The same by image latents."""
        return self._chances(latents @ self.latent_weight + self.latent_bias)

    def told(self, texts: Float[Tensor, "b d"]) -> Bool[Tensor, "b answers"]:
        """Answers of which attributes ``texts`` tell: those that they name, and what else they say of the same."""
        told = texts @ self.named_weight + self.named_bias > 0
        for coarse, fine in _couples(self.settings.finer):
            either = told[:, coarse] | told[:, fine]
            told[:, coarse] = told[:, fine] = either
        sizes = torch.tensor(self.settings.sizes, device=told.device)
        return told.repeat_interleave(sizes, dim=1)

    def moved(
        self, latents: Float[Tensor, "b k"], texts: Float[Tensor, "#b d"], *, rounds: int
    ) -> Float[Tensor, "b k"]:
        """Latents that show what ``texts`` tell, and else what they showed before."""
        wanted = self._features(torch.where(self.told(texts), self.of_texts(texts), self.of_latents(latents)))
        for _ in range(rounds):
            latents = latents + (wanted - self._features(self.of_latents(latents))) @ self.worth
        return latents

    @torch.no_grad()
    def fit(
        self,
        texts: Float[Tensor, "text d"],
        told: Int[Tensor, "text attribute"],
        named: Int[Tensor, "text attribute"],
        latents: Float[Tensor, "rows k"],
        seen: Int[Tensor, "n attribute"],
        units: Float[Tensor, "k"],
    ) -> Reading:
        """Fit to sentences of people with the answers ``told``, and to people's latents with the answers ``seen``.

        ``named`` is 1 where a sentence names an attribute, and 0 where it leaves open what the answer is.

        Rows of ``latents`` are those of the n people, then those of their mirror images where there are some: a person
        looks the same in the mirror. ``units`` are what 1 of each coordinate is worth, by which errors are weighed.
        Answers may be ``UNKNOWN``.
        """
        weight, bias = _fitted(texts, told, self.settings.sizes, TEXT_PENALTY)
        self.text_weight.copy_(weight)
        self.text_bias.copy_(bias)
        # By how much the second of two answers is the likelier.
        weight, bias = _fitted(texts, named, [2] * len(self.settings.sizes), TEXT_PENALTY)
        self.named_weight.copy_(weight[:, 1::2] - weight[:, ::2])
        self.named_bias.copy_(bias[1::2] - bias[::2])

        people, copies = len(seen), len(latents) // len(seen)
        left_out = (torch.arange(people, device=seen.device) % LEFT_OUT == LEFT_OUT - 1).repeat(copies)
        answers = seen.repeat(copies, 1)
        tried = []
        for penalty in PENALTIES:
            weight, bias = _fitted(latents[~left_out], answers[~left_out], self.settings.sizes, penalty)
            logits = self._split(latents[left_out] @ weight + bias)
            tried.append((float(_nats(logits, answers[left_out])) / max(1, int(left_out.sum())), penalty))
        nats, penalty = min(tried)
        weight, bias = _fitted(latents, answers, self.settings.sizes, penalty)
        self.latent_weight.copy_(weight)
        self.latent_bias.copy_(bias)

        looks = self._features(self._one_hot(seen)).double()
        known = looks.sum(0) >= FEWEST
        found = regress(looks[:, known], latents.double(), units.double())
        self.worth.zero_()
        self.worth[known] = found.weight.float()
        return Reading(found.explained, nats)

    def _split(self, answers: Tensor) -> tuple[Tensor, ...]:
        return answers.split(self.settings.sizes, dim=1)

    def _chances(self, logits: Tensor) -> Tensor:
        return torch.cat([of.softmax(1) for of in self._split(logits)], 1)

    def _features(self, chances: Tensor) -> Tensor:
        """f of all answers' chances (b, answers)."""
        of = self._split(chances)
        products = [
            (of[first][:, :, None] * of[second][:, None]).flatten(1) for first, second in _couples(self.settings.pairs)
        ]
        return torch.cat((chances, *products), 1)

    def _one_hot(self, answers: Int[Tensor, "n attribute"]) -> Float[Tensor, "n answers"]:
        """1 for each answer that is true; no answer of an attribute that is ``UNKNOWN``."""
        hot = []
        for column, size in zip(answers.unbind(1), self.settings.sizes, strict=True):
            hot.append(F.one_hot(column.clamp(min=0), size).float() * (column != UNKNOWN)[:, None])
        return torch.cat(hot, 1)


def _fitted(inputs: Tensor, answers: Tensor, sizes: Sequence[int], penalty: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of the logistic regression of answers on ``inputs``, standardised within."""
    mean, deviation = inputs.mean(0), inputs.std(0, correction=0).clamp(min=1e-6)
    z = (inputs - mean) / deviation
    with torch.enable_grad():
        weight = torch.zeros(inputs.shape[1], sum(sizes), device=inputs.device, requires_grad=True)
        bias = torch.zeros(weight.shape[1], device=inputs.device, requires_grad=True)
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, history_size=20, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            logits = (z @ weight + bias).split(list(sizes), dim=1)
            total = _nats(logits, answers) / len(z) + penalty * weight.square().sum()
            total.backward()
            return total.detach()

        optimiser.step(loss)
    weight, bias = weight.detach() / deviation[:, None], bias.detach()
    return weight, bias - mean @ weight


def _couples(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _nats(logits: Sequence[Tensor], answers: Int[Tensor, "b attribute"]) -> Float[Tensor, ""]:
    """By how many nats the true answers are unexpected in all; those that are ``UNKNOWN`` are left out."""
    nats = [
        F.cross_entropy(of.float(), column, ignore_index=UNKNOWN, reduction="sum")
        for of, column in zip(logits, answers.unbind(1), strict=True)
    ]
    return torch.stack(nats).sum()
