"""Stage ``encode``: the latents of every rendered avatar, of its frontal view and of its caption.

With ``train.mirror``, also of the mirrored frontal view; with ``latent.sentences``, of sentences about the person; with
``latent.drawn_people``, of sentences about people who are drawn for them.

Held-out avatars are encoded too, because evaluation needs them; training leaves them out.
"""

from collections.abc import Sequence
from typing import Any

import torch

from pipeline.contracts.stage import Progress, StageReport
from pipeline.io.files import names
from pipeline.io.publish import empty_folder, publish_folder
from pipeline.people.sentence_bank import sentence_bank, sentences_about
from pipeline.run.run import Run
from pipeline.stages.device import choose_device, use_threads
from pipeline.stages.latents import load_run_clip
from pipeline.stages.views import read_samples, rgb_tensor
from pipeline.stages.work import Stopwatch, WorkItem, publish_entry
from rodin_models.checkpoint import save_state

BATCH = 64


def encode_avatars(item: WorkItem, progress: Progress) -> StageReport:
    """Encode every rendered avatar with the run's CLIP and publish ``latents/``."""
    from rodin_models.image.clip import encode_images, encode_texts
    from rodin_models.image.clip_file import encoder_sha256

    run, layout, config = item.run, item.layout, item.config
    known = item.published(StageReport)
    if known is not None and item.done(known, progress):
        return known
    stopwatch = Stopwatch()
    use_threads(config.fit.threads)
    device = choose_device(config)
    clip, tokenizer = load_run_clip(layout, device)
    avatars = tuple(sorted(run.render_sources()))
    specs, told = run.specs(), config.latent.sentences
    image, text, mirrored, sentences = [], [], [], []
    for first in range(0, len(avatars), BATCH):
        samples = [read_samples(run, avatar, ("frontal",))[0] for avatar in avatars[first : first + BATCH]]
        pictures = torch.stack([rgb_tensor(sample, device) for sample in samples])
        image.append(encode_images(clip, pictures).cpu())
        if config.train.mirror:
            mirrored.append(encode_images(clip, pictures.flip(-1)).cpu())
        text.append(encode_texts(clip, tokenizer, [sample.record.caption for sample in samples]).cpu())
        for avatar in avatars[first : first + BATCH] if told else ():
            spoken = [said.words for said in sentences_about(specs[avatar], config.seed, avatar, told)]
            sentences.append(encode_texts(clip, tokenizer, spoken).cpu())
        progress(min(first + BATCH, len(avatars)), len(avatars))
    staged = empty_folder(layout.work / "latents")
    encoder = encoder_sha256(clip, tokenizer)
    tree = {"avatars": list(avatars), "image": torch.cat(image), "text": torch.cat(text), "encoder_sha256": encoder}
    tree |= {"mirrored": torch.cat(mirrored)} if mirrored else {}
    tree |= {"sentences": torch.stack(sentences)} if sentences else {}
    tree |= {"drawn_people": drawn_people(run, avatars, clip, tokenizer)} if config.latent.drawn_people else {}
    save_state(staged, tree)
    publish_folder(staged, layout.latents)
    return publish_entry(
        item,
        stopwatch,
        avatars=avatars,
        outputs=names(layout.latents),
        packages=("torch", "transformers"),
        notes={"encoder_sha256": encoder},
    )


def drawn_people(run: Run, avatars: Sequence[int], clip: Any, tokenizer: Any) -> dict[str, torch.Tensor]:
    """The fields of :class:`pipeline.stages.latents.DrawnPeople`."""
    from rodin_models.image.clip import encode_texts

    config, specs = run.config, run.specs()
    bank = sentence_bank(config.seed, config.latent.drawn_people, config.render.population)
    parts = [encode_texts(clip, tokenizer, bank.texts[i : i + BATCH]) for i in range(0, len(bank.texts), BATCH)]
    return {
        "looks": torch.from_numpy(bank.looks(specs[avatar] for avatar in avatars)),
        "drawn": torch.from_numpy(bank.looks(bank.people)),
        "text": torch.cat(parts).cpu().unflatten(0, (len(bank.people), -1)),
        "units": torch.ones(clip.dim) if clip.likeness is None else clip.likeness.spread.cpu().clone(),
    }
