"""A CLIP that looks at renders and reads captions: built small from scratch, or a pretrained one.

Radford et al. 2021, section 2: an image and a text encoder trained so that matching pairs have near unit
latents. The network is ``transformers.CLIPModel``; here are its settings, its tokenizer, the loss and the files.

Synthetic people share captions, and each has many views, so a batch holds several images of one text. Plain
CLIP would push such images from their own caption; here every pair with equal tokens is a positive (the
supervised contrastive targets of Khosla et al. 2020). Captions that differ in a word stay negatives: that word
is what the latent has to show.

Left out: gathering the other workers' batches, and any fine-tuning schedule for pretrained weights.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rodin_models.image.augment import MIRROR_AND_ZOOM, Augmentation, augment
from rodin_models.image.likeness import Likeness
from rodin_models.image.looks import Looks, LooksSettings, Told
from rodin_models.image.resize import squared
from rodin_models.seeding import initialised_from

MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
STD: Final = (0.26862954, 0.26130258, 0.27577711)
"""Channel statistics that CLIP's published weights expect; ours use the same, so that the two are exchangeable."""

SPECIAL_TOKENS: Final = ("<pad>", "<end>", "<start>")
"""Ids 0, 1, 2. ``CLIPTextModel`` pools at the first end token, but takes an end id of 2 for an old file's mistake
and pools at the largest id instead: the end token must not be number 2."""

_PAD, _END, _START = range(3)
_BYTES: Final = 256
_MAX_LOGIT_SCALE: Final = math.log(100.0)
_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class ClipSettings:
    """Size of both encoders. With ``pretrained``, the weights' own sizes hold and the other fields are not read.

    Raises ``ValueError`` for sizes that do not divide.
    """

    image_size: int = 64
    """Side in pixels that images are resized to."""
    patch_size: int = 8
    """Side of a vision token in pixels; divides ``image_size``."""
    vision_width: int = 128
    """Width of the image encoder's tokens."""
    vision_layers: int = 4
    """Its transformer layers."""
    vision_heads: int = 4
    """Its attention heads; they divide its width."""
    text_width: int = 128
    """Width of the text encoder's tokens."""
    text_layers: int = 4
    """Its transformer layers."""
    text_heads: int = 4
    """Its attention heads; they divide its width."""
    latent_dim: int = 64
    """Numbers in a latent."""
    vocab_size: int = 1024
    """Largest number of tokens; 256 of them are the bytes, so that any text can be read."""
    max_tokens: int = 64
    """Tokens of a caption, start and end included; what is longer is cut before the end token."""
    likeness: int = 0
    """Principal components of frontal pictures that are the image latent in place of the contrastive one; 0: none."""
    looks: LooksSettings | None = None
    """What its texts tell and its latents show, where it learned that from sentences."""
    pretrained: str | None = None
    """A folder with config.json, model.safetensors and tokenizer.json, or a hub name."""

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(f"patch_size {self.patch_size} does not divide image_size {self.image_size}")
        for name, width, heads in (
            ("vision", self.vision_width, self.vision_heads),
            ("text", self.text_width, self.text_heads),
        ):
            if width % heads:
                raise ValueError(f"{name}_heads {heads} does not divide {name}_width {width}")
        if self.vocab_size < _BYTES + len(SPECIAL_TOKENS):
            raise ValueError(f"vocab_size {self.vocab_size} is below 259: 256 bytes and three special tokens")


