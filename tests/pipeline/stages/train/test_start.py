"""A run that starts from given models: what is taken as it is, what goes on, and what is refused."""

import csv
import shutil

import numpy as np
import pytest
import torch
from support.commands import rodin_refuses
from support.tiny import arguments, tiny_config, tree_hashes

from pipeline.commands.export.models import export_models
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.people.sentence_bank import EACH, PAIRS
from pipeline.run import model_folder
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.model_folder import ModelFolder
from pipeline.run.start import started_from, with_start
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.fit.start import fit_starts
from pipeline.stages.latents import load_latents, load_run_clip
from pipeline.stages.train.recipes import clip as clip_recipe
from pipeline.stages.train.recipes import make_recipe
from pipeline.stages.train.start import take_up
from rodin_models.checkpoint import load_state
from rodin_models.diffusion.linear import LinearModel
from rodin_models.image.clip_file import encoder_sha256
from rodin_models.image.refiner import Refiner

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")
CONTINUED = ("base", "upsampler", "latent", "frontal", "head", "refiner")
STILL = tuple(f"{name}.{setting}" for name in CONTINUED for setting in ("learning_rate=1e-12", "weight_decay=0.0"))
"""Settings with which training changes nothing to speak of."""


@pytest.fixture(scope="module")
def given(made, tmp_path_factory):
    """The weights of the shared run, on their own."""
    folder = tmp_path_factory.mktemp("given") / "models"
    export_models(made.run, folder)
    return folder


def starting(made, root, given, *settings):
    """The shared run's renders in a run that starts from given weights; nothing else is done."""
    config = with_start(tiny_config(made.config.render.python, f"train.start_from={given}", *settings))
    root.mkdir()
    for name in ("renders", "ledger/render"):
        shutil.copytree(made.layout.root / name, root / name)
    return type(made)(type(made.layout)(root), config)


@pytest.fixture(scope="module")
def started(made, given, tmp_path_factory):
    run = starting(made, tmp_path_factory.mktemp("started") / "run", given, *STILL)
    run.make_models()
    return run


def tree(root, name):
    return load_state(root / "models" / name / "weights")


def test_the_decoder_is_taken_as_it_is_and_nothing_is_fitted(started, given):
    theirs, ours = load_state(given / "decoder"), load_state(started.layout.decoder)
    assert theirs["settings"] == ours["settings"] and theirs["mean_planes"].equal(ours["mean_planes"])
    assert all(ours["decoder"][name].equal(weight) for name, weight in theirs["decoder"].items())
    report = started.run.decoder_report()
    assert report.avatars == () and report.steps == 0 and report.psnr_db is None
    assert {fits.decoder_sha256 for fits in started.run.fit_reports().values()} == {report.decoder_sha256}


def test_clip_is_taken_as_it_is_and_encodes(started, given):
    clip, tokenizer = load_run_clip(type(started.layout)(given), CPU)
    sha256 = encoder_sha256(clip, tokenizer)
    report = started.run.stage_report("clip")
    assert report.notes["encoder_sha256"] == sha256 == load_latents(started.layout).encoder_sha256
    assert report.metrics["steps"] == 0
    assert clip.likeness is not None, "which would be fitted anew to texts of these avatars"


def test_a_locked_clip_reads_anew_and_sees_as_before(made, started, given, tmp_path):
    more = ("clip.lock_image=true", "clip.sentences=20", "latent.sentences=2", "latent.drawn_people=12")
    run = starting(made, tmp_path / "run", given, *more)
    run.train("clip")
    run.encode()
    run.train("latent")
    known, latents = load_latents(started.layout), load_latents(run.layout)
    assert latents.image.equal(known.image) and not torch.allclose(latents.text, known.text, atol=1e-4)
    assert run.run.stage_report("clip").metrics["steps"] == run.config.clip.steps
    assert run.run.stage_report("clip").notes["likeness"].startswith("looks explain ")
    assert latents.sentences.shape == (len(latents.avatars), 2, latents.text.shape[1])
    assert latents.drawn_people.text.shape[0] == len(latents.drawn_people.drawn) == 12
    assert latents.drawn_people.looks.shape == (len(latents.avatars), latents.drawn_people.drawn.shape[1])
    recipe = make_recipe("latent", run.run, CPU)
    places = recipe.draw(np.random.default_rng(0), 10)
    drawn = places[:, 0] >= len(recipe.image) + len(recipe.held_out)
    assert drawn.sum() == 7 and len(recipe.load(places)["image"]) == 10
    batch = recipe.load(places)
    assert batch["image"].shape[1:] == latents.image.shape[1:] and batch["text"].shape[1:] == latents.text.shape[1:]
    person, sentence, other = places[drawn][0] - (len(recipe.image) + len(recipe.held_out), 0, 0)
    assert batch["image"][3].equal(recipe.drawn.expected[person] + recipe.drawn.left[other])
    assert batch["text"][3].equal(latents.drawn_people.text[person, sentence])
    given_statistics = tree(given, "latent")["model"]["condition.statistics.mean"]
    assert not torch.allclose(tree(run.layout.root, "latent")["model"]["condition.statistics.mean"], given_statistics)


