"""A run that is killed again and again: while it renders, in a Ray worker, and while it fits.

The driver is a process of its own; each time the same command is given again. At the end the run must be that of a
driver that nothing disturbed, byte for byte.
"""

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.commands import (
    Process,
    all_end,
    command_line,
    descendants,
    finish,
    kill,
    parent,
    rodin_refuses,
    started,
    wait_until,
)
from support.tiny import NUM_AVATARS, arguments, recorded_jobs, recording_blender, tree_hashes

from pipeline.contracts.naming import RunLayout, parse_avatar
from pipeline.contracts.planes import FitReport, FitShardReport
from pipeline.contracts.rendering import RenderReport
from pipeline.io.ledger import read_ledger, read_ledgers

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@dataclass
class History:
    """What was seen on the way."""

    layout: RunLayout
    refusal: str = ""
    below_driver: tuple[Process, ...] = ()
    """Processes below the driver when it was killed while rendering, Blender among them."""
    blenders: int = 0
    all_ended: bool = False
    rendered_before: set[int] = field(default_factory=set)
    """Finished when the driver was killed."""
    jobs_before: list[tuple[int, ...]] = field(default_factory=list)
    rendered_before_worker_died: set[int] = field(default_factory=set)
    jobs_before_worker_died: list[tuple[int, ...]] = field(default_factory=list)
    jobs: list[tuple[int, ...]] = field(default_factory=list)
    orphan_ended: bool = False
    fits_before: dict[int, FitReport] = field(default_factory=dict)
    """What was fitted when the driver was killed."""
    fits_after: dict[int, FitReport] = field(default_factory=dict)


def rendered(layout):
    """Avatars that are finished, wherever they lie: in an attempt, among the parts or in a published shard."""
    # Folders come and go while one looks: os.walk passes over those that are gone, Path.glob fails of them.
    found = {
        parse_avatar(Path(folder).name)
        for place in layout.work.glob("*/render")
        for folder, _, files in os.walk(place)
        if "avatar.json" in files
    }
    for report in read_ledgers(layout.root / "ledger" / "render", RenderReport).values():
        found.update(report.done)
    return found


def blenders_below(pid):
    return [process for process in descendants(pid) if "job.json" in command_line(process.pid)]


def fit_parts(layout):
    return sorted(layout.work.glob("parts/fit/*/a*.json"))


def fits(layout):
    """Records of the fitted avatars, of published shards and of parts."""
    reports = read_ledgers(layout.root / "ledger" / "fit", FitShardReport).values()
    known = [fit for report in reports for fit in report.fits]
    known += [read_ledger(path, FitReport) for path in fit_parts(layout)]
    return {fit.avatar: fit for fit in known}


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    layout, log = RunLayout(folder / "run"), folder / "log.txt"
    blender = recording_blender(folder, sleep_s=0.12)
    render = ["render", "--out", layout.root, *arguments(blender)]
    fit = ["fit", "--out", layout.root, *arguments(blender)]
    seen = History(layout)

    with started(*render, log=log) as driver:
        wait_until(lambda: rendered(layout) and blenders_below(driver.pid), process=driver)
        seen.refusal = rodin_refuses(*render)
        seen.rendered_before = rendered(layout)
        seen.blenders = len(blenders_below(driver.pid))
        seen.below_driver = kill(driver)
    seen.all_ended = all_end(seen.below_driver)
    seen.jobs_before = recorded_jobs(blender)

    with started(*render, log=log) as driver:
        (victim, *_) = wait_until(lambda: blenders_below(driver.pid), process=driver)
        seen.rendered_before_worker_died = rendered(layout)
        seen.jobs_before_worker_died = recorded_jobs(blender)
        os.kill(parent(victim.pid), signal.SIGKILL)
        seen.orphan_ended = all_end([victim], 5.0)
        finish(driver, log=log)
    seen.jobs = recorded_jobs(blender)

    with started(*fit, log=log) as driver:
        wait_until(lambda: fit_parts(layout), process=driver)
        below = kill(driver)
    seen.all_ended = all_end(below) and seen.all_ended
    seen.fits_before = fits(layout)
    with started(*fit, log=log) as driver:
        finish(driver, log=log)
    seen.fits_after = fits(layout)
    return seen


@pytest.mark.parametrize("name", ["renders", "decoder", "planes.zarr"])
def test_the_bytes_are_those_of_an_undisturbed_run(history, finished, name):
    disturbed = tree_hashes(history.layout.root / name)
    assert disturbed == tree_hashes(finished.layout.root / name)
    assert disturbed


def test_at_most_the_avatar_in_work_is_rendered_again(history):
    # A job names the avatars that are still to be made, so none that was finished may be named again.
    after_driver = history.jobs[len(history.jobs_before) :]
    assert history.rendered_before, "the driver was killed before anything was finished"
    assert not history.rendered_before.intersection(avatar for job in after_driver for avatar in job)
    after_worker = history.jobs[len(history.jobs_before_worker_died) :]
    assert after_worker, "the worker was killed when nothing was left to do"
    assert not history.rendered_before_worker_died.intersection(avatar for job in after_worker for avatar in job)


def test_at_most_the_avatar_in_work_is_fitted_again(history):
    assert 0 < len(history.fits_before) < len(history.fits_after) == NUM_AVATARS
    for avatar, fit in history.fits_before.items():
        # A record holds the seconds that the fit took: the same record is the same fit.
        assert history.fits_after[avatar] == fit, f"avatar {avatar} was fitted twice"


def test_nothing_outlives_a_killed_driver(history):
    assert history.blenders > 0 and len(history.below_driver) > history.blenders
    assert history.all_ended


def test_no_blender_outlives_a_killed_worker(history):
    assert history.orphan_ended
    reports = read_ledgers(history.layout.root / "ledger" / "render", RenderReport)
    assert [report.done for report in reports.values()] == [(0, 1), (2, 3), (4, 5)]
    assert not any(report.failures for report in reports.values())


def test_a_second_driver_is_refused_while_the_first_works(history):
    assert str(history.layout.root) in history.refusal and "in use by process" in history.refusal


def test_nothing_is_left_over(history):
    left = [path for path in (history.layout.work).rglob("*") if path.is_file()]
    assert not left
