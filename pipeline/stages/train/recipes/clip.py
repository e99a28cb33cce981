"""CLIP from scratch on renders and captions, or a pretrained one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import DataError
from pipeline.people.caption import phrasings
from pipeline.people.sentence_bank import EACH, FINER, PAIRS, SentenceBank, sentence_bank
from pipeline.run.run import Run
from pipeline.run.start import started_from
from pipeline.stages.latents import load_run_clip
from pipeline.stages.train.recipe import Batch, Levels, Places, draw_rows, learnable, measured
from pipeline.stages.views import read_one, rgb_tensor
from rodin_models.image.augment import Augmentation
from rodin_models.image.clip import (
    Clip,
    ClipSettings,
    Sentences,
    build_clip,
    build_tokenizer,
    encode_texts,
    tokenize,
    training_loss,
)
from rodin_models.image.clip_file import save_clip
from rodin_models.image.likeness import small
from rodin_models.image.looks import LooksSettings

CPU = torch.device("cpu")
OVERSAMPLED = 2
"""Pictures are kept at this many times the side that the encoder sees, since augmentation zooms into them."""
KEPT_BYTES = 512 * 2**20
"""Pictures that a worker keeps, made small: decoding them takes longer than a step of a small encoder."""
TOLD_PEOPLE = 4000
"""Most people who are drawn for sentences from whom looks are learned."""


class ClipRecipe:
    """A batch is a random view (frontal every other time) of different avatars, each with one of its phrasings."""

    def __init__(self, run: Run, device: torch.device) -> None:
        del device
        self.run = run
        self.avatars = learnable(run.config, run.render_sources())
        models = started_from(run.config)
        self.given = None if models is None else load_run_clip(models.layout, CPU)
        self.locked = self.given is not None and run.config.clip.lock_image
        self.trains = self.locked or (self.given is None and not run.config.clip.pretrained)
        held_out = measured(run.config, run.render_sources(), "clip")
        # Alone, or without training, there is nothing to tell apart.
        self.held_out = held_out if self.trains and len(held_out) > 1 else ()
        self._everyone = (*self.avatars, *self.held_out)
        self.picture_weight = run.config.clip.picture_weight if self.trains and not self.locked else 0.0
        specs = run.specs()
        spoken = [phrasings(specs[avatar]) for avatar in self._everyone]
        self.captions = [caption for of_avatar in spoken for caption in of_avatar]
        self.counts = np.array([len(of_avatar) for of_avatar in spoken])
        self.first = np.cumsum(self.counts) - self.counts
        self.settings = clip_settings(run.config)
        self.augmentation = augmentation(run.config)
        learned = self.captions[: int(self.counts[: len(self.avatars)].sum())]
        told = run.config.clip.sentences if self.trains else 0
        self.bank = sentence_bank(run.config.seed, told, run.config.render.population) if told else None
        read = (*learned, *self.bank.texts) if self.bank else learned
        try:
            self.tokenizer: Any = self.given[1] if self.given else build_tokenizer(self.settings, read)
        except ValueError as error:
            raise DataError(f"clip.pretrained: {error}") from None
        self.tokens = tokenize(self.tokenizer, learned)
        # Apart, since tokens are padded to the longest text.
        strange = self.captions[len(learned) :]
        self.held_out_tokens = tokenize(self.tokenizer, strange) if strange else self.tokens[:0]
        self.sentence_tokens = tokenize(self.tokenizer, self.bank.texts) if self.bank else self.tokens[:0]
        self.answers, self.named = (
            (torch.from_numpy(self.bank.answers()).repeat_interleave(EACH, 0), torch.from_numpy(self.bank.named()))
            if self.bank
            else (self.tokens[:0], self.tokens[:0])
        )
        self._kept: dict[tuple[int, int], Tensor] = {}
        self._lock = Lock()

    def build(self, generator: torch.Generator) -> nn.Module:
        """The CLIP, the one that the run starts from or a pretrained one where the configuration says so.

        Raises ``DataError`` where there is none that can be used.
        """
        if self.given is not None:
            given: Clip = self.given[0]
            if self.locked:
                given.lock_image()
                self._add_told(given, generator)
            return given
        try:
            clip = build_clip(self.settings, generator)
        except ValueError as error:
            raise DataError(f"clip.pretrained: {error}") from None
        self._add_told(clip, generator)
        if not self.picture_weight and clip.likeness is None:
            return clip
        frontal = self._small_frontals(range(len(self.avatars)))
        if self.picture_weight:
            clip.add_picture(frontal.mean(0), generator)
        if clip.likeness is not None:
            try:
                clip.likeness.fit(torch.cat((frontal, frontal.flip(-1))))
            except ValueError as error:
                raise DataError(f"clip.likeness {self.settings.likeness}: {error}; lower it") from None
        return clip

    def _add_told(self, clip: Clip, generator: torch.Generator) -> None:
        """The layer that reads what sentences tell and what they name, where there are some."""
        if self.bank is not None:
            sizes = [len(words) for words in self.bank.words.values()]
            clip.add_told([*sizes, *[2] * len(sizes)], generator)

    def draw(self, generator: np.random.Generator, batch: int) -> Places:
        """Rows, views and captions, and a sentence beside each where there are some; the frontal view is the last."""
        rows = draw_rows(generator, len(self.avatars), batch)
        render = self.run.config.render
        frontal = render.frontal_view
        views = np.where(generator.random(batch) < 0.5, frontal, generator.integers(render.train_views, size=batch))
        captions = self.first[rows] + generator.integers(self.counts[rows])
        if self.bank is None:
            return np.stack((rows, views, captions), 1)
        # Those of the first people are kept for the held-out loss.
        kept = len(self.held_out)
        return np.stack((rows, views, captions, generator.integers(kept, len(self.bank.texts), size=batch)), 1)

    def draw_held_out(self, generator: np.random.Generator) -> Places:
        """The rows of the held-out avatars, after all that it learns from, with their frontal views and captions."""
        del generator
        rows = np.arange(len(self.avatars), len(self._everyone))
        columns = (rows, np.full(len(rows), self.run.config.render.frontal_view), self.first[rows])
        return np.stack(columns if self.bank is None else (*columns, np.arange(len(rows))), 1)

    def levels(self) -> Levels:
        """None: it knows no noise process."""
        return ()

    def load(self, places: Places) -> Batch:
        """Images over white and tokens, and small frontal pictures where latents have to draw them.

        All of avatars to learn from, or all of held-out ones.
        """
        images = torch.stack([self._picture(int(row), int(view)) for row, view in places[:, :2]])
        texts = torch.from_numpy(places[:, 2])
        learned = bool((texts < len(self.tokens)).all())
        tokens = self.tokens[texts] if learned else self.held_out_tokens[texts - len(self.tokens)]
        batch = {"rgb": images[:, :3].float() / 255, "tokens": tokens}
        if self.augmentation.needs_alpha:
            batch["alpha"] = images[:, 3:].float() / 255
        if self.picture_weight:
            batch["frontal"] = self._small_frontals(places[:, 0])
        if self.bank is not None:
            sentences = torch.from_numpy(places[:, 3])
            batch["sentences"] = self.sentence_tokens[sentences]
            batch["answers"] = torch.cat((self.answers[sentences], self.named[sentences]), 1)
        return batch

    def _picture(self, row: int, view: int) -> Tensor:
        """uint8 (3 or 4, side, side) over white, and alpha if it is of use; no larger than is of use."""
        with self._lock:
            kept = self._kept.get((row, view))
        if kept is not None:
            return kept
        sample = read_one(self.run, self._everyone[row], view)
        pixels = rgb_tensor(sample, CPU)
        if self.augmentation.needs_alpha:
            pixels = torch.cat((pixels, torch.from_numpy(sample.rgba[None, ..., 3] / np.float32(255))))
        side = OVERSAMPLED * self.settings.image_size
        if pixels.shape[-1] > side:
            pixels = F.interpolate(pixels[None], (side, side), mode="bilinear", align_corners=False, antialias=True)[0]
        picture = (pixels * 255).round().to(torch.uint8)
        with self._lock:
            if (len(self._kept) + 1) * picture.numel() <= KEPT_BYTES:
                self._kept[row, view] = picture
        return picture

    def _small_frontals(self, rows: Iterable[int]) -> Tensor:
        """Small frontal pictures of rows, one by one (row, 3, side, side)."""
        view = self.run.config.render.frontal_view
        return torch.cat([small(self._picture(int(row), view)[None, :3].float() / 255) for row in rows])

    @torch.no_grad()
    def _fit_text(self, clip: Clip) -> dict[str, str]:
        """Give likenesses their way from the texts as they are encoded now; those of a given CLIP have theirs.

        Where there are sentences about people who are drawn, it goes by the looks that they tell: they are many, and
        know of every look.
        """
        if clip.likeness is None or not self.trains:
            return {}
        frontals = self._small_frontals(range(len(self.avatars))).to(clip.mean.device)
        latents = clip.likeness.encode(frontals)
        if self.bank is None:
            texts = [self.captions[first] for first in self.first[: len(self.avatars)]]
            explained = clip.likeness.fit_text(latents, self._encoded(clip, texts))
            return {"likeness": f"texts explain {explained:.1%} of the variance of small frontal pictures of strangers"}
        specs, most = self.run.specs(), EACH * TOLD_PEOPLE
        clip.add_looks(looks_settings(self.bank))
        assert clip.looks is not None
        read = clip.looks.fit(
            self._encoded(clip, self.bank.texts[:most]),
            self.answers[:most].to(clip.mean.device),
            self.named[:most].to(clip.mean.device),
            torch.cat((latents, clip.likeness.encode(frontals.flip(-1)))),
            torch.from_numpy(self.bank.answers_of(specs[avatar] for avatar in self.avatars)).to(clip.mean.device),
            clip.likeness.spread,
        )
        return {
            "likeness": f"looks explain {read.explained:.1%} of the variance of small frontal pictures of strangers; "
            f"latents leave {read.nats:.2f} nats of them open"
        }

    def _encoded(self, clip: Clip, texts: Sequence[str]) -> Tensor:
        parts = [encode_texts(clip, self.tokenizer, texts[i : i + 256]) for i in range(0, len(texts), 256)]
        return torch.cat(parts)

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator, time: float | None = None
    ) -> dict[str, Tensor]:
        """Contrastive, with equal captions as positives, and, by its weight, how well latents draw their people."""
        del time
        assert isinstance(model, Clip)
        weight = self.run.config.clip.sentence_weight
        told = Sentences(batch["sentences"], batch["answers"], weight) if self.bank is not None else None
        return training_loss(
            model,
            batch["rgb"],
            batch["tokens"],
            generator,
            batch.get("frontal"),
            self.picture_weight,
            self.augmentation,
            batch.get("alpha"),
            told,
        )

    def save(self, model: nn.Module, folder: Path) -> dict[str, str]:
        """Weights, record, tokenizer; the encoder's hash is what latents are marked with."""
        assert isinstance(model, Clip)
        model.picture = model.told = None
        notes = self._fit_text(model)
        return notes | {"encoder_sha256": save_clip(model, self.tokenizer, self.settings, folder)}


