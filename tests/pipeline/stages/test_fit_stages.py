import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file
from support.tiny import recording_blender, tiny_config, tree_hashes

from pipeline.config.load import load_config
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.io.plane_store import PlaneStore
from pipeline.run.run import Run
from pipeline.stages.fit import decoder as decoder_stage
from pipeline.stages.fit import planes as stage
from pipeline.stages.fit.decoder import CPU, colour_order
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.fit.settings import fit_features
from pipeline.stages.views import read_views
from rodin_models.fit.joint_fit import JointFit
from rodin_models.fit.plane_fit import PlaneFit
from rodin_models.image.features import RandomFeatures

pytestmark = pytest.mark.seconds


class Stop(Exception):
    """What a test ends a stage with."""


def test_shards_in_any_order_give_the_same_planes(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "fit")
    run.create_store()
    # The decoder is current, so nobody names it to the new store: the driver does where it makes one.
    with pytest.raises(DataError, match="decoder"):
        run.fit(2)
    run = made.copy_to(tmp_path / "again", "fit", "decoder")
    run.create_store()
    run.fit_decoder()
    for shard in (2, 0, 1):
        run.fit(shard)
    assert tree_hashes(run.layout.planes) == tree_hashes(made.layout.planes)


def test_another_cut_into_shards_gives_the_same_planes(made, tmp_path):
    """Shards of three in place of two, the last first: who was fitted before in the same process is another too."""
    settings = ("render.shard_size=3",)
    run = type(made)(RunLayout(tmp_path / "run"), tiny_config(recording_blender(tmp_path), *settings))
    for shard in run.shards():
        run.render(shard)
    run.create_store()
    assert run.fit_decoder().decoder_sha256 == made.fit_decoder().decoder_sha256
    for shard in reversed(run.shards()):
        run.fit(shard)
    for level in ("planes", "base_planes", "channel_sums"):
        chunks = tree_hashes(run.layout.planes / level)
        assert chunks == tree_hashes(made.layout.planes / level) and len(chunks) == 6 + 1


def test_a_fit_whose_loss_is_no_number_ends_early_and_the_rest_goes_on(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "fit")
    loss, told = PlaneFit.loss, []

    def diverging(self, *arguments):
        told.append(self.steps_done)
        return loss(self, *arguments) * (torch.nan if len(told) == 5 else 1)

    monkeypatch.setattr(PlaneFit, "loss", diverging)
    report = run.fit(1)
    (failure,) = report.failures
    assert (
        failure.avatar == 2 and "diverged: the loss is not finite at step 19; lower fit.learning_rate" in failure.reason
    )
    assert [fit.avatar for fit in report.fits] == [3]
    assert len(told) == 20 + run.config.fit.steps, "the first ended at step 20 of 30"
    assert set(Run(run.layout, run.config).plane_sources()) == {3}
    run.fit(1, retry_failed=True)
    assert tree_hashes(run.layout.planes) == tree_hashes(made.layout.planes)


def test_no_model_is_trained_on_a_fit_that_failed(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "base", settings=("base.steps=1",))
    ledger = run.layout.ledger("fit", format_shard(1))
    record = json.loads(ledger.read_text())
    failed = record["fits"].pop(0)
    record["failures"] = [{"avatar": failed["avatar"], "reason": "held-out PSNR is below fit.min_psnr"}]
    ledger.write_text(json.dumps(record))
    assert failed["avatar"] == 2
    assert run.train("base").avatars == (0, 1, 3, 4), "neither the one that failed nor the one held out"


def test_a_fit_goes_on_after_the_last_finished_avatar(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "fit")

    def stop_in_the_second(done, total):
        if done > 1:
            raise Stop

    with pytest.raises(Stop):
        run.fit(0, stop_in_the_second)
    (part,) = run.layout.parts("fit", 0).iterdir()
    kept = json.loads(part.read_text())
    fits = run.fit(0).fits
    assert fits[0].seconds == kept["seconds"] and fits[0].planes_sha256 == kept["planes_sha256"]
    assert tree_hashes(run.layout.planes) == tree_hashes(made.layout.planes)
    assert not run.layout.parts("fit", 0).exists()


