"""What text latents tell: linear read-outs of the attributes that a sentence names, or makes likely.

A contrastive loss asks a text latent for what sets one of a batch's people apart, by captions of the few hundred who
were photographed. Sentences about people who are drawn and never photographed cost nothing. The latent of a part of a
caption learns from them how likely each look is, for which the sum of all cross-entropies is the proper score.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rodin_models.image.attribute_classifier import UNKNOWN

SCALE = 10.0
"""Factor on unit latents, so that small weights can be sure of something."""


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
        columns = answers.unbind(1)
        nats = [
            F.cross_entropy(logits.float(), column, ignore_index=UNKNOWN, reduction="sum")
            for logits, column in zip(self(texts), columns, strict=True)
        ]
        total: Tensor = sum(nats, start=texts.new_zeros(()))
        return total / len(texts)
