"""What ``latents/`` holds, and the encoder that made it, for those that come after."""

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.io.files import fetched
from pipeline.stages.weights import is_state, read_state


@dataclass(frozen=True)
class DrawnPeople:
    """Looks of the run's avatars and of people who were drawn for what is said of them, and the latents of that."""

    looks: torch.Tensor
    """(avatar, look), of every avatar of the run."""
    drawn: torch.Tensor
    """(person, look)."""
    text: torch.Tensor
    """(person, sentence, latent), unit length."""
    units: torch.Tensor
    """(latent,), what 1 of each coordinate of an image latent is worth."""


@dataclass(frozen=True)
class Latents:
    """What ``latents/`` holds."""

    avatars: tuple[int, ...]
    image: torch.Tensor
    """(avatar, latent), unit length: the frontal view."""
    text: torch.Tensor
    """(avatar, latent), unit length: the caption."""
    encoder_sha256: str
    mirrored: torch.Tensor | None = None
    """(avatar, latent), unit length: the mirrored frontal view, where ``train.mirror`` asks for it."""
    sentences: torch.Tensor | None = None
    """(avatar, sentence, latent), unit length: sentences about the person, where ``latent.sentences`` asks for them."""
    drawn_people: DrawnPeople | None = None
    """Where ``latent.drawn_people`` asks for them."""

    def rows(self, avatars: tuple[int, ...]) -> torch.Tensor:
        """Row numbers of the given avatars."""
        place = {avatar: row for row, avatar in enumerate(self.avatars)}
        return torch.tensor([place[avatar] for avatar in avatars], dtype=torch.long)

    def to_learn(self, avatars: tuple[int, ...], *, mirror: bool) -> torch.Tensor:
        """Image latents of the given avatars (row, latent), followed by those of their mirror images if asked for.

        Raises ``DataError`` where these are not there.
        """
        rows = self.rows(avatars)
        if not mirror:
            return self.image[rows]
        if self.mirrored is None:
            raise DataError("latents/ has none of mirrored views, which train.mirror needs: --redo encode")
        return torch.cat((self.image[rows], self.mirrored[rows]))

    def told(self, avatars: tuple[int, ...], sentences: int) -> torch.Tensor:
        """Text latents of the given avatars (row, 1 + sentences, latent): the caption first, then sentences.

        Raises ``DataError`` where there are not as many.
        """
        rows = self.rows(avatars)
        captions = self.text[rows, None]
        if not sentences:
            return captions
        if self.sentences is None or self.sentences.shape[1] != sentences:
            raise DataError(f"latents/ has not the {sentences} sentences of latent.sentences: --redo encode")
        return torch.cat((captions, self.sentences[rows]), 1)


def load_latents(layout: RunLayout) -> Latents:
    """The published latents; raises ``DataError`` when there are none, or damaged ones."""
    if not is_state(layout.latents):
        raise DataError(f"{layout.latents} holds no latents; run rodin-pipe train first")
    keys = ("avatars", "image", "text", "encoder_sha256")
    tree = read_state(layout.latents, keys, what="latents", remedy="encode again with --redo encode")
    more = {name: tree.get(name) for name in ("mirrored", "sentences")}
    more["drawn_people"] = DrawnPeople(**tree["drawn_people"]) if "drawn_people" in tree else None
    return Latents(tuple(tree["avatars"]), tree["image"], tree["text"], tree["encoder_sha256"], **more)


def load_run_clip(layout: RunLayout, device: torch.device) -> tuple[Any, Any]:
    """The run's CLIP in evaluation mode, and its tokenizer; raises ``DataError`` when there is none."""
    from rodin_models.image.clip_file import load_clip

    try:
        clip, tokenizer, _ = load_clip(fetched(layout.model("clip") / "weights"))
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"{error}; run rodin-pipe train --out {layout.root} clip") from None
    return clip.to(device), tokenizer