def test_a_part_of_another_decoder_is_not_adopted(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "fit")
    parts = run.layout.parts("fit", 0)
    parts.mkdir(parents=True)
    known = json.loads((made.layout.ledger("fit", format_shard(0))).read_text())["fits"][0]
    for name in (f"a000000.{run.fingerprint('fit')}-{'0' * 16}.json", f"a000000.{run.fingerprint('fit')}.json"):
        (parts / name).write_text(json.dumps(known | {"seconds": -1.0}))
    assert run.fit(0).fits[0].seconds >= 0


def test_a_poor_fit_is_a_failure_that_training_never_reads(made, tmp_path):
    worst = min((fit for shard in made.shards() for fit in made.fit(shard).fits), key=lambda fit: fit.psnr_db)
    run = made.copy_to(tmp_path / "run", "fit", "decoder", settings=(f"fit.min_psnr={worst.psnr_db + 1e-4:.6f}",))
    run.fit_decoder()
    reports = [run.fit(shard) for shard in run.shards()]
    (failure,) = [failure for report in reports for failure in report.failures]
    assert failure.avatar == worst.avatar
    assert f"{worst.psnr_db:.2f} dB" in failure.reason and "fit.min_psnr" in failure.reason
    assert set(Run(run.layout, run.config).plane_sources()) == set(range(6)) - {worst.avatar}


def test_a_diverged_fit_is_a_failure_and_may_be_tried_again(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "fit")
    fit, calls = stage.fit_planes, []

    def diverge(*arguments, **more):
        result = fit(*arguments, **more)
        calls.append(1)
        return dataclasses.replace(result, planes=result.planes * torch.nan) if len(calls) == 1 else result

    monkeypatch.setattr(stage, "fit_planes", diverge)
    report = run.fit(1)
    assert [failure.avatar for failure in report.failures] == [2] and [f.avatar for f in report.fits] == [3]
    assert "diverged" in report.failures[0].reason
    assert run.fit(1) == report and len(calls) == 2, "what failed is not tried again by itself"
    again = run.fit(1, retry_failed=True)
    assert [f.avatar for f in again.fits] == [2, 3] and not again.failures and len(calls) == 3
    assert again.fits[1] == report.fits[0]


def test_avatars_fitted_together_are_those_fitted_alone(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "fit", settings=("fit.batch=2",))
    assert run.fingerprint("fit") == made.fingerprint("fit")
    done = []
    for shard in run.shards():
        together, alone = run.fit(shard, lambda now, total: done.append(now / total)), made.fit(shard)
        assert not together.failures and [f.avatar for f in together.fits] == [f.avatar for f in alone.fits]
        for one, other in zip(together.fits, alone.fits, strict=True):
            assert one.psnr_db == pytest.approx(other.psnr_db, abs=0.02)
            assert one.source_sha256 == other.source_sha256 and one.seconds > 0
    assert done[:31] == sorted(done[:31]) and done[15] == 0.5 and done[30] == 1
    stores = [PlaneStore.open(r.layout.planes, r.config.plane_spec()) for r in (run, made)]
    for avatar in range(6):
        one, other = (store.read(avatar).astype("float32") for store in stores)
        assert abs(one - other).mean() < 1e-3 and abs(other).mean() > 0.02


def test_a_killed_batch_costs_the_batch_and_no_more(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "fit", settings=("fit.batch=2", "render.shard_size=2"))
    measured = stage._measured

    def stop_at_the_second(item, avatar, *arguments):
        if avatar == 3:
            raise Stop
        return measured(item, avatar, *arguments)

    monkeypatch.setattr(stage, "_measured", stop_at_the_second)
    with pytest.raises(Stop):
        run.fit(1)
    (part,) = run.layout.parts("fit", 1).iterdir()
    kept = json.loads(part.read_text())
    monkeypatch.setattr(stage, "_measured", measured)
    fits = run.fit(1).fits
    assert [f.avatar for f in fits] == [2, 3] and fits[0].seconds == kept["seconds"]


def test_one_that_diverges_in_a_batch_fails_alone(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "fit", settings=("fit.batch=2",))
    read = stage.read_views

    def spoilt(run, avatar, splits, device):
        views = read(run, avatar, splits, device)
        if avatar != 2:
            return views
        return dataclasses.replace(views, rgba=torch.where(torch.arange(4) < 3, torch.nan, views.rgba / 255.0))

    monkeypatch.setattr(stage, "read_views", spoilt)
    report = run.fit(1)
    assert [f.avatar for f in report.failures] == [2] and "diverged" in report.failures[0].reason
    assert [f.avatar for f in report.fits] == [3]
    assert report.fits[0].psnr_db == pytest.approx(made.fit(1).fits[1].psnr_db, abs=0.02)


