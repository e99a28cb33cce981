import csv
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny import HELD_OUT, tiny_config, tree_hashes
from torch.utils.checkpoint import checkpoint

from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import format_avatar, format_shard
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.rendering import RenderReport
from pipeline.io.avatar_folder import avatar_sha256, publish_avatar_folder
from pipeline.io.ledger import read_ledger, write_ledger
from pipeline.io.plane_store import PlaneStore
from pipeline.io.shards import extract_avatars, write_shard
from pipeline.run.run import Run
from pipeline.stages.latents import load_latents, load_run_clip
from pipeline.stages.train.recipe import draw_rows, learnable
from pipeline.stages.train.recipes import make_recipe
from rodin_models.checkpoint import load_state, save_state, settings_from_dict
from rodin_models.diffusion import unet
from rodin_models.diffusion.linear import LinearModel
from rodin_models.field.rays import pixel_rays
from rodin_models.field.triplane import mirrored
from rodin_models.image.refiner import Refiner, RefinerSettings

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")
MODELS = ("clip", "base", "upsampler", "latent", "refiner")


class Stop(Exception):
    """What a test ends a stage with."""


def weights(run, name):
    return tree_hashes(run.layout.model(name) / "weights")


def losses(run, name):
    with (run.layout.model(name) / "loss.csv").open(newline="") as handle:
        return [(row["step"], row["loss"]) for row in csv.DictReader(handle)]


@pytest.mark.parametrize("name", MODELS)
def test_an_interrupted_training_ends_with_the_same_weights(made, tmp_path, name):
    run = made.copy_to(tmp_path / "run", name, settings=(f"{name}.checkpoint_every=1",))

    def stop(done, total):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        run.train(name, on_progress=stop)
    assert not (run.layout.model(name) / "weights").exists()
    steps = []
    report = run.train(name, on_progress=lambda done, total: steps.append(done))
    assert steps[0] == 2, "it went on after the first step's checkpoint"
    assert weights(run, name) == weights(made, name)
    assert losses(run, name) == losses(made, name)
    assert report.outputs == made.run.stage_report(name).outputs


def test_a_discriminator_is_trained_beside_the_refiner_and_goes_on_to_the_same_bytes(made, tmp_path):
    settings = ("refiner.adversarial_weight=0.1", "refiner.steps=4", "refiner.checkpoint_every=1")
    straight, stopped = (made.copy_to(tmp_path / name, "refiner", settings=settings) for name in ("one", "two"))
    straight.train("refiner")

    def stop(done, total):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        stopped.train("refiner", on_progress=stop)
    checkpoints = stopped.layout.model("refiner") / "checkpoints"
    first, second = (load_state(path)["model"] for path in sorted(checkpoints.iterdir()))
    judges = [name for name in first if name.startswith("discriminator.")]
    assert judges and all(not first[name].equal(second[name]) for name in judges if name.endswith("weight"))
    steps = []
    stopped.train("refiner", on_progress=lambda done, total: steps.append(done))
    assert steps == [3, 4]
    assert weights(stopped, "refiner") == weights(straight, "refiner")
    assert weights(straight, "refiner") != weights(made, "refiner")
    with (straight.layout.model("refiner") / "loss.csv").open(newline="") as handle:
        assert {"l1", "adversarial", "discriminator"} <= set(next(csv.DictReader(handle)))
    saved = load_state(straight.layout.model("refiner") / "weights")
    refiner = Refiner(settings_from_dict(RefinerSettings, saved["settings"]), torch.Generator())
    refiner.load_state_dict(saved["model"])
    assert refiner.discriminator is None, "what is published refines and judges no more"


@pytest.mark.parametrize("name", ["base", "upsampler"])
def test_blocks_that_are_computed_again_end_with_the_same_weights(made, tmp_path, monkeypatch, name):
    again = []
    monkeypatch.setattr(unet, "checkpoint", lambda *call, **more: again.append(call) or checkpoint(*call, **more))
    run = made.copy_to(tmp_path / "run", name, settings=(f"{name}.unet.recompute=true",))
    assert run.fingerprint(name) == made.fingerprint(name), "so that a training that fills its memory can go on"
    run.train(name)
    assert again
    assert weights(run, name) == weights(made, name)


