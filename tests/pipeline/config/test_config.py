import json
import tomllib

import pytest

from pipeline.config.load import PRESETS, load_config, read_specs
from pipeline.config.run import RunConfig
from pipeline.contracts.errors import ConfigError
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.stage_table import STAGES, stages_after


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_and_survive_run_toml(preset, tmp_path):
    config = load_config(preset=preset)
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert load_config(run_toml=tmp_path / "run.toml") == config
    assert config.preset == preset


def test_paper_is_the_size_of_the_paper():
    config = load_config(preset="paper")
    assert (config.planes.resolution, config.planes.channels, config.planes.base_resolution) == (256, 32, 64)
    assert config.render.num_avatars == 100_000
    assert (config.base.unet.width, config.base.unet.multipliers, config.base.unet.blocks) == (192, (1, 2, 3, 4), 3)
    assert config.refiner.input_side * config.refiner.scale == 1024


def test_nobody_of_the_released_people_is_in_another_presets_population():
    seeds = {preset: load_config(preset=preset).seed for preset in PRESETS}
    for own in ("released", "small"):
        assert [preset for preset, seed in seeds.items() if seed == seeds[own]] == [own]


def test_layers_merge_in_order(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[fit]\nsteps = 7\nrays = 9\n")
    config = load_config(preset="demo", file=file, settings=["fit.rays=11", "clip.pretrained=/some/where"])
    assert (config.fit.steps, config.fit.rays) == (7, 11)
    assert config.fit.samples == load_config(preset="demo").fit.samples
    assert config.clip.pretrained == "/some/where"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fit.steps=many", ("fit.steps", "many")),
        ("fit.steps=1.5", ("fit.steps", "1.5")),
        ("fit.steps=true", ("fit.steps", "True")),
        ("fit.learning_rate=nan", ("fit.learning_rate",)),
        ("fit.learning_rate=-1.0", ("fit.learning_rate", "-1.0")),
        ("fit.perceptual_weight=-0.1", ("fit.perceptual_weight", "-0.1")),
        ("fit.perceptual_patch=8", ("fit.perceptual_patch", "8")),
        ("fit.start=predicted", ("fit.start", "set train.start_from")),
        ("base.unet.patch=5", ("base.unet.patch 5 does not divide the planes' side",)),
        ("base.unet.patch=32", ("in patches of 32 cannot be halved",)),
        ("refiner.blend=0.5", ("refiner.blend", "0.5")),
        ("fit.stepz=3", ("fit.stepz", "fit.steps")),
        ("nonsense=3", ("nonsense",)),
        ("fit.steps", ("fit.steps", "key=value")),
        ("=3", ("key=value",)),
        ("fit=3", ("fit",)),
        ("render.elevation_deg=[30, 10]", ("elevation_deg",)),
        ("render.fov_deg=0", ("fov_deg",)),
        ("render.resolution=-3", ("resolution", "-3")),
        ("planes.base_resolution=36", ("base_resolution", "36")),
        ("decoder.avatars=1000", ("decoder.avatars", "1000")),
        ("base.diffusion.eta=1.5", ("base.diffusion.eta", "1.5")),
        ("latent.diffusion.min_snr=-1.0", ("latent.diffusion.min_snr", "-1.0")),
        ("refiner.adversarial_weight=-0.1", ("refiner.adversarial_weight", "-0.1")),
        ("base.keep=best", ("base.keep best", "set base.held_out_every")),
        ("latent.ema_lengths=[0.1]", ("latent.ema_lengths [0.1]", "set latent.held_out_every")),
        ("clip.patience=3", ("clip.patience 3", "set clip.held_out_every")),
        ("generate.base_steps=7", ("generate.base_steps", "7")),
        ("refiner.input_side=4096", ("refiner.input_side",)),
        ("base.unet.multipliers=[1,2,3,4,5,6,7]", ("base.unet.multipliers",)),
    ],
)
def test_bad_values_are_one_line_that_names_them(setting, words):
    with pytest.raises(ConfigError) as caught:
        load_config(preset="captures", settings=["render.num_avatars=12", setting])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_unknown_preset_and_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="demo, captures, small, desk, paper"):
        load_config(preset="huge")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(file=tmp_path / "no.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[fit\nsteps = 3")
    (tmp_path / "run.toml").write_text("")
    with pytest.raises(ConfigError, match=r"run.toml is empty"):
        load_config(run_toml=tmp_path / "run.toml")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_config(file=broken)


def changed(*settings):
    before = stage_fingerprints(load_config(preset="desk"))
    after = stage_fingerprints(load_config(preset="desk", settings=settings))
    return {stage for stage in before if before[stage] != after[stage]}


def test_a_setting_changes_its_stage_and_those_behind_it():
    assert changed("fit.steps=3") == set(stages_after("fit"))
    assert changed("fit.rays=3") == {*stages_after("decoder"), "own"}
    assert changed("own.steps=3") == {"own"}
    assert "render" not in changed("fit.steps=3")
    assert changed("render.samples=3") == set(STAGES)
    assert changed("generate.samples=3") == {"generate", "evaluate"}, "the refiner has samples of its own"
    assert "encode" in changed("fit.threads=3") and "clip" not in changed("fit.threads=3")
    assert changed("train.precision=bfloat16") == {*stages_after("clip"), *stages_after("base"), *stages_after("head")}
    assert changed("latent.steps=3") == {"latent", "generate", "evaluate"}
    assert changed("seed=5") == set(STAGES)


def test_operational_settings_change_nothing():
    assert not changed(
        "render.num_avatars=30", "render.python=/usr/bin/python3", "render.threads=2", "train.workers=2", "device=cpu"
    )