def test_sentences_move_likenesses_as_looks_do(made, given, tmp_path, monkeypatch):
    """Text latents that say each look outright: they are read, and latents are moved by what looks are worth."""
    run = starting(made, tmp_path / "run", given, "clip.lock_image=true", "clip.sentences=40")
    recipe = make_recipe("clip", run.run, CPU)
    clip = recipe.build(torch.Generator())
    by_text = {text: recipe.bank.people[number // EACH] for number, text in enumerate(recipe.bank.texts)}
    answers = torch.from_numpy(recipe.bank.answers())
    mixed = torch.randn((recipe.bank.looks(recipe.bank.people[:1]).shape[1], clip.dim), generator=torch.Generator())

    def said(clip, tokenizer, texts):
        return torch.from_numpy(recipe.bank.looks(by_text[text] for text in texts)) @ mixed

    monkeypatch.setattr(clip_recipe, "encode_texts", said)
    notes = recipe._fit_text(clip)
    assert "looks explain" in notes["likeness"]
    sizes = clip.looks.settings.sizes
    assert sizes == tuple(map(len, recipe.bank.words.values()))
    names = list(recipe.bank.words)
    pairs = [
        (names[first], names[second]) for first, second in zip(*2 * [iter(clip.looks.settings.pairs)], strict=True)
    ]
    assert pairs == list(PAIRS)
    read = clip.looks.of_texts(said(clip, None, recipe.bank.texts[::EACH])).split(sizes, 1)
    beard = answers[:, names.index("beard")]
    assert (read[names.index("beard")].argmax(1) == beard).float().mean() > 0.9
    # With likenesses that are fitted to sentences alone, looks are not known.
    assert load_run_clip(ModelFolder.of_run(made.run).layout, CPU)[0].looks is None


@pytest.mark.parametrize("name", CONTINUED)
def test_the_others_go_on_from_the_given_weights(started, given, name):
    theirs, ours = tree(given, name)["model"], tree(started.layout.root, name)["model"]
    assert list(theirs) == list(ours)
    for key, weight in theirs.items():
        assert torch.allclose(ours[key], weight, atol=1e-6), key
    assert started.run.stage_report(name).metrics["steps"] == getattr(started.config, name).steps


def test_eigen_planes_are_taken_with_the_base_model(started, given):
    theirs, ours = tree(given, "base")["linear"], tree(started.layout.root, "base")["linear"]
    assert all(ours["model"][key].equal(value) for key, value in theirs["model"].items())
    assert "taken as they were" in started.run.stage_report("base").notes["linear"]
    recipe = make_recipe("base", started.run, CPU)
    assert recipe.linear.unseen.shape == (recipe.data.rows, theirs["settings"]["components"])
    predicted = recipe.linear.model.eigen.planes(recipe.linear.unseen)
    assert torch.allclose(predicted, recipe.linear.model.predict(recipe.data.latents), atol=1e-5)


def test_a_training_that_goes_on_moves_away(made, started, given, tmp_path):
    shutil.copytree(started.layout.root, tmp_path / "run")
    config = with_start(tiny_config(made.config.render.python, f"train.start_from={given}"))
    run = type(made)(type(made.layout)(tmp_path / "run"), config)
    shutil.rmtree(run.layout.ledger("latent", "latent").parent)
    run.train("latent")
    theirs, ours = tree(given, "latent")["model"], tree(run.layout.root, "latent")["model"]
    assert any(not torch.allclose(ours[key], weight, atol=1e-6) for key, weight in theirs.items())
    scratch = tree(made.layout.root, "latent")["model"]
    assert any(not torch.allclose(ours[key], weight, atol=1e-4) for key, weight in scratch.items())


@pytest.mark.parametrize("name", ["latent", "upsampler"])
def test_going_on_keeps_weights_of_which_the_held_out_loss_is_no_higher(made, started, given, tmp_path, name):
    shutil.copytree(started.layout.root, tmp_path / "run")
    bad = (f"{name}.learning_rate=3.0", f"{name}.held_out_every=1", f"{name}.keep=best")
    config = with_start(tiny_config(made.config.render.python, f"train.start_from={given}", *bad))
    run = type(made)(type(made.layout)(tmp_path / "run"), config)
    shutil.rmtree(run.layout.ledger(name, name).parent)
    run.train(name)
    with (run.layout.model(name) / "held_out.csv").open() as file:
        losses = [float(row["held_out"]) for row in csv.DictReader(file)]
    assert max(losses) > losses[0], "the training would have harmed"
    assert run.run.stage_report(name).metrics["held_out"] == pytest.approx(min(losses))
    theirs, ours = tree(given, name)["model"], tree(run.layout.root, name)["model"]
    if min(losses) == losses[0]:
        assert all(ours[key].equal(weight) for key, weight in theirs.items())


def test_a_run_is_something_to_start_from_too(made, tmp_path):
    source = made.copy_to(tmp_path / "source")
    source.layout.config.write_text(source.config.to_toml())
    config = with_start(tiny_config(made.config.render.python, f"train.start_from={source.layout.root}"))
    model = make_recipe("latent", made.run, CPU).build(torch.Generator().manual_seed(9))
    take_up(config, "latent", model)
    assert all(model.state_dict()[key].equal(value) for key, value in tree(made.layout.root, "latent")["model"].items())
    shutil.rmtree(source.layout.root / "ledger" / "refiner")
    with pytest.raises(DataError, match=r"train\.start_from .* holds no refiner: run rodin-pipe train refiner"):
        with_start(tiny_config("blender", f"train.start_from={source.layout.root}"))


def test_a_refiners_judge_begins_anew(given, made):
    config = with_start(tiny_config("blender", f"train.start_from={given}"))
    settings = make_recipe("refiner", made.run, CPU).settings
    judged = Refiner(type(settings)(**{**vars(settings), "adversarial_weight": 0.1}), torch.Generator().manual_seed(3))
    before = {name: weight.clone() for name, weight in judged.state_dict().items()}
    take_up(config, "refiner", judged)
    for name, weight in judged.state_dict().items():
        assert weight.equal(
            before[name] if name.startswith("discriminator.") else tree(given, "refiner")["model"][name]
        )


def test_weights_of_another_shape_are_refused_where_nothing_else_saw_it(given, made):
    config = with_start(tiny_config("blender", f"train.start_from={given}"))
    other = make_recipe("upsampler", made.run, CPU).build(torch.Generator())
    with pytest.raises(DataError, match="model latent cannot go on from that of"):
        take_up(config, "latent", other)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("planes.channels=8", "planes.channels is 8, and theirs is 4"),
        ("planes.resolution=32", "planes.resolution is 32, and theirs is 16"),
        ("decoder.hidden=32", "decoder.hidden is 32, and theirs is 16"),
        ("clip.latent_dim=16", "clip.latent_dim is 16, and theirs is 8"),
        ("base.unet.multipliers=[1]", r"base.unet.multipliers is \[1\], and theirs is \[1, 2\]"),
        ("refiner.scale=1", "refiner.scale is 1, and theirs is 2"),
        ("render.extent_m=0.5", "render.extent_m is 0.5, and theirs is 0.25"),
    ],
)
def test_sizes_that_contradict_are_named_before_any_work(given, setting, words):
    with pytest.raises(ConfigError, match=rf"train\.start_from .*: {words}; set {setting.partition('=')[0]} to theirs"):
        with_start(tiny_config("blender", f"train.start_from={given}", setting))


