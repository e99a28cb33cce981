"""What a stage reads of the configuration is what its fingerprint reaches: else a changed setting changes bytes that
count as current."""

from dataclasses import replace

import pytest
from support.config_reads import noted_reads
from support.tiny import tiny_config

from pipeline.config.run import RunConfig
from pipeline.config.setting import is_operational, settings_of
from pipeline.run.fingerprint import settings_read
from pipeline.run.run import Run
from pipeline.run.stage_table import STAGES, inputs_of
from pipeline.stages.evaluate import evaluate_run
from pipeline.stages.fit.own import fit_own
from pipeline.stages.generate import generate_from_noise
from pipeline.stages.work import WorkItem

pytestmark = pytest.mark.seconds

ONLY_MEASURED = {"decoder": {"fit.render_samples"}}
"""Settings by which a figure in a stage's ledger was measured, and on which nothing depends that it publishes."""


def nobody(done, total):
    """A progress that nobody watches."""


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The run with the stages that the shared one leaves out."""
    run = made.copy_to(tmp_path_factory.mktemp("whole") / "run", settings=("own.steps=4", "own.turntable_views=2"))
    run = replace(run, reads=dict(made.reads))
    with run.noting("own"):
        fit_own(WorkItem(Run(run.layout, run.config), "own", run.fingerprint("own"), 0), nobody)
    for stage, function in (("generate", generate_from_noise), ("evaluate", evaluate_run)):
        with run.noting(stage):
            function(WorkItem(Run(run.layout, run.config), stage, run.fingerprint(stage)), nobody)
    return run


def reach(stage, config):
    """Settings in a stage's fingerprint and in those before it."""
    return set(settings_read(stage, config)).union(*(reach(before, config) for before in inputs_of(stage)))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_nothing_that_its_fingerprint_does_not_reach(whole, stage):
    assert whole.reads[stage], "it was noted"
    harmless = {setting for setting, field in settings_of(RunConfig) if is_operational(field)}
    harmless |= ONLY_MEASURED.get(stage, set())
    unreached = whole.reads[stage] - reach(stage, whole.config) - harmless - {"seed"}
    assert not unreached, f"{stage} reads them, and its output would count as current when they change"


def test_reads_are_noted_by_their_place_in_the_configuration():
    config = tiny_config("blender")
    with noted_reads(config) as reads:
        assert config.base.unet.width == 8
        assert config.model_copy(update={"seed": 3}).fit.steps == config.fit.steps
        _ = config.seed, config.clip, tiny_config("blender").latent.steps
    assert {"base.unet.width", "fit.steps", "seed"} <= reads <= {name for name, _ in settings_of(RunConfig)}
    before = set(reads)
    _ = config.upsampler.steps
    assert reads == before
