"""Likenesses: how people look, in few numbers, and how sentences move them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rodin_models.image.clip import ClipSettings, build_clip, build_tokenizer, encode_images
from rodin_models.image.clip_file import load_clip, save_clip
from rodin_models.image.likeness import MOST, SIDE, Likeness, small


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(num: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures that three numbers a person make, and these numbers."""
    looks = 0.1 * torch.randn(num, 3, generator=seeded(seed))
    way = torch.rand(3, 3 * SIDE * SIDE, generator=seeded(99)) - 0.5
    return (0.5 + looks @ way).view(num, 3, SIDE, SIDE), looks


def fitted(num: int = 40, count: int = 3) -> Likeness:
    likeness = Likeness(count, 4)
    likeness.fit(pictures(num)[0])
    return likeness


def test_coordinates_have_unit_deviation_and_draw_the_picture_again() -> None:
    likeness = fitted()
    seen, _ = pictures(40)
    latents = likeness.encode(seen)
    torch.testing.assert_close(latents.std(0, correction=0), torch.ones(3), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(likeness.picture(latents), seen, rtol=0, atol=2e-3)
    strangers, _ = pictures(5, seed=7)
    kept = likeness.encode(strangers).abs().amax(1) < MOST
    torch.testing.assert_close(likeness.picture(likeness.encode(strangers))[kept], strangers[kept], rtol=0, atol=2e-3)


def test_what_lies_outside_is_kept_within_bounds_and_other_sizes_are_read() -> None:
    likeness = fitted()
    assert likeness.encode(torch.zeros(1, 3, 50, 40)).abs().max() <= MOST
    seen, _ = pictures(2)
    torch.testing.assert_close(likeness.encode(F.interpolate(seen, scale_factor=2.0)), likeness.encode(seen))
    padded = small(torch.zeros(1, 3, 64, 32))
    assert padded[..., :8].eq(1).all() and padded[..., 8:24].eq(0).all() and padded[..., 24:].eq(1).all()


def test_sentences_move_a_likeness_as_they_go_with_people() -> None:
    likeness = fitted()
    seen, looks = pictures(40)
    texts = F.normalize(torch.cat((looks, torch.full((40, 1), 0.3)), 1), dim=-1)
    assert likeness.fit_text(likeness.encode(seen), texts) > 0.8
    start = likeness.encode(seen[:1])
    moved = likeness.edited(start, texts[:1], texts[1:2], 1.0)
    wanted = likeness.encode(seen[1:2])
    assert (moved - wanted).norm() < 0.5 * (start - wanted).norm()
    torch.testing.assert_close(likeness.edited(start, texts[:1], texts[1:2], 0.0), start)
    torch.testing.assert_close(likeness.edited(start, texts[:1], texts[:1], 1.0), start)


def test_several_texts_of_each_person_weigh_as_one_that_is_repeated() -> None:
    seen, looks = pictures(40)
    texts = F.normalize(torch.cat((looks, torch.full((40, 1), 0.3)), 1), dim=-1)
    once, twice = fitted(), fitted()
    explained = once.fit_text(once.encode(seen), texts)
    assert abs(twice.fit_text(twice.encode(seen), texts.repeat(2, 1)) - explained) < 0.02
    torch.testing.assert_close(once.from_text, twice.from_text, atol=0.05, rtol=0.05)


def test_too_few_pictures_are_said() -> None:
    with pytest.raises(ValueError, match="3 pictures have fewer than 3 principal components"):
        fitted(num=3)


def test_a_clip_with_likeness_encodes_by_it_and_comes_back(tmp_path: Path) -> None:
    settings = ClipSettings(
        image_size=16, patch_size=4, vision_width=32, vision_layers=1, vision_heads=2, text_width=32, text_layers=1,
        text_heads=2, latent_dim=4, vocab_size=300, max_tokens=16, likeness=3,
    )  # fmt: skip
    clip = build_clip(settings, seeded())
    assert clip.likeness is not None
    seen, _ = pictures(10)
    clip.likeness.fit(seen)
    latents = encode_images(clip, seen)
    assert torch.equal(latents, clip.likeness.encode(seen)) and latents.shape == (10, 3)
    tokenizer = build_tokenizer(settings, ["a young man"])
    save_clip(clip, tokenizer, settings, tmp_path)
    again, _, found = load_clip(tmp_path)
    assert torch.equal(encode_images(again, seen), latents) and found == settings
    plain = build_clip(replace(settings, likeness=0), seeded())
    assert plain.likeness is None and encode_images(plain, seen).norm(dim=-1).allclose(torch.ones(10))