def test_a_killed_joint_fit_goes_on_to_the_same_decoder(made, tmp_path):
    run = made.copy_to(tmp_path / "run", "decoder")
    checkpointed = run.config.decoder.checkpoint_every + 3
    steps = []

    def stop(done, total):
        steps.append(done)
        if done == checkpointed:
            raise Stop

    with pytest.raises(Stop):
        run.fit_decoder(stop)
    steps.clear()
    report = run.fit_decoder(lambda done, total: steps.append(done))
    assert steps[0] == run.config.decoder.checkpoint_every + 1, "it went on from the checkpoint"
    assert report.steps == steps[-1] == 24
    assert tree_hashes(run.layout.decoder) == tree_hashes(made.layout.decoder)


def test_the_joint_fit_sees_every_second_avatar_in_other_colours(made, tmp_path, monkeypatch):
    run = made.copy_to(tmp_path / "run", "decoder")
    joint_fits = []

    class Watched(JointFit):
        def __init__(self, views, *args, **kwargs):
            super().__init__(views, *args, **kwargs)
            self.views = views
            joint_fits.append(self)

    monkeypatch.setattr(decoder_stage, "JointFit", Watched)
    run.fit_decoder()
    (joint,) = joint_fits
    known = [read_views(Run(run.layout, run.config), a, ("train",), CPU) for a in run.config.decoder_avatars()]
    assert len(known) == 2
    assert torch.equal(joint.views(0).rgba, known[0].rgba)
    assert torch.equal(joint.views(1).rgba, known[1].rgba[..., [0, 2, 1, 3]])
    _, mean_planes = load_decoder(run.layout, CPU)
    assert torch.equal(mean_planes, joint.planes_of(0)) and not torch.equal(mean_planes, joint.planes_of(1))


def test_one_avatar_in_so_many_has_other_colours():
    third = load_config(preset="demo", settings=["decoder.recolour_every=3"])
    orders = [colour_order(third, position) for position in range(18)]
    as_they_are = [position for position, order in enumerate(orders) if order == (0, 1, 2)]
    assert as_they_are == [position for position in range(18) if position % 3 != 2]
    assert len({orders[position] for position in (2, 5, 8, 11, 14)}) == 5 and orders[17] == orders[2]
    none = load_config(preset="demo", settings=["decoder.recolour_every=0"])
    assert {colour_order(none, position) for position in range(9)} == {(0, 1, 2)}
    with pytest.raises(ConfigError, match=r"decoder\.recolour_every is 1, which leaves no avatar in its own colours"):
        load_config(preset="demo", settings=["decoder.recolour_every=1"])


def test_patches_are_compared_in_random_features_or_in_the_weights_that_are_given(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, path)
    assert fit_features(load_config(preset="demo"), CPU) is None
    weight = "fit.perceptual_weight=0.01"
    assert isinstance(fit_features(load_config(preset="demo", settings=[weight]), CPU), RandomFeatures)
    with pytest.raises(DataError, match=r"fit\.perceptual_vgg: .*other\.safetensors is no VGG-16"):
        fit_features(load_config(preset="demo", settings=[weight, f'fit.perceptual_vgg="{path}"']), CPU)


def test_too_few_avatars_for_a_decoder(made, tmp_path):
    run = made.copy_to(
        tmp_path / "run", "decoder", settings=("decoder.avatars=3", "decoder.min_avatars=3", "fit.rays=64")
    )
    ledger = run.layout.ledger("render", format_shard(1))
    record = json.loads(ledger.read_text())
    record["done"] = [3]  # avatar 2, the third that the decoder is for, failed
    ledger.write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"2 of the first 3 avatars .*min_avatars is 3"):
        run.fit_decoder()


def test_the_store_says_under_which_decoder_its_planes_are(made):
    store = PlaneStore.open(made.layout.planes, made.config.plane_spec())
    assert store.decoder_sha256 == made.fit_decoder().decoder_sha256
