"""What texts tell and latents show: the loss by hand, what a text encoder learns, and latents that are moved."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rodin_models.image.attribute_classifier import UNKNOWN
from rodin_models.image.clip import ClipSettings, Sentences, build_clip, build_tokenizer, tokenize, training_loss
from rodin_models.image.clip_file import load_clip, save_clip
from rodin_models.image.looks import SCALE, Looks, LooksSettings, Reading, Told

SENTENCES = ["a man in red", "a man in blue", "a woman in red", "a woman in blue"]
ANSWERS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
TINY = ClipSettings(
    image_size=8, patch_size=4, vision_width=16, vision_layers=1, vision_heads=2, text_width=16, text_layers=1,
    text_heads=2, latent_dim=8, vocab_size=300, max_tokens=12,
)  # fmt: skip


def test_the_loss_is_the_sum_of_cross_entropies_of_known_answers() -> None:
    generator = torch.Generator().manual_seed(0)
    told = Told(5, (3, 2))
    texts = F.normalize(torch.randn(4, 5, generator=generator), dim=-1)
    answers = torch.tensor([[0, 1], [2, UNKNOWN], [UNKNOWN, UNKNOWN], [1, 0]])
    logits = SCALE * texts @ told.answers.weight.T + told.answers.bias
    by_hand = [
        -torch.log_softmax(logits[row, :3] if column == 0 else logits[row, 3:], -1)[answer]
        for row, of in enumerate(answers.tolist())
        for column, answer in enumerate(of)
        if answer != UNKNOWN
    ]
    torch.testing.assert_close(told.loss(texts, answers), torch.stack(by_hand).sum() / 4)


def test_a_locked_clip_learns_what_sentences_tell_and_sees_as_before() -> None:
    generator = torch.Generator().manual_seed(1)
    clip, tokenizer = build_clip(TINY, generator), build_tokenizer(TINY, SENTENCES)
    clip.lock_image()
    clip.add_told((2, 2), generator)
    before = {name: weight.clone() for name, weight in clip.state_dict().items()}
    tokens = tokenize(tokenizer, SENTENCES)
    learning = [parameter for parameter in clip.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, 3e-3)
    rgb = torch.rand(4, 3, 8, 8, generator=generator)
    losses = []
    for _ in range(150):
        loss = training_loss(clip, rgb, tokens, generator, sentences=Sentences(tokens, ANSWERS, 1.0))
        optimiser.zero_grad()
        loss["loss"].backward()
        optimiser.step()
        losses.append(float(loss["told"].detach()))
    assert losses[-1] < 0.2 < 1.0 < losses[0]
    after = clip.state_dict()
    changed = {name for name, weight in before.items() if not weight.equal(after[name])}
    assert changed and all("text" in name or name.startswith("told") for name in changed)


COLOUR, STYLE, SHADE = range(3)
SETTINGS = LooksSettings((3, 2, 2), pairs=(STYLE, COLOUR), finer=(COLOUR, SHADE))
TEXT, LATENT = 8, 12


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(answers: Tensor) -> Tensor:
    """Text latents that name the answers that are no ``UNKNOWN``, each by a direction of its own."""
    way = torch.linalg.qr(torch.randn(TEXT, TEXT, generator=seeded(1)))[0]
    hot = [F.one_hot(of.clamp(min=0), n) * (of != UNKNOWN)[:, None] for of, n in zip(answers.T, (3, 2, 2), strict=True)]
    return F.normalize(torch.cat((*hot, torch.ones(len(answers), 1)), 1).float() @ way, dim=-1)


def latents(answers: Tensor, rest: Tensor) -> Tensor:
    """Latents of people of these looks: a colour shows on the second style alone, and a shade not at all."""
    way = torch.randn(3 + 2 + 2 + 3, LATENT, generator=seeded(2))
    colour, style, shade = (F.one_hot(of, n).float() for of, n in zip(answers.T, (3, 2, 2), strict=True))
    return torch.cat((0 * colour, style, 0 * shade, 2 * colour * style[:, 1:]), 1) @ way + 0.1 * rest


def people(num: int, seed: int) -> tuple[Tensor, Tensor]:
    """Answers and what else is in somebody's latent."""
    generator = seeded(seed)
    answers = torch.stack([torch.randint(n, (num,), generator=generator) for n in (3, 2, 2)], 1)
    return answers, torch.randn(num, LATENT, generator=generator)


def fitted() -> tuple[Looks, Reading]:
    """Looks of 600 people and of 2000 sentences, each of which leaves two of three attributes open."""
    told, _ = people(2000, 3)
    is_named = torch.rand(told.shape, generator=seeded(4)) < 0.33
    named = torch.where(is_named, told, torch.full_like(told, UNKNOWN))
    seen, rest = people(600, 5)
    looks = Looks(SETTINGS, TEXT, LATENT)
    both = torch.cat((latents(seen, rest), latents(seen, -rest)))
    return looks, looks.fit(texts(named), told, is_named.long(), both, seen, torch.ones(LATENT))


