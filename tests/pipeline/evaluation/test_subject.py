import shutil
from dataclasses import replace

import pytest
import torch

from pipeline.contracts.errors import DataError
from pipeline.evaluation.baselines import Baselines
from pipeline.evaluation.kept import Kept
from pipeline.evaluation.subject import Tally
from pipeline.run.run import Run
from rodin_models.diffusion.upsampler import enlarge

pytestmark = pytest.mark.seconds


def tally():
    return Tally(lambda done, total: None, 1)


def test_people_are_told_apart(subject):
    assert (subject.training, subject.held_out) == ((0, 1, 3, 4), (2, 5))
    renders = subject.renders(2)
    assert renders.shape == (3, 3, 16, 16) and renders.min() >= 0 and renders.max() <= 1
    assert [sample.record.split for sample in subject.photographs(2)] == ["frontal", "held_out", "held_out"]


def test_pictures_are_kept_and_read_again(tmp_path):
    kept = Kept(tmp_path)
    pictures = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    first = kept.pictures("noise/000001", lambda: pictures)
    assert (first - pictures).abs().max() <= 0.5 / 255 + 1e-6
    assert kept.has("noise/000001") and not kept.has("noise/000001", "noise/000002")
    assert kept.pictures("noise/000001", lambda: pytest.fail("made again")).equal(first)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        kept.read("bad")


def test_a_sample_that_was_lost_is_made_again_as_it_was(subject):
    first = subject.from_noise(3, tally())
    (path,) = (subject.generated.folder / "noise").glob("000001-*-3.png")
    before = path.read_bytes()
    path.unlink()
    again = subject.from_noise(3, tally())
    assert path.read_bytes() == before
    for (plain, refined), (other, others) in zip(first, again, strict=True):
        assert plain.equal(other) and refined.equal(others)


def test_what_was_made_of_another_latent_is_not_taken_for_this_one(subject):
    latents, kept = subject.latents((0, 1)), subject.generated.folder / "swapped"
    made = []
    for rows in (latents, latents.flip(0), latents):
        subject.samples_of("swapped", rows, lambda row: (subject.frontal_camera(),), tally(), refined=False)
        made.append(len(list(kept.glob("*.png"))))
    assert made == [2, 4, 4]


def test_samples_seen_from_the_front_alone_are_seen_from_all_sides_where_there_are_more_people_to_compare(subject):
    few = subject.from_noise(3, tally())
    assert [len(plain) for plain, _ in few] == [3, 3, 1], "two people are held out"
    more = replace(subject)
    more.__dict__["held_out"] = (2, 5, 4)
    many = more.from_noise(3, tally())
    assert [len(plain) for plain, _ in many] == [3, 3, 3]
    assert many[2][0][0].equal(few[2][0][0]) and many[1][0].equal(few[1][0])


def test_ridge_regression_without_eigen_planes_equals_the_linear_model(subject):
    baselines = Baselines.of(subject)
    latents = subject.latents(subject.held_out)
    # Of four avatars there are three eigen-planes: all of them.
    expected = enlarge(baselines.linear.model.predict(latents), subject.store.spec.resolution).clamp(-1, 1)
    assert baselines.ridge_base(latents).allclose(expected, atol=1e-3)
    assert baselines.ridge_full(latents).shape == expected.shape
    mean = torch.stack([subject.planes(avatar) for avatar in subject.training]).mean(0)
    assert baselines.mean_planes().allclose(mean, atol=1e-5)


def test_the_nearest_training_avatar_of_one_is_itself(subject):
    assert Baselines.of(subject).nearest(subject.latents((3, 0))) == [3, 0]


def test_a_run_without_fits_has_photographs_and_one_without_them_is_told_so(subject, tmp_path, evaluated):
    bare = evaluated.copy_to(tmp_path / "run", "fit", settings=("render.held_out_every=3",))
    photographed = type(subject)(Run(bare.layout, bare.config), subject.sampler, "", 4, lambda done, total: None)
    assert not photographed.is_fitted and subject.is_fitted
    assert (photographed.training, photographed.held_out) == (subject.training, subject.held_out)
    shutil.rmtree(bare.layout.root / "ledger" / "render")
    nothing = type(subject)(Run(bare.layout, bare.config), subject.sampler, "", 4, lambda done, total: None)
    with pytest.raises(DataError, match="0 rendered avatars to compare with"):
        _ = nothing.training


def test_base_planes_are_fitted_to_photographs_and_edits_move_them(subject):
    sampler, people = subject.sampler, subject.held_out
    fitted = subject.fitted_to((people[1], people[0], people[1]))
    assert fitted[0].equal(fitted[2]) and not fitted[0].equal(fitted[1])
    latents = subject.latents(people)
    away = fitted[:2] - sampler.linear.predict(latents.flip(0))
    assert away.abs().max() > 1e-3, "the picture says more than its latent"
    assert sampler.moved(fitted[:2], latents, latents).allclose(fitted[:2], atol=1e-5)
    moved = sampler.moved(fitted[:2], latents, latents.flip(0)) - fitted[:2]
    assert moved.allclose(sampler.linear.predict(latents.flip(0)) - sampler.linear.predict(latents), atol=1e-5)


def test_without_steps_portraits_are_their_latents_alone(subject):
    sampling = subject.sampler.sampling
    none = sampling.model_copy(update={"generate": sampling.generate.model_copy(update={"portrait_steps": 0})})
    plain = replace(subject, sampler=replace(subject.sampler, sampling=none))
    assert plain.fitted_to(plain.held_out) is None