def test_the_network_of_the_patches_counts_by_its_content(tmp_path):
    weights, elsewhere = tmp_path / "vgg.safetensors", tmp_path / "moved.safetensors"
    weights.write_bytes(b"one")
    weight = "fit.perceptual_weight=0.01"

    def stale(path):
        plain = stage_fingerprints(load_config(preset="demo", settings=[weight]))
        given = stage_fingerprints(load_config(preset="demo", settings=[weight, f'fit.perceptual_vgg="{path}"']))
        return plain["fit"] != given["fit"], given

    assert stale(weights)[0]
    elsewhere.write_bytes(b"one")
    assert stale(elsewhere) == stale(weights)
    config = load_config(preset="demo", settings=[weight, f'fit.perceptual_vgg="{weights}"'])
    (tmp_path / "run.toml").write_text(config.to_toml())
    weights.unlink()
    assert load_config(run_toml=tmp_path / "run.toml") == config
    with pytest.raises(ConfigError, match=r"fit\.perceptual_vgg .*vgg\.safetensors cannot be read: No such file"):
        load_config(preset="demo", settings=[weight, f'fit.perceptual_vgg="{weights}"'])
    assert not changed(f'fit.perceptual_vgg="{weights}"')  # it weighs nothing


def test_held_out_avatars_do_not_depend_on_how_many_there_are():
    small, large = (load_config(preset="demo", settings=[f"render.num_avatars={count}"]) for count in (12, 40))
    assert small.training_avatars() == large.training_avatars()[: len(small.training_avatars())]
    assert small.decoder_avatars() == large.decoder_avatars()
    assert not set(large.decoder_avatars()) & {i for i in range(40) if large.is_held_out(i)}
    assert any(small.is_held_out(i) for i in range(12))


def test_every_field_is_documented():
    import ast
    import inspect

    from pipeline.config import models as model_config
    from pipeline.config import run as config
    from pipeline.config import stages

    trees = [ast.parse(inspect.getsource(module)) for module in (config, stages, model_config)]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    assert RunConfig.__name__ in {node.name for node in classes}
    for node in classes:
        assert ast.get_docstring(node), node.name


def test_a_nested_setting_keeps_its_neighbours_defaults():
    before = load_config(preset="paper").upsampler.diffusion
    after = load_config(preset="paper", settings=["upsampler.diffusion.input_scale=0.4"]).upsampler.diffusion
    assert (before.timesteps, before.schedule, before.prediction) == (100, "sigmoid", "x0")
    assert after == before.model_copy(update={"input_scale": 0.4})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ("zero_terminal_snr=true", "prediction=epsilon"),
            "zero_terminal_snr ends in pure noise, .*prediction epsilon: use v or x0",
        ),
        (("zero_terminal_snr=true", "min_snr=5.0"), "min_snr 5.0 gives the pure noise of base"),
        (("eta=0.5", "sampler=dpm"), "eta 0.5 is a setting of sampler ddim, and base.diffusion.sampler is dpm"),
    ],
)
def test_settings_of_a_noise_process_that_contradict_each_other(settings, words):
    with pytest.raises(ConfigError, match=rf"base\.diffusion\.{words}"):
        load_config(preset="demo", settings=[f"base.diffusion.{setting}" for setting in settings])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["generate.frontal_steps=0"], ["generate.head_steps 25", "takes generate.frontal_steps"]),
        (["head.middle=[0.9, 0.4]"], ["head.side 48", "head.middle [0.9, 0.4]", "leaves", "frontal.side 96"]),
        (["head.middle=[0.5, 0.1]"], ["head.middle [0.5, 0.1]", "leaves"]),
        (["head.side=128"], ["head.side 128", "leaves"]),
        (["head.side=50"], ["head.unet.multipliers", "pictures of side 50", "cannot be halved 2 times"]),
        (["head.coarse_side=96"], ["head.coarse_side 96 makes nothing small"]),
    ],
)
def test_heads_that_cannot_be_drawn_again(settings, words):
    with pytest.raises(ConfigError) as caught:
        load_config(preset="released", settings=settings)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_a_head_that_nobody_draws_need_not_fit_its_picture():
    assert load_config(preset="released", settings=["generate.head_steps=0", "head.side=128"]).head.side == 128


def test_proportions_can_be_set_and_enter_the_fingerprint():
    plain = load_config(preset="demo")
    other = load_config(preset="demo", settings=["render.population.glasses=0.5", "render.population.hair_men.buzz=3"])
    assert other.render.population.glasses == 0.5 and other.render.population.hair_men.crop == 25
    assert stage_fingerprints(plain)["render"] != stage_fingerprints(other)["render"]
    again = tomllib.loads(other.to_toml())
    assert RunConfig.model_validate_json(json.dumps(again)) == other
    with pytest.raises(ConfigError, match=r"population\.glasses"):
        load_config(preset="demo", settings=["render.population.glasses=1.5"])


def test_a_spec_file_is_checked_and_hashed_when_the_configuration_is_loaded(tmp_path):
    path = tmp_path / "people.json"
    path.write_text('[{"hair": {"style": "braids"}}]')
    config = load_config(preset="demo", settings=[f"render.specs={path}"])
    (spec,) = read_specs(config)
    assert spec.hair.style == "braids"
    assert stage_fingerprints(config)["render"] != stage_fingerprints(load_config(preset="demo"))["render"]
    for text in ('[{"hair": {"style": "mohawk"}}]', '[{"age_years": NaN}]', '[{"hair"'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"people\.json"):
            load_config(preset="demo", settings=[f"render.specs={path}"])
    with pytest.raises(ConfigError, match="not what it was"):
        read_specs(config)
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(preset="demo", settings=[f"render.specs={path}"])