def test_a_latent_is_moved_to_that_of_somebody_who_looks_as_a_text_tells() -> None:
    looks, read = fitted()
    # Half of all colours and every shade are not seen.
    assert read.explained > 0.9 and abs(read.nats - (math.log(3) / 2 + math.log(2))) < 0.1
    seen, rest = people(50, 6)
    seen[:, STYLE] = 1
    wanted = seen.clone()
    wanted[:, COLOUR] = (seen[:, COLOUR] + 1) % 3
    named = torch.full_like(wanted, UNKNOWN)
    named[:, COLOUR] = wanted[:, COLOUR]
    before, truth = latents(seen, rest), latents(wanted, rest)
    tells = looks.told(texts(named))
    assert tells[:, :3].all() and not tells[:, 3:5].any() and tells[:, 5:].all(), "a shade is told with its colour"
    away = (before - truth).norm()
    once, often = (looks.moved(before, texts(named), rounds=rounds) for rounds in (1, 4))
    assert max((once - truth).norm(), (often - truth).norm()) < 0.02 * away
    assert looks.of_latents(often)[:, :3].argmax(1).equal(wanted[:, COLOUR])
    assert looks.of_latents(often)[:, 3:5].argmax(1).equal(looks.of_latents(before)[:, 3:5].argmax(1))
    assert looks.moved(before, texts(named), rounds=0).equal(before)


def test_a_text_tells_what_it_names_and_one_that_names_nothing_changes_nothing() -> None:
    looks, _ = fitted()
    seen, rest = people(20, 7)
    told = looks.told(texts(torch.tensor([[UNKNOWN, 1, UNKNOWN]])))
    assert told[0, 3:5].all() and not told[0, :3].any() and not told[0, 5:].any()
    nothing = texts(torch.full((1, 3), UNKNOWN))
    assert not looks.told(nothing).any()
    assert looks.moved(latents(seen, rest), nothing, rounds=3).allclose(latents(seen, rest), atol=1e-5)


def test_what_is_likely_is_not_told_and_what_is_named_is_told_though_it_be_usual() -> None:
    """Half of the sentences name a style that nearly everybody has; the others leave it open."""
    seen, rest = people(800, 9)
    seen[:, STYLE] = 0
    seen[::10, STYLE] = 1
    is_named = torch.zeros_like(seen)
    is_named[::2, STYLE] = 1
    sentences = texts(torch.where(is_named.bool(), seen, torch.full_like(seen, UNKNOWN)))
    looks = Looks(SETTINGS, TEXT, LATENT)
    looks.fit(sentences, seen, is_named, latents(seen, rest), seen, torch.ones(LATENT))
    style = slice(3, 5)
    assert (looks.of_texts(sentences)[1::2, style].amax(1) > 0.8).all(), "it is likely unsaid"
    assert not looks.told(sentences)[1::2].any() and looks.told(sentences)[::2, style].all()


def test_answers_that_nobody_knows_are_left_out_and_chances_add_up() -> None:
    seen, rest = people(200, 8)
    hidden = seen.clone()
    hidden[::2, SHADE] = UNKNOWN
    looks = Looks(SETTINGS, TEXT, LATENT)
    looks.fit(texts(seen), hidden, (hidden != UNKNOWN).long(), latents(seen, rest), hidden, torch.ones(LATENT))
    for chances in (looks.of_texts(texts(seen)), looks.of_latents(latents(seen, rest))):
        torch.testing.assert_close(
            torch.stack([of.sum(1) for of in chances.split((3, 2, 2), 1)]).unique().mean(), torch.tensor(1.0)
        )
    assert looks.worth.isfinite().all() and looks.worth.abs().max() > 0.1


def test_looks_come_back_with_their_clip(tmp_path: Path) -> None:
    clip, tokenizer = build_clip(TINY, seeded()), build_tokenizer(TINY, SENTENCES)
    clip.add_looks(SETTINGS)
    assert clip.looks is not None
    clip.looks.worth += torch.rand(clip.looks.worth.shape, generator=seeded())
    save_clip(clip, tokenizer, TINY, tmp_path)
    again, _, settings = load_clip(tmp_path)
    assert settings.looks == SETTINGS and again.looks is not None and again.looks.worth.equal(clip.looks.worth)


@pytest.mark.parametrize("wrong", [{"pairs": (0,)}, {"finer": (0, 3)}, {"pairs": (-1, 0)}])
def test_pairs_that_are_none_are_refused(wrong: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="are no pairs of 3 attributes"):
        LooksSettings((3, 2, 2), **wrong)
