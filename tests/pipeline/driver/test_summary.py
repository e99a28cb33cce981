import pytest

from pipeline.config.load import load_config
from pipeline.contracts.naming import RunLayout
from pipeline.driver.estimate import own_steps
from pipeline.driver.summary import describe_plan, estimated_cpu_hours
from pipeline.driver.survey import survey
from pipeline.driver.visit import Visit
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.run.stage_table import stages_of


def test_plan_counts_shards_as_tasks(tmp_path):
    config = load_config(preset="demo", settings=["render.num_avatars=12", "render.shard_size=5"])
    layout = RunLayout(tmp_path)
    visit = Visit(Run(layout, config), stages_of("run"), "run")
    text = describe_plan(visit, survey(Run(layout, config), stage_fingerprints(config)))
    # 3 shards rendered, 3 fitted, 11 stages of one task each
    assert "in all 17 tasks" in text
    assert text.count("missing") == len(stages_of("run"))


def test_estimates_grow_with_the_work():
    small, large = (
        estimated_cpu_hours(load_config(preset="demo", settings=[f"fit.steps={steps}"])) for steps in (100, 200)
    )
    assert large["fit"] == pytest.approx(2 * small["fit"])
    assert large["render"] == small["render"]


@pytest.mark.parametrize(
    ("setting", "stage", "factor"),
    [
        ("clip.steps=200", "clip", 2),
        ("latent.batch=32", "latent", 2),
        ("base.unet.width=96", "base", 4),
        ("refiner.steps=24", "refiner", None),
        ("generate.num=9", "generate", 2),
        ("evaluate.images_per_avatar=16", "evaluate", 2),
        ("render.num_avatars=16", "encode", 2),
    ],
)
def test_every_stage_s_hours_follow_the_configuration(setting, stage, factor):
    before = estimated_cpu_hours(load_config(preset="demo"))
    after = estimated_cpu_hours(load_config(preset="demo", settings=[setting]))
    if factor is None:
        assert before[stage] < after[stage] < 2 * before[stage], "its pictures are as many as before"
    else:
        assert after[stage] == pytest.approx(factor * before[stage])


def test_steps_of_an_own_fit_follow_the_minutes():
    alone = ["render.num_avatars=1", "decoder.avatars=1", "decoder.min_avatars=1", "refiner.input_side=50"]
    alone += ["render.resolution=200", "render.held_out_views=10"]
    config = load_config(preset="captures", settings=alone)
    two, four, six = (own_steps(config, minutes) for minutes in (2.0, 4.0, 6.0))
    assert six - four == pytest.approx(four - two, abs=1), "beyond what measuring and showing take"
    assert six == pytest.approx(config.own.steps, rel=0.02), "the preset's are those of six minutes"
    fewer = load_config(preset="captures", settings=[*alone, "fit.rays=1024"])
    assert 1.6 * two < own_steps(fewer, 2.0) < 2 * two, "all but what goes by texels"
    fewest = load_config(preset="captures", settings=[*alone, "fit.rays=512"])
    a, b, c = (1 / own_steps(each, 60.0) for each in (config, fewer, fewest))
    assert a - b == pytest.approx(2 * (b - c), rel=1e-3), "a step's time goes by its rays, and something beside"
    finer = load_config(preset="captures", settings=[*alone, "planes.resolution=256"])
    assert 0.8 * two < own_steps(finer, 2.0) < two
    larger = load_config(preset="captures", settings=[*alone, "render.resolution=400"])
    shown_s = (two - own_steps(larger, 2.0)) / (four - two) * 120
    assert 30 < shown_s < 60, "four times the pixels to measure, three in the turntable"
    assert estimated_cpu_hours(config)["own"] == pytest.approx(config.fit.threads * (360 - 25) / 3600, rel=0.02)
