"""Published decoders, shared ones and those of one avatar, as modules that are frozen."""

from pathlib import Path
from typing import Any

import torch

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from rodin_models.checkpoint import has_state, load_state
from rodin_models.field.decoder import Decoder, DecoderSettings


def load_decoder(layout: RunLayout, device: torch.device) -> tuple[Decoder, torch.Tensor]:
    """The published decoder, frozen, and the mean planes (3, channels, resolution, resolution).

    Raises ``DataError`` when there is none.
    """
    tree = _state(layout.decoder, f"{layout.decoder} holds no decoder; run rodin-pipe fit first")
    return _frozen(tree, device), tree["mean_planes"].to(device)


def load_own(folder: Path, device: torch.device) -> tuple[torch.Tensor, Decoder]:
    """float32 planes (3, channel, side, side) and frozen decoder of a published fit; raises ``DataError``."""
    tree = _state(folder, f"{folder} is missing: run rodin-pipe fit --own-decoder --redo own")
    return tree["planes"].to(device).float(), _frozen(tree, device)


def _state(folder: Path, missing: str) -> dict[str, Any]:
    if not has_state(folder):
        raise DataError(missing)
    tree: dict[str, Any] = load_state(folder)
    return tree


def _frozen(tree: dict[str, Any], device: torch.device) -> Decoder:
    decoder = Decoder(DecoderSettings(**tree["settings"]), torch.Generator())
    decoder.load_state_dict(tree["decoder"])
    return decoder.requires_grad_(False).to(device).eval()
