"""Avatars from noise whose latents are drawn for captions of the training."""

from dataclasses import replace

import pytest
import torch

from pipeline.contracts.errors import ConfigError
from pipeline.run.model_folder import ModelFolder
from pipeline.stages.latents import load_latents
from pipeline.stages.sampling.load import load_sampler
from pipeline.stages.train.recipe import learnable
from rodin_models.checkpoint import load_state, save_state
from rodin_models.diffusion import latent

pytestmark = pytest.mark.seconds
CPU = torch.device("cpu")
NUM = 3


def folder(run, guidance, spread=1.0):
    models = ModelFolder.of_run(run.run)
    generate = models.sampling.generate.model_copy(update={"caption_guidance": guidance, "latent_spread": spread})
    return replace(models, sampling=models.sampling.model_copy(update={"generate": generate}))


def drawn(sampler, text=None):
    return sampler.latents(NUM, text, torch.Generator().manual_seed(4))


def test_the_latent_model_keeps_the_captions_of_those_it_learned_from(made):
    kept = load_state(made.layout.model("latent") / "weights")["captions"]
    latents = load_latents(made.layout)
    learned = learnable(made.config, made.run.render_sources())
    assert torch.equal(kept, latents.text[latents.rows(learned)]) and len(learned) < len(latents.avatars)


def test_without_guidance_no_caption_is_drawn(made):
    sampler = load_sampler(folder(made, 0.0), CPU)
    assert torch.equal(drawn(sampler), drawn(replace(sampler, captions=None)))


def test_each_avatar_is_drawn_for_a_caption_by_lot(made):
    sampler = load_sampler(folder(made, 2.5), CPU)
    generator = torch.Generator().manual_seed(4)
    chosen = torch.randint(len(sampler.captions), (NUM,), generator=generator)
    wanted = latent.sample(
        sampler.latent,
        sampler.captions[chosen],
        num_samples=NUM,
        num_steps=sampler.sampling.generate.latent_steps,
        guidance=2.5,
        generator=generator,
    )
    assert len(set(chosen.tolist())) > 1
    assert sampler.clip.likeness is not None  # whose latents are of any length
    torch.testing.assert_close(drawn(sampler), wanted)
    # A text goes before: no lot is drawn.
    text = sampler.captions[:1]
    assert torch.equal(drawn(sampler, text), drawn(replace(sampler, captions=None), text))


def test_the_spread_is_a_factor_on_what_differs_from_the_mean(made):
    near, far = (drawn(load_sampler(folder(made, 2.0, spread), CPU)) for spread in (1.0, 1.5))
    mean = load_sampler(folder(made, 2.0), CPU).latent.statistics.mean
    torch.testing.assert_close(far - mean, 1.5 * (near - mean))


def test_models_that_kept_none_are_refused_where_captions_are_asked_for(made, tmp_path):
    run = made.copy_to(tmp_path / "run")
    weights = run.layout.model("latent") / "weights"
    tree = load_state(weights)
    del tree["captions"]
    save_state(weights, tree)
    load_sampler(folder(run, 0.0), CPU)
    with pytest.raises(
        ConfigError, match=r"generate\.caption_guidance is 2, but the latent model .* kept no captions: .*redo latent"
    ):
        load_sampler(folder(run, 2.0), CPU)
