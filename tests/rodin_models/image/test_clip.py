import dataclasses
import json
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from rodin_models.compact import KEPT_BELOW
from rodin_models.image.clip import (
    Clip,
    ClipSettings,
    build_clip,
    build_tokenizer,
    contrastive_loss,
    encode_images,
    encode_texts,
    paired_divergence,
    tokenize,
    training_loss,
)
from rodin_models.image.clip_file import encoder_sha256, load_clip, save_clip

TINY = ClipSettings(
    image_size=16, patch_size=4, vision_width=32, vision_layers=2, vision_heads=2, text_width=32, text_layers=2,
    text_heads=2, latent_dim=16, vocab_size=300, max_tokens=16,
)  # fmt: skip
CAPTIONS = ["an old woman with grey curly hair", "a young man with short black hair", "a young man with glasses"]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return build_tokenizer(TINY, CAPTIONS)


@pytest.fixture()
def clip() -> Clip:
    return build_clip(TINY, _generator())


def test_settings_survive_json_and_refuse_misfits() -> None:
    assert ClipSettings(**json.loads(json.dumps(dataclasses.asdict(TINY)))) == TINY
    for change, message in [
        ({"patch_size": 5}, "does not divide"),
        ({"text_heads": 3}, "text_heads"),
        ({"vocab_size": 99}, "259"),
    ]:
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(TINY, **change)


def test_tokenizer_does_not_depend_on_the_order_of_captions() -> None:
    captions = CAPTIONS * 3 + ["a bald man in a blue sweater"]
    shuffled = random.Random(0).sample(captions, len(captions))
    assert shuffled != captions
    assert build_tokenizer(TINY, captions).to_str() == build_tokenizer(TINY, shuffled).to_str()
    assert build_tokenizer(TINY, captions).get_vocab_size() <= TINY.vocab_size


def test_tokens_start_end_and_pad(tokenizer: object) -> None:
    tokens = tokenize(tokenizer, ["a man", "an old woman with grey curly hair", "Ünseen wörds 漢字 " * 9])
    assert tokens[:, 0].tolist() == [2, 2, 2]
    assert (tokens == 1).sum(-1).tolist() == [1, 1, 1]
    assert tokens[0, -1] == 0
    assert tokens.shape[1] == TINY.max_tokens and tokens[2, -1] == 1  # cut, and still ended


def test_padding_changes_no_text_latent(clip: Clip, tokenizer: object) -> None:
    alone = encode_texts(clip, tokenizer, ["a man"])
    beside = encode_texts(clip, tokenizer, ["a man", "an old woman with grey curly hair"])
    assert torch.allclose(alone[0], beside[0], atol=1e-6)
    assert not torch.allclose(beside[0], beside[1], atol=1e-3)


def test_pooling_is_at_the_end_token(clip: Clip, tokenizer: object) -> None:
    tokens = tokenize(tokenizer, ["a man"])
    end = tokens[0].tolist().index(1)
    hidden = clip.network.text_model(tokens).last_hidden_state[0, end]
    assert torch.allclose(clip.text_embeddings(tokens)[0], clip.network.text_projection(hidden), atol=1e-6)


def test_latents_have_unit_length(clip: Clip, tokenizer: object) -> None:
    images = encode_images(clip, torch.rand(3, 3, 24, 24, generator=_generator()))
    texts = encode_texts(clip, tokenizer, CAPTIONS)
    assert images.shape == texts.shape == (3, clip.dim) == (3, 16)
    assert torch.allclose(images.norm(dim=-1), torch.ones(3)) and torch.allclose(texts.norm(dim=-1), torch.ones(3))


def test_preprocessing_pads_with_white_and_resizes(clip: Clip) -> None:
    white = clip.preprocess(torch.ones(1, 3, 16, 16))
    assert torch.allclose(clip.preprocess(torch.ones(1, 3, 40, 24)), white, atol=1e-5)
    black = clip.preprocess(torch.zeros(1, 3, 32, 16))[0]
    assert torch.allclose(black[:, :, :3], white[0, :, :, :3], atol=0.2)
    assert torch.allclose(black[:, :, 8], clip.preprocess(torch.zeros(1, 3, 16, 16))[0, :, :, 8], atol=0.2)


