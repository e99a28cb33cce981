"""What ``latents/`` holds, and the encoder that made it, for those that come after."""

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from rodin_models.checkpoint import has_state, load_state


@dataclass(frozen=True)
class Latents:
    """What ``latents/`` holds."""

    avatars: tuple[int, ...]
    image: torch.Tensor
    """(avatar, latent), unit length: the frontal view."""
    text: torch.Tensor
    """(avatar, latent), unit length: the caption."""
    encoder_sha256: str

    def rows(self, avatars: tuple[int, ...]) -> torch.Tensor:
        """Row numbers of the given avatars."""
        place = {avatar: row for row, avatar in enumerate(self.avatars)}
        return torch.tensor([place[avatar] for avatar in avatars])


def load_latents(layout: RunLayout) -> Latents:
    """The published latents; raises ``DataError`` when there are none."""
    if not has_state(layout.latents):
        raise DataError(f"{layout.latents} holds no latents; run rodin-pipe train first")
    tree = load_state(layout.latents)
    return Latents(tuple(tree["avatars"]), tree["image"], tree["text"], tree["encoder_sha256"])


def load_run_clip(layout: RunLayout, device: torch.device) -> tuple[Any, Any]:
    """The run's CLIP in evaluation mode, and its tokenizer; raises ``DataError`` when there is none."""
    from rodin_models.image.clip import load_clip

    try:
        clip, tokenizer, _ = load_clip(layout.model("clip") / "weights")
    except ValueError as error:
        raise DataError(f"{error}; run rodin-pipe train --out {layout.root} clip") from None
    return clip.to(device), tokenizer
