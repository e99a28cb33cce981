"""Latents that are moved until they show what a text or an edit tells."""

from dataclasses import replace

import pytest
import torch

from pipeline.run.model_folder import ModelFolder
from pipeline.stages.sampling.load import load_sampler
from rodin_models.image.clip import encode_texts
from rodin_models.image.looks import LooksSettings

pytestmark = pytest.mark.seconds
CPU = torch.device("cpu")


@pytest.fixture
def sampler(made):
    """The shared run's models, whose encoder tells stripes from a person, and sees them in the first coordinate."""
    sampler = load_sampler(ModelFolder.of_run(made.run), CPU)
    plain, striped = (text(sampler, words)[0] for words in ("a person", "a person wearing stripes"))
    sampler.clip.add_looks(LooksSettings((2, 2)))
    looks = sampler.clip.looks
    way = 20 * (striped - plain) / (striped - plain).norm() ** 2
    looks.text_weight[:, 1] = way
    looks.text_bias[1] = -way @ (plain + striped) / 2
    looks.named_weight[:, 0] = way
    looks.named_bias[0] = looks.text_bias[1]
    looks.latent_weight[0, 1] = 20.0
    looks.worth[1, 0] = 0.5
    return sampler


def text(sampler, words):
    return encode_texts(sampler.clip, sampler.tokenizer, [words])


def with_rounds(sampler, rounds):
    generate = sampler.sampling.generate.model_copy(update={"looks_rounds": rounds})
    return replace(sampler, sampling=sampler.sampling.model_copy(update={"generate": generate}))


def test_latents_for_a_text_show_what_it_tells_and_those_from_noise_are_let_be(sampler):
    told = text(sampler, "a person wearing stripes")

    def drawn(rounds, words):
        return with_rounds(sampler, rounds).latents(4, words, torch.Generator().manual_seed(1))

    before, after = drawn(0, told), drawn(20, told)
    shown = sampler.clip.looks.of_latents(after)
    assert (shown[:, 1] > 0.9).all() and shown[:, 2:].equal(torch.full((4, 2), 0.5)), "and of the other look nothing"
    assert after[:, 1:].equal(before[:, 1:])
    assert drawn(0, None).equal(drawn(20, None))


def test_edits_go_by_looks_where_they_are_known(sampler):
    latents = torch.randn(3, len(sampler.clip.likeness.spread), generator=torch.Generator().manual_seed(2))
    latents[:, 0] = -1
    assert (sampler.clip.looks.of_latents(latents)[:, 0] > 0.9).all()
    edited, by_words = (with_rounds(sampler, rounds).edited(latents, "wearing stripes") for rounds in (20, 0))
    assert (sampler.clip.looks.of_latents(edited)[:, 1] > 0.9).all() and edited[:, 1:].equal(latents[:, 1:])
    sampler.clip.looks = None
    assert by_words.equal(sampler.edited(latents, "wearing stripes"))