@pytest.mark.parametrize("name", ["base", "upsampler", "latent"])
def test_settings_of_a_noise_process_reach_its_schedule_its_loss_and_its_sampler(made, name):
    def process(*settings):
        config = tiny_config(made.config.render.python, *(f"{name}.diffusion.{setting}" for setting in settings))
        return make_recipe(name, Run(made.layout, config), CPU).build(torch.Generator().manual_seed(0)).diffusion

    def sampled(diffusion):
        def halved(noisy, time):
            return noisy / 2

        return diffusion.sample(halved, (2, 3), 2, torch.Generator().manual_seed(0), CPU)

    plain, steps = process(), torch.arange(10)
    assert plain.abar[-1] > 0 and process("zero_terminal_snr=true").abar[-1] == 0
    assert plain.weight(steps).eq(1).all() and not process("min_snr=5.0").weight(steps).eq(1).all()
    assert not sampled(process("eta=1.0")).equal(sampled(plain))
    assert sampled(process()).equal(sampled(plain))


@pytest.mark.parametrize("name", MODELS)
def test_what_a_step_sees_depends_on_the_step_alone(made, name):
    recipe = make_recipe(name, Run(made.layout, made.config), CPU)

    def draw(step):
        return recipe.draw(generator_for(made.config.seed, step, f"{name} batch"), 4)

    first = [draw(step) for step in range(12)]
    assert all(np.array_equal(draw(step), first[step]) for step in reversed(range(12)))
    assert len({places.tobytes() for places in first}) > 1
    rows = np.concatenate([places.reshape(4, -1)[:, 0] for places in first])
    mirrored = made.config.train.mirror and name in ("base", "upsampler", "latent")
    assert set(rows) == set(range(len(recipe.avatars) * (1 + mirrored))), "every avatar is seen"
    batch = recipe.load(first[3])
    again = recipe.load(first[3])
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_patches_of_the_upsampler_can_be_compared_in_clips_layers(made):
    def losses(*settings):
        run = Run(made.layout, tiny_config(made.config.render.python, "upsampler.patch=16", *settings))
        recipe = make_recipe("upsampler", run, CPU)
        model = recipe.build(torch.Generator().manual_seed(0))
        batch = recipe.load(np.array([[0, 1, 5, 7], [1, 0, 3, 3]]))
        return recipe, model, recipe.loss(model, batch, torch.Generator().manual_seed(1))

    recipe, _, plain = losses()
    assert recipe.features is None and set(plain) == {"loss", "error", "image"}
    weight = 0.5
    recipe, model, compared = losses(f"upsampler.perceptual_weight={weight}")
    assert compared["image"] == plain["image"] and compared["perceptual"] > 0
    torch.testing.assert_close(compared["loss"], plain["loss"] + weight * compared["perceptual"])
    assert not any("features" in name or "vision" in name for name in model.state_dict())
    compared["loss"].backward()
    assert model.unet.last.weight.grad.any()
    _, _, alone = losses("upsampler.image_weight=0.0", f"upsampler.perceptual_weight={weight}")
    torch.testing.assert_close(alone["loss"], alone["error"] + weight * alone["perceptual"])


