"""A run of 3 avatars, the last shard short, extended to 6 by one worker: the run that two workers made at once."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from support.tiny import recorded_jobs, recording_blender, tiny_config, tree_hashes

from pipeline.contracts.naming import RunLayout
from pipeline.driver.visit import Visit, carry_out
from pipeline.run.run import Run

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STAGES = ("render", "decoder", "fit")


def reports_of_fits(run):
    return {fit.avatar: fit for report in run.fit_reports().values() for fit in report.fits}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended")
    layout = RunLayout(folder / "run")
    blender = recording_blender(folder)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sched_getaffinity", lambda pid: {0})
        for num_avatars in (3, 6):
            config = tiny_config(blender, f"render.num_avatars={num_avatars}")
            visit = Visit(Run(layout, config), STAGES, "run")
            result = carry_out(visit, lambda: nullcontext(lambda progress: None))
            assert not result.report.failed_tasks and result.report.cpus == 1
            assert all(state.word == "done" for state in map(result.states.get, STAGES))
            seen.append((reports_of_fits(visit.run), visit.run.decoder_report()))
    return layout, blender, seen


def test_old_avatars_are_not_done_again(extended):
    _, blender, ((fits_of_3, decoder_of_3), (fits_of_6, decoder_of_6)) = extended
    assert recorded_jobs(blender) == [(0, 1), (2,), (3,), (4, 5)]
    assert sorted(fits_of_3) == [0, 1, 2] and sorted(fits_of_6) == [0, 1, 2, 3, 4, 5]
    # A fit's record holds the seconds that it took: the same record is the same fit.
    assert all(fits_of_6[avatar] == fits_of_3[avatar] for avatar in fits_of_3)
    assert decoder_of_6 == decoder_of_3


@pytest.mark.parametrize("name", ["renders", "decoder", "planes.zarr"])
def test_one_worker_in_two_visits_makes_the_bytes_of_two_workers_in_one(extended, finished, name):
    layout: Path = extended[0].root / name
    assert tree_hashes(layout) == tree_hashes(finished.layout.root / name)