class Clip(nn.Module):
    """``transformers.CLIPModel`` with the preprocessing inside; images come as [0, 1] over white."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.picture: nn.Linear | None = None
        """Draws small frontal pictures from latents while training; no part of what is saved."""
        self.told: Told | None = None
        """Reads attributes from text latents while training; no part of what is saved."""
        self.likeness: Likeness | None = None
        """Encodes images where there is one."""
        self.looks: Looks | None = None
        """Makes latents show what texts tell, where there is one."""
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def add_picture(self, mean: Float[Tensor, "3 side side"], generator: torch.Generator) -> None:
        """Give it the layer that draws small frontal pictures from latents; it begins around their ``mean``."""
        with initialised_from(generator):
            self.picture = nn.Linear(self.dim, mean.numel())
        with torch.no_grad():
            self.picture.bias.copy_(mean.flatten())

    def add_told(self, sizes: Sequence[int], generator: torch.Generator) -> None:
        """Give it the layer that reads attributes of so many answers each from text latents."""
        with initialised_from(generator):
            self.told = Told(self.dim, sizes)

    def add_looks(self, settings: LooksSettings) -> None:
        """Give it room for what texts tell and latents show."""
        dim = self.dim if self.likeness is None else len(self.likeness.spread)
        self.looks = Looks(settings, self.dim, dim).to(self.mean.device)

    def lock_image(self) -> None:
        """Let the text encoder alone learn (Zhai et al. 2022): image latents stay what they are."""
        self.requires_grad_(False)
        for part in (self.network.text_model, self.network.text_projection):
            part.requires_grad_(True)

    @property
    def dim(self) -> int:
        """Numbers in a latent."""
        return int(self.network.config.projection_dim)

    @property
    def image_size(self) -> int:
        """Side in pixels of what the vision encoder sees."""
        return int(self.network.config.vision_config.image_size)

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest caption."""
        return int(self.network.config.text_config.max_position_embeddings)

    def preprocess(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 s s"]:
        """Pad to a square with white, resize with antialiasing, normalise the channels. Differentiable."""
        square = squared(rgb)
        if square.shape[-1] != self.image_size:
            size = (self.image_size, self.image_size)
            square = F.interpolate(square, size, mode="bicubic", align_corners=False, antialias=True)
        return (square - self.mean) / self.std

    def image_embeddings(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Projected image tokens before normalisation: the features that FID and KID are taken on."""
        pooled = self.network.vision_model(self.preprocess(rgb)).pooler_output
        embeddings: Tensor = self.network.visual_projection(pooled)
        return embeddings

    def text_embeddings(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """Projected text tokens before normalisation. What follows the end token changes nothing."""
        pooled = self.network.text_model(tokens).pooler_output
        embeddings: Tensor = self.network.text_projection(pooled)
        return embeddings

    def vision_maps(self, rgb: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c i j"]]:
        """Patch tokens after each vision layer as maps, the class token dropped: features for a perceptual loss."""
        states = self.network.vision_model(self.preprocess(rgb), output_hidden_states=True).hidden_states
        return [s[:, 1:].mT.unflatten(2, (math.isqrt(s.shape[1] - 1), -1)) for s in states[1:]]


def build_clip(settings: ClipSettings, generator: torch.Generator) -> Clip:
    """A CLIP with fresh weights drawn from ``generator``, or the pretrained one that the settings name.

    Raises ``ValueError`` where nothing can be loaded under ``settings.pretrained``.
    """
    from transformers import CLIPConfig, CLIPModel

    if settings.pretrained is not None:
        try:
            return completed(
                Clip(CLIPModel.from_pretrained(settings.pretrained, use_safetensors=True)), settings
            ).eval()
        except (OSError, ValueError) as error:
            raise _not_found(settings.pretrained, error) from error
    text = {
        "hidden_size": settings.text_width,
        "intermediate_size": 4 * settings.text_width,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": settings.text_heads,
        "vocab_size": settings.vocab_size,
        "max_position_embeddings": settings.max_tokens,
        "projection_dim": settings.latent_dim,
        "pad_token_id": _PAD,
        "bos_token_id": _START,
        "eos_token_id": _END,
    }
    vision = {
        "hidden_size": settings.vision_width,
        "intermediate_size": 4 * settings.vision_width,
        "num_hidden_layers": settings.vision_layers,
        "num_attention_heads": settings.vision_heads,
        "image_size": settings.image_size,
        "patch_size": settings.patch_size,
        "projection_dim": settings.latent_dim,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=settings.latent_dim)
    with initialised_from(generator):
        return completed(Clip(CLIPModel(config)), settings)


def completed(clip: Clip, settings: ClipSettings) -> Clip:
    """The same CLIP, with room for likenesses and looks where the settings ask for them."""
    if settings.likeness:
        clip.likeness = Likeness(settings.likeness, clip.dim)
    if settings.looks is not None:
        clip.add_looks(settings.looks)
    return clip


def build_tokenizer(settings: ClipSettings, captions: Iterable[str]) -> Any:
    """A ``tokenizers.Tokenizer``: byte-level BPE (Sennrich et al. 2016) learned on ``captions``, or the pretrained.

    The same multiset of captions in any order gives the same tokenizer. Raises ``ValueError`` where nothing can
    be loaded under ``settings.pretrained``.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if settings.pretrained is not None:
        return _pretrained_tokenizer(settings.pretrained)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(captions), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", _START), ("<end>", _END)]
    )
    tokenizer.enable_truncation(settings.max_tokens)
    tokenizer.enable_padding(pad_id=_PAD, pad_token="<pad>")
    return tokenizer


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Int[Tensor, "b t"]:
    """Token ids, padded to the longest text of the batch."""
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(texts))])