def test_a_mirrored_row_is_the_mirror_image_of_planes_photographs_and_latents(made, tmp_path):
    run = made.copy_to(tmp_path / "run", settings=("upsampler.patch=32",))
    recipe = make_recipe("upsampler", run.run, CPU)
    count = len(recipe.avatars)
    plain, mirror = (recipe.load(np.array([[row, 2, 0, 0]])) for row in (1, 1 + count))
    for level in ("planes", "low"):
        assert torch.equal(mirror[level], mirrored(plain[level])) and not torch.equal(mirror[level], plain[level])
    latents = load_latents(run.layout)
    assert torch.equal(mirror["latents"][0], latents.mirrored[latents.rows(recipe.avatars)[1]])
    assert torch.equal(mirror["patch"], plain["patch"].flip(-1)), "a patch as large as the picture is all of it"
    row, column = (grid.reshape(-1) for grid in torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij"))
    first = torch.zeros(32 * 32, dtype=torch.long)
    seen, reflected = (pixel_rays(of["cam2world"], of["intrinsics"], first, column, row) for of in (plain, mirror))
    there = torch.tensor([-1.0, 1.0, 1.0])
    opposite = (row * 32 + 31 - column).long()
    for name in ("origins", "directions"):
        torch.testing.assert_close(getattr(reflected, name), getattr(seen, name)[opposite] * there)


def test_the_base_model_stands_on_what_a_linear_fit_predicts_of_avatars_that_it_has_not_seen(made):
    recipe = make_recipe("base", made.run, CPU)
    rows = np.arange(recipe.data.rows)
    batch = recipe.load(rows)
    model = recipe.linear.model
    torch.testing.assert_close(model.eigen.mean, batch["planes"].mean(0), rtol=0, atol=1e-5)
    assert not torch.equal(batch["predicted"], model.predict(batch["latents"])), "it would have seen them"
    rest = (batch["planes"] - batch["predicted"]).square().mean(0).sqrt()
    torch.testing.assert_close(rest, model.residual, rtol=1e-3, atol=1e-5)
    saved = load_state(made.layout.model("base") / "weights")
    published = LinearModel.from_tree(saved["linear"])
    assert torch.equal(published.predict(batch["latents"]), model.predict(batch["latents"]))
    assert "eigen-planes" in made.run.stage_report("base").notes["linear"]


def test_mirrored_latents_that_are_not_there_are_named(made):
    latents = replace(load_latents(made.layout), mirrored=None)
    with pytest.raises(DataError, match=r"train.mirror.*--redo encode"):
        latents.to_learn((0, 1), mirror=True)


@pytest.mark.parametrize("name", MODELS)
def test_no_recipe_has_a_held_out_avatar(made, name):
    recipe = make_recipe(name, Run(made.layout, made.config), CPU)
    assert recipe.avatars == tuple(avatar for avatar in range(6) if avatar not in HELD_OUT)


def noise_png(seed, side):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(256, size=(side, side, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def overwrite_views(run, scratch, chosen):
    """Replace the pictures of the (avatar, view) that ``chosen`` picks by noise, in tars and ledgers."""
    for shard in run.shards():
        ledger = run.layout.ledger("render", format_shard(shard))
        report = read_ledger(ledger, RenderReport)
        hashes, folders = {}, []
        for avatar in extract_avatars(run.layout.shard(shard), report.done, scratch / f"{shard}"):
            folder = scratch / f"{shard}" / format_avatar(avatar.avatar)
            files = []
            for file in avatar.files:
                view, kind = int(file.name[9:12]), file.name[13:]
                poisoned = kind == "rgba.png" and chosen(avatar.avatar, view)
                data = noise_png(view, run.config.render.resolution) if poisoned else (folder / file.name).read_bytes()
                files.append((file.name, data))
            shutil.rmtree(folder)
            hashes[folder.name] = avatar_sha256(publish_avatar_folder(folder.parent, avatar.avatar, files, seconds={}))
            folders.append(folder)
        sha256, size = write_shard(run.layout.shard(shard), folders)
        write_ledger(ledger, report.model_copy(update=dict(tar_sha256=sha256, tar_bytes=size, avatar_sha256=hashes)))


def test_held_out_avatars_and_views_change_no_weight(made, tmp_path):
    # Noise in place of them: whatever read one of them would come out otherwise.
    # The loss on them is measured, which teaches nothing.
    measured = [f"{name}.held_out_every=2" for name in MODELS if name != "clip"]
    run = made.copy_to(tmp_path / "run", "decoder", "fit", "encode", *MODELS, settings=tuple(measured))
    render = run.config.render
    frontal = render.frontal_view

    def held_out(avatar, view):
        return avatar in HELD_OUT or render.train_views <= view < frontal

    overwrite_views(run, tmp_path / "scratch", held_out)
    run.make_models()
    assert tree_hashes(run.layout.decoder) == tree_hashes(made.layout.decoder)
    for name in MODELS:
        assert weights(run, name) == weights(made, name), name
    planes, true_planes = (tree_hashes(r.layout.planes / "planes") for r in (run, made))
    different = {key for key in planes if planes[key] != true_planes[key]}
    assert different == {f"c.{avatar}.0.0.0.0" for avatar in HELD_OUT}
    assert load_latents(run.layout).image[:5].equal(load_latents(made.layout).image[:5])
    assert not load_latents(run.layout).image[5].equal(load_latents(made.layout).image[5])


def test_a_training_view_changes_the_decoder(made, tmp_path):
    # That noise shows where it is read, without which the test above would prove nothing.
    run = made.copy_to(tmp_path / "run", "decoder")
    overwrite_views(run, tmp_path / "scratch", lambda avatar, view: (avatar, view) == (1, 2))
    run.fit_decoder()
    assert tree_hashes(run.layout.decoder) != tree_hashes(made.layout.decoder)


def test_latents_are_of_every_avatar_and_of_unit_length_where_they_are_contrastive(made, tmp_path):
    latents = load_latents(made.layout)
    assert latents.avatars == tuple(range(6))
    assert latents.image.shape == (6, made.config.clip.likeness) == latents.mirrored.shape
    contrastive = made.copy_to(tmp_path / "run", "clip", "encode", settings=("clip.likeness=0",))
    contrastive.train("clip")
    contrastive.encode()
    for values in (latents.text, load_latents(contrastive.layout).image):
        assert values.shape == (6, made.config.clip.latent_dim)
        assert torch.allclose(values.norm(dim=1), torch.ones(6), atol=1e-5)
    assert latents.image[latents.rows((4, 1))].equal(latents.image[[4, 1]])
    assert latents.encoder_sha256 == made.run.stage_report("clip").notes["encoder_sha256"]
    clip, _ = load_run_clip(made.layout, CPU)
    assert not clip.training


def test_current_stages_do_nothing(made):
    before = {path: path.stat().st_mtime_ns for path in made.layout.root.rglob("*")}
    made.encode()
    made.fit_decoder()
    made.fit(1)
    assert {path: path.stat().st_mtime_ns for path in made.layout.root.rglob("*")} == before


def test_a_loss_that_is_no_number_ends_the_training_in_one_line(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "base", settings=("base.learning_rate=1e30", "base.warmup_steps=0"))
    with pytest.raises(
        DataError, match=r"stage base: the gradient of step \d+ is not finite; lower base\.learning_rate"
    ):
        run.train("base")
    assert not (run.layout.model("base") / "weights").exists() and run.run.stage_report("base") is None


def test_a_batch_that_workers_cannot_share(made):
    with pytest.raises(ConfigError, match=r"base\.batch 2 is no multiple of train\.workers 3"):
        made.train("base", world_size=3)


def test_too_few_to_learn_from(made):
    assert learnable(made.config, {0: "", 3: "", 5: ""}) == (0, 3)
    with pytest.raises(DataError, match="1 avatars that are not held out"):
        learnable(made.config, {0: "", 5: ""})


def test_planes_that_were_never_fitted_or_encoded_are_nothing_to_learn_from(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "base", "fit")
    with pytest.raises(DataError, match="0 avatars that are not held out are there to learn from"):
        run.train("base")
    run = made.copy_to(tmp_path / "other", "base")
    save_state(run.layout.latents, load_state(run.layout.latents) | {"avatars": [7, 8, 9, 10, 11, 12]})
    with pytest.raises(DataError, match="0 avatars that are not held out"):
        run.train("base")
    assert not (run.layout.model("base") / "weights").exists()


def test_a_number_that_is_none_in_the_planes_ends_the_training_in_one_line(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "base")
    store = PlaneStore.open(run.layout.planes)
    store.levels["base_planes"][1, 0, 0, 4, 4] = np.float16(np.nan)
    with pytest.raises(DataError, match="values of base_planes of avatar 1 are no finite numbers"):
        run.train("base")
    assert not (run.layout.model("base") / "weights").exists() and run.run.stage_report("base") is None


def test_rows_of_a_batch_repeat_only_when_there_are_too_few():
    generator = np.random.default_rng(0)
    assert sorted(draw_rows(generator, 7, 7)) == list(range(7))
    assert len(set(draw_rows(generator, 50, 20))) == 20
    assert sorted(np.bincount(draw_rows(generator, 3, 8))) == [2, 3, 3]