def test_the_command_refuses_before_anything_is_written(made, given, tmp_path):
    def refused(*more):
        return rodin_refuses("run", "--out", tmp_path / "run", *arguments(made.config.render.python, *more))

    assert "base.unet.width is 16" in refused(f"train.start_from={given}", "base.unet.width=16")
    assert "holds no models" in refused(f"train.start_from={tmp_path / 'nowhere'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_folder, "released_folder", lambda: tmp_path / "nothing")
        assert "this installation has no released weights" in refused("train.start_from=released")
    assert not (tmp_path / "run").exists()


def test_what_a_run_started_from_is_in_the_fingerprints_of_what_takes_it_up(given):
    plain, config = tiny_config("blender"), with_start(tiny_config("blender", f"train.start_from={given}"))
    before, after = stage_fingerprints(plain), stage_fingerprints(config)
    same = {stage for stage in before if before[stage] == after[stage]}
    assert same == {"render", "own"}
    assert with_start(plain) == plain and stage_fingerprints(with_start(plain)) == before
    moved = config.model_copy(update={"train": config.train.model_copy(update={"start_from": "/elsewhere"})})
    assert stage_fingerprints(moved) == after, "the content counts, and not where it lies"


def test_a_run_keeps_what_it_started_from_when_other_weights_come(made, given, tmp_path, monkeypatch):
    place = tmp_path / "released"
    shutil.copytree(given, place)
    monkeypatch.setattr(model_folder, "released_folder", lambda: place)
    first = with_start(tiny_config("blender", "train.start_from=released"))
    assert started_from(first) is not None and first.train.start_from == "released"
    run = made.copy_to(tmp_path / "run", "base", settings=("base.learning_rate=5e-4",))
    run.train("base")
    export_models(run.run, place)
    again = with_start(tiny_config("blender", "train.start_from=released"), first)
    assert again == first, "what is done stays current"
    with pytest.raises(DataError, match=r"is not what it was when the run began; .* --set train\.start_from=released"):
        started_from(again)
    told = with_start(tiny_config("blender", "train.start_from=released"))
    assert told.train.start_from_sha256 != first.train.start_from_sha256 and started_from(told) is not None
    shutil.rmtree(place)
    assert with_start(tiny_config("blender", "train.start_from=released"), first) == first


def test_a_start_is_no_part_of_a_run_that_begins_from_nothing(made):
    assert made.config.train.start_from == "" and started_from(made.config) is None
    assert made.run.decoder_report().steps > 0
    assert tree_hashes(made.layout.decoder)


def test_fits_can_start_from_what_is_predicted_of_their_frontal_picture(made, started, given, tmp_path, monkeypatch):
    shutil.copytree(started.layout.root, tmp_path / "run")
    predicted = ("fit.start=predicted", f"train.start_from={given}")
    config = with_start(tiny_config(made.config.render.python, *STILL, *predicted))
    run = type(made)(type(made.layout)(tmp_path / "run"), config)
    before, after = stage_fingerprints(started.config), stage_fingerprints(config)
    assert before["decoder"] == after["decoder"] and before["own"] == after["own"] and before["fit"] != after["fit"]
    _, mean = load_decoder(run.layout, CPU)
    starts, latents = fit_starts(run.run, mean, CPU), load_latents(started.layout)
    linear = LinearModel.from_tree(tree(given, "base")["linear"])
    for avatar in (0, 3):
        (row,) = latents.rows((avatar,)).tolist()
        (expected,) = linear.full_planes(latents.image[row][None], mean)
        assert torch.allclose(starts(avatar), expected, atol=1e-4) and not torch.allclose(expected, mean, atol=1e-3)
    assert fit_starts(started.run, mean, CPU)(3) is mean
    shutil.rmtree(run.layout.ledger("fit", "shard-00000").parent)
    fits = run.fit(0).fits
    theirs = {fit.avatar: fit for fit in started.run.fit_reports()[0].fits}
    assert fits and all(fit.planes_sha256 != theirs[fit.avatar].planes_sha256 for fit in fits)
    monkeypatch.setattr("pipeline.stages.fit.start.model_tree", lambda models, name: {})
    with pytest.raises(DataError, match=r"fit\.start is predicted, and the base model of .* stands on no linear one"):
        fit_starts(run.run, mean, CPU)