def contrastive_loss(clip: Clip, rgb: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Mean of both directions' divergences from the targets: 1/k for each of the k pairs with equal tokens.

    That is CLIP's cross-entropy when all captions differ. The targets' own entropy, a constant, is taken off, so
    that 0 is reached with repeated captions too.
    """
    images = F.normalize(clip.image_embeddings(rgb), dim=-1)
    texts = F.normalize(clip.text_embeddings(tokens), dim=-1)
    return paired_divergence(images, texts, tokens, _inverse_temperature(clip))


def paired_divergence(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "b d"], tokens: Int[Tensor, "b t"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """:func:`contrastive_loss` of unit latents, at inverse temperature ``scale``."""
    equal = (tokens[:, None] == tokens[None]).all(-1)
    targets = equal / equal.sum(-1, keepdim=True)
    logits = scale * images @ texts.mT
    rows = F.kl_div(F.log_softmax(logits, -1), targets, reduction="batchmean")
    columns = F.kl_div(F.log_softmax(logits.mT, -1), targets, reduction="batchmean")
    return (rows + columns) / 2


class Sentences(NamedTuple):
    """Sentences, and what the people look like of whom they are true."""

    tokens: Int[Tensor, "b t"]
    answers: Int[Tensor, "b attribute"]
    """Number of the answer of each attribute, or ``UNKNOWN``."""
    weight: float


def training_loss(
    clip: Clip,
    rgb: Float[Tensor, "b 3 h w"],
    tokens: Int[Tensor, "b t"],
    generator: torch.Generator,
    frontal: Float[Tensor, "b 3 side side"] | None = None,
    picture_weight: float = 1.0,
    augmentation: Augmentation = MIRROR_AND_ZOOM,
    alpha: Float[Tensor, "b 1 h w"] | None = None,
    sentences: Sentences | None = None,
) -> dict[str, Tensor]:
    """``loss`` (:func:`contrastive_loss` on augmented images) and the inverse temperature ``logit_scale``.

    With ``frontal``, small frontal pictures of the people in ``rgb``, which shows them from anywhere, also ``picture``:
    the share of these pictures' variance within the batch that the clip's ``picture`` layer, a linear read-out of the
    unit latents, leaves unexplained. Captions say little of a face; this makes the latent a likeness.

    With ``sentences`` also ``told``: the nats that what they tell of is unexpected by (:class:`Told`).
    """
    seen = augment(rgb, generator, augmentation, alpha)
    latents = F.normalize(clip.image_embeddings(seen.rgb), dim=-1)
    texts = F.normalize(clip.text_embeddings(tokens), dim=-1)
    losses = {"loss": paired_divergence(latents, texts, tokens, _inverse_temperature(clip))}
    if frontal is not None:
        if clip.picture is None:
            raise ValueError("frontal pictures are drawn by the layer Clip.picture, and this clip has none")
        target = torch.where(seen.is_mirrored[:, None, None, None], frontal.flip(-1), frontal).flatten(1)
        variance = (target - target.mean(0)).square().mean().clamp(min=1e-6)
        losses["picture"] = (clip.picture(latents) - target).square().mean() / variance
        losses["loss"] = losses["loss"] + picture_weight * losses["picture"]
    if sentences is not None:
        if clip.told is None:
            raise ValueError("what sentences tell is read by the layer Clip.told, and this clip has none")
        latents = F.normalize(clip.text_embeddings(sentences.tokens), dim=-1)
        losses["told"] = clip.told.loss(latents, sentences.answers)
        losses["loss"] = losses["loss"] + sentences.weight * losses["told"]
    return losses | {"logit_scale": _inverse_temperature(clip).detach()}


def _inverse_temperature(clip: Clip) -> Tensor:
    scale: Tensor = clip.network.logit_scale.clamp(max=_MAX_LOGIT_SCALE).exp()
    return scale


@torch.no_grad()
def encode_images(clip: Clip, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
    """Latents of images in [0, 1] over white: likenesses where the clip has them, unit contrastive latents if not."""
    if clip.likeness is not None:
        return clip.likeness.encode(rgb)
    return F.normalize(clip.image_embeddings(rgb), dim=-1)


@torch.no_grad()
def encode_texts(clip: Clip, tokenizer: Any, texts: Sequence[str]) -> Float[Tensor, "b d"]:
    """Unit latents of texts."""
    return F.normalize(clip.text_embeddings(tokenize(tokenizer, texts).to(clip.mean.device)), dim=-1)


def _pretrained_tokenizer(name: str) -> Any:
    """The pretrained tokenizer, padding and cutting as its text encoder needs."""
    from tokenizers import Tokenizer
    from transformers import CLIPConfig
    from transformers.utils import cached_file

    try:
        config = CLIPConfig.from_pretrained(name).text_config
        tokenizer = Tokenizer.from_str(Path(cached_file(name, _TOKENIZER)).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_found(name, error) from error
    tokenizer.enable_truncation(config.max_position_embeddings)
    pad_id = config.pad_token_id
    tokenizer.enable_padding(pad_id=pad_id, pad_token=tokenizer.id_to_token(pad_id) or "<pad>")
    return tokenizer


def _not_found(name: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200]
    return ValueError(
        f"no pretrained CLIP under {name!r}: give a folder with config.json, model.safetensors and tokenizer.json, "
        f"or a hub name that this machine can reach ({reason})"
    )
