"""Published decoders, shared ones and those of one avatar, as modules that are frozen."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.stages.weights import is_state, read_state
from rodin_models.field.decoder import Decoder, DecoderSettings

DECODER = ("settings", "decoder", "mean_planes")
"""What a published decoder holds."""


def load_decoder(layout: RunLayout, device: torch.device) -> tuple[Decoder, torch.Tensor]:
    """The published decoder, frozen, and the mean planes (3, channels, resolution, resolution).

    Raises ``DataError`` when there is none, or a damaged one.
    """
    missing = f"{layout.decoder} holds no decoder; run rodin-pipe fit first"
    tree = _state(layout.decoder, DECODER, missing, "fit again with --redo decoder")
    return _frozen(tree, device), tree["mean_planes"].to(device)


def load_own(folder: Path, device: torch.device) -> tuple[torch.Tensor, Decoder]:
    """float32 planes (3, channel, side, side) and frozen decoder of a published fit; raises ``DataError``."""
    remedy = "run rodin-pipe fit --own-decoder --redo own"
    tree = _state(folder, ("settings", "decoder", "planes"), f"{folder} is missing: {remedy}", remedy)
    return tree["planes"].to(device).float(), _frozen(tree, device)


def _state(folder: Path, keys: tuple[str, ...], missing: str, remedy: str) -> dict[str, Any]:
    if not is_state(folder):
        raise DataError(missing)
    return read_state(folder, keys, what="a decoder", remedy=remedy)


def _frozen(tree: dict[str, Any], device: torch.device) -> Decoder:
    decoder = Decoder(DecoderSettings(**tree["settings"]), torch.Generator())
    decoder.load_state_dict(tree["decoder"])
    return decoder.requires_grad_(False).to(device).eval()


def decoder_digest(decoder: Decoder) -> str:
    """One hash over a decoder's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(decoder.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