def test_loss_is_clips_cross_entropy_for_distinct_captions() -> None:
    images, texts = F.normalize(torch.randn(2, 5, 8, generator=_generator()), dim=-1)
    logits = 7.0 * images @ texts.T
    expected = (F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))) / 2
    tokens = torch.arange(5)[:, None].repeat(1, 3)
    assert paired_divergence(images, texts, tokens, torch.tensor(7.0)).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_images_of_one_caption_are_all_positives() -> None:
    latents = torch.eye(4)[[0, 0, 1, 2]]
    repeated = torch.tensor([[5], [5], [6], [7]])
    assert paired_divergence(latents, latents, repeated, torch.tensor(60.0)).item() == pytest.approx(0.0, abs=1e-6)
    distinct = torch.tensor([[5], [8], [6], [7]])
    # the first two captions cannot be told apart: two of four rows are off by log 2
    assert paired_divergence(latents, latents, distinct, torch.tensor(60.0)).item() == pytest.approx(
        0.5 * 0.6931, abs=1e-4
    )


def test_contrastive_loss_is_the_divergence_of_its_own_latents(clip: Clip, tokenizer: object) -> None:
    rgb, tokens = torch.rand(3, 3, 16, 16, generator=_generator()), tokenize(tokenizer, CAPTIONS)
    scale = clip.network.logit_scale.exp()
    expected = paired_divergence(encode_images(clip, rgb), encode_texts(clip, tokenizer, CAPTIONS), tokens, scale)
    assert contrastive_loss(clip, rgb, tokens).item() == pytest.approx(expected.item(), rel=1e-5)


def test_it_learns_which_colour_a_caption_names(tokenizer: object) -> None:
    clip = build_clip(TINY, _generator())
    captions = ["a red shirt", "a green shirt", "a blue shirt"]
    rgb = torch.eye(3)[:, :, None, None].expand(3, 3, 16, 16).repeat_interleave(2, 0)
    tokens = tokenize(tokenizer, [c for c in captions for _ in range(2)])
    optimizer = torch.optim.AdamW(clip.parameters(), 3e-3)
    generator = _generator(4)
    losses = []
    for _ in range(40):
        loss = training_loss(clip, rgb, tokens, generator)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    similarity = encode_images(clip.eval(), rgb[::2]) @ encode_texts(clip, tokenizer, captions).T
    assert similarity.argmax(-1).tolist() == [0, 1, 2]


