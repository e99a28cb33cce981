"""A CLIP on disk: weights as safetensors, settings and architecture as JSON, its tokenizer, and a hash of all three."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from rodin_models.checkpoint import save_tensors, settings_from_dict
from rodin_models.compact import KEPT_BELOW
from rodin_models.image.clip import Clip, ClipSettings, completed
from rodin_models.seeding import initialised_from

_WEIGHTS, _RECORD, _TOKENIZER = "clip.safetensors", "clip.json", "tokenizer.json"
_TOWER_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
)
_TEXT_KEYS = (*_TOWER_KEYS, "vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id")
_VISION_KEYS = (*_TOWER_KEYS, "num_channels", "image_size", "patch_size")


def encoder_sha256(clip: Clip, tokenizer: Any) -> str:
    """Hash of everything a latent depends on: architecture, weights and tokenizer."""
    digest = hashlib.sha256(json.dumps(_architecture(clip), sort_keys=True).encode())
    digest.update(json.dumps(json.loads(tokenizer.to_str()), sort_keys=True).encode())
    for name, weight in sorted(clip.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_clip(clip: Clip, tokenizer: Any, settings: ClipSettings, folder: Path, *, half: bool = False) -> str:
    """Write weights (safetensors), record (JSON) and tokenizer (JSON) into ``folder``; return the encoder's hash.

    With ``half`` large weights take float16; ``clip`` is rounded to what will be read again, of which the hash is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in clip.state_dict().items()}
    if half:
        large = {name for name, w in weights.items() if w.is_floating_point() and w.numel() >= KEPT_BELOW}
        weights = {name: w.half() if name in large else w for name, w in weights.items()}
        clip.load_state_dict(weights)
    sha256 = encoder_sha256(clip, tokenizer)
    save_tensors(weights, folder / _WEIGHTS)
    tokenizer.save(str(folder / _TOKENIZER))
    settings = replace(settings, looks=None if clip.looks is None else clip.looks.settings)
    record = {"settings": asdict(settings), "architecture": _architecture(clip), "encoder_sha256": sha256}
    (folder / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return sha256


def load_clip(folder: Path) -> tuple[Clip, Any, ClipSettings]:
    """What :func:`save_clip` wrote: model in evaluation mode with float32 weights, tokenizer, settings.

    Raises ``ValueError`` where a file is missing, damaged or of another program, or the whole does not hash to what is
    recorded.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import CLIPConfig, CLIPModel

    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        weights = load_file(folder / _WEIGHTS)
        vocabulary = (folder / _TOKENIZER).read_text(encoding="utf-8")
        json.loads(vocabulary)  # what is cut off ends in a bare Exception of the tokenizer's
        tokenizer = Tokenizer.from_str(vocabulary)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"no complete CLIP in {folder}: {error}; train it again") from error
    try:
        architecture, recorded = record["architecture"], record["encoder_sha256"]
        with initialised_from(torch.Generator()):
            clip = Clip(
                CLIPModel(
                    CLIPConfig(
                        text_config=architecture["text"],
                        vision_config=architecture["vision"],
                        projection_dim=architecture["projection_dim"],
                    )
                )
            )
        settings = settings_from_dict(ClipSettings, record["settings"])
        completed(clip, settings).load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"the CLIP in {folder} is none that this version makes: {reason}; train it again") from error
    found = encoder_sha256(clip, tokenizer)
    if found != recorded:
        raise ValueError(f"the CLIP in {folder} hashes to {found[:12]}, its record says {recorded[:12]}")
    return clip.eval(), tokenizer, settings


def _architecture(clip: Clip) -> dict[str, Any]:
    """What of the config shapes the function: not the library's version, nor where the weights came from."""
    config = clip.network.config
    return {
        "text": {key: getattr(config.text_config, key) for key in _TEXT_KEYS},
        "vision": {key: getattr(config.vision_config, key) for key in _VISION_KEYS},
        "projection_dim": config.projection_dim,
    }
