"""The decoder fitted by two workers of Ray Train, through the driver."""

from contextlib import nullcontext

import pytest
from support.ranks import Ranks
from support.tiny import tiny_config, tree_hashes

from pipeline.contracts.naming import RunLayout
from pipeline.driver.visit import Visit, carry_out
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.fit.decoder import fit_decoder_share
from pipeline.stages.work import WorkItem

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.usefixtures("shared_session")
def test_two_processes_fit_what_two_threads_fit(finished, without, tmp_path):
    config = tiny_config(finished.blender, "decoder.workers=2", "decoder.steps_per_avatar=6", "decoder.visit_steps=2")
    layout = without("decoder", "fit")
    elsewhere = RunLayout(tmp_path / "threads")
    elsewhere.root.mkdir()
    for name in ("renders", "ledger", "planes.zarr"):
        (elsewhere.root / name).symlink_to(layout.root / name)
    item = WorkItem(Run(elsewhere, config), "decoder", stage_fingerprints(config)["decoder"])
    report, _ = Ranks(2).run(lambda context: fit_decoder_share(item, context))
    expected = tree_hashes(elsewhere.decoder)
    (layout.root / "ledger" / "decoder" / "decoder.json").unlink()

    result = carry_out(
        Visit(Run(layout, config), ("decoder", "fit"), "fit"), lambda: nullcontext(lambda progress: None)
    )
    assert not result.report.failed_tasks
    assert result.states["decoder"].word == "done"
    assert result.run.decoder_report().decoder_sha256 == report.decoder_sha256
    assert tree_hashes(layout.decoder) == expected