def looks_settings(bank: SentenceBank) -> LooksSettings:
    """Looks as sentences tell them."""
    sizes = tuple(map(len, bank.words.values()))
    return LooksSettings(sizes, bank.places_of(PAIRS), bank.places_of(FINER))


def augmentation(config: RunConfig) -> Augmentation:
    """How pictures are changed that it learns from, as the configuration says."""
    clip = config.clip
    return Augmentation(
        exposure=clip.augment_exposure,
        white_balance=clip.augment_white_balance,
        gamma=clip.augment_gamma,
        contrast=clip.augment_contrast,
        shift=clip.augment_shift,
        scale=clip.augment_scale,
        rotation_deg=clip.augment_rotation_deg,
        background=clip.augment_background,
        blur=clip.augment_blur,
        jpeg=clip.augment_jpeg,
    )


def clip_settings(config: RunConfig) -> ClipSettings:
    """The configuration as plain arguments; both towers have the same size."""
    clip = config.clip
    return ClipSettings(
        image_size=clip.image_size,
        patch_size=clip.patch_size,
        vision_width=clip.width,
        vision_layers=clip.layers,
        vision_heads=clip.heads,
        text_width=clip.width,
        text_layers=clip.layers,
        text_heads=clip.heads,
        latent_dim=clip.latent_dim,
        max_tokens=clip.max_tokens,
        likeness=clip.likeness,
        pretrained=clip.pretrained or None,
    )