@pytest.mark.seconds
def test_latents_learn_to_draw_who_is_seen_whichever_way_round(tokenizer: object) -> None:
    clip = build_clip(TINY, _generator())
    frontal = torch.rand(6, 3, 4, 4, generator=_generator(2))
    rgb = F.interpolate(frontal, (16, 16))
    tokens = tokenize(tokenizer, ["a red shirt"] * 6)
    with pytest.raises(ValueError, match="this clip has none"):
        training_loss(clip, rgb, tokens, _generator(), frontal)
    clip.add_picture(frontal.mean(0), _generator(1))
    once, twice = (training_loss(clip, rgb, tokens, _generator(3), frontal, weight) for weight in (1.0, 2.0))
    torch.testing.assert_close(twice["loss"] - once["loss"], once["picture"])
    optimizer = torch.optim.AdamW(clip.parameters(), 3e-3)
    generator = _generator(4)
    losses = []
    for _ in range(150):
        parts = training_loss(clip, rgb, tokens, generator, frontal, 2.0)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(parts["picture"].item())
    assert 0.95 < losses[0] < 1.6 and sum(losses[-20:]) / 20 < 0.9, "1 is what their mean leaves unexplained"


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = (build_clip(TINY, _generator(seed)).state_dict() for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_vision_maps_keep_the_picture_upright(clip: Clip) -> None:
    maps = clip.vision_maps(torch.rand(2, 3, 16, 16, generator=_generator()))
    assert [tuple(m.shape) for m in maps] == [(2, 32, 4, 4)] * 2
    hidden = clip.network.vision_model(
        clip.preprocess(torch.rand(2, 3, 16, 16, generator=_generator())), output_hidden_states=True
    ).hidden_states
    assert torch.equal(maps[0][1, :, 2, 3], hidden[1][1, 1 + 2 * 4 + 3])


def test_saved_clip_comes_back_and_damage_is_refused(clip: Clip, tokenizer: object, tmp_path: Path) -> None:
    sha256 = save_clip(clip, tokenizer, TINY, tmp_path)
    loaded, loaded_tokenizer, settings = load_clip(tmp_path)
    assert settings == TINY and not loaded.training
    assert encoder_sha256(loaded, loaded_tokenizer) == sha256
    rgb = torch.rand(2, 3, 16, 16, generator=_generator())
    assert torch.equal(encode_images(loaded, rgb), encode_images(clip.eval(), rgb))
    assert torch.equal(encode_texts(loaded, loaded_tokenizer, CAPTIONS), encode_texts(clip, tokenizer, CAPTIONS))
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}

    record = json.loads((tmp_path / "clip.json").read_text())
    (tmp_path / "clip.json").write_text(json.dumps({**record, "encoder_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="hashes to"):
        load_clip(tmp_path)
    (tmp_path / "clip.safetensors").unlink()
    with pytest.raises(ValueError, match="no complete CLIP"):
        load_clip(tmp_path)


def test_hash_depends_on_weights_and_tokenizer(clip: Clip, tokenizer: object) -> None:
    before = encoder_sha256(clip, tokenizer)
    assert encoder_sha256(build_clip(TINY, _generator()), build_tokenizer(TINY, CAPTIONS)) == before
    assert encoder_sha256(clip, build_tokenizer(TINY, ["something else"])) != before
    with torch.no_grad():
        clip.network.logit_scale += 1e-3
    assert encoder_sha256(clip, tokenizer) != before


def test_pretrained_folder_is_read(clip: Clip, tokenizer: object, tmp_path: Path) -> None:
    clip.network.save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))  # type: ignore[attr-defined]
    settings = ClipSettings(pretrained=str(tmp_path))
    read, read_tokenizer = build_clip(settings, _generator(9)), build_tokenizer(settings, [])
    assert read.image_size == 16 and read.max_tokens == 16
    assert encoder_sha256(read, read_tokenizer) == encoder_sha256(clip, tokenizer)
    save_clip(read, read_tokenizer, settings, tmp_path / "saved")
    assert load_clip(tmp_path / "saved")[2].pretrained == str(tmp_path)


def test_missing_pretrained_is_a_value_error(tmp_path: Path) -> None:
    settings = ClipSettings(pretrained=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"no pretrained CLIP under .*nowhere.*model\.safetensors"):
        build_clip(settings, _generator())
    with pytest.raises(ValueError, match="no pretrained CLIP"):
        build_tokenizer(settings, [])


def test_weights_in_half_precision_come_back_as_what_was_hashed(tmp_path: Path, tokenizer: object) -> None:
    clip = build_clip(TINY, _generator())
    before = {name: weight.clone() for name, weight in clip.state_dict().items()}
    sha256 = save_clip(clip, tokenizer, TINY, tmp_path / "half", half=True)
    save_clip(clip, tokenizer, TINY, tmp_path / "whole")
    sizes = [(tmp_path / name / "clip.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    back, tokenizer_back, settings = load_clip(tmp_path / "half")
    assert settings == TINY and encoder_sha256(back, tokenizer_back) == sha256
    for name, weight in back.state_dict().items():
        assert weight.dtype == torch.float32 and weight.equal(
            before[name].half().float() if weight.numel() >= KEPT_BELOW else before[name]
        ), name
