"""``rodin-pipe inspect``: what is in a run, and whether it is still what was published."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.contracts.camera import Camera
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar, format_shard, next_command
from pipeline.contracts.planes import FitReport
from pipeline.contracts.rendering import AvatarFailure, Split
from pipeline.contracts.units import bytes_text
from pipeline.driver.survey import survey
from pipeline.images import encode_png, over_white
from pipeline.io.files import exists
from pipeline.io.plane_store import LEVELS, PlaneStore, planes_sha256
from pipeline.io.publish import publish_bytes, sha256_file
from pipeline.io.shard_index import index_shard
from pipeline.io.shards import read_avatar, read_view
from pipeline.people.distribution import attribute_bars, attribute_distributions
from pipeline.report.attribute_chart import attribute_chart
from pipeline.report.pictures import contact_sheet
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.photographs import photographs_of
from pipeline.run.published import find_damage
from pipeline.run.run import Run, decoder_sha256
from pipeline.run.stage_table import single_stages

Echo = Callable[[str], None]
SHEET_AVATARS = 48
"""Most avatars on the contact sheet."""


def inspect_run(run: Run, *, verify: bool, sheet: bool, echo: Echo, attributes: bool = False) -> bool:
    """Describe a run, with ``attributes`` its people too.

    Returns False when ``verify`` found a file that is not what was published.
    """
    run = run.snapshot()
    echo(f"run {run.layout.root}, preset {run.config.preset}, seed {run.config.seed}")
    is_done = _describe_stages(run, echo)
    _describe_failures(run, echo)
    if verify and not _verify(run, echo):
        return False  # what follows reads images, which may be among the damaged
    _describe_population(run, echo)
    if attributes:
        _describe_attributes(run, echo)
    if sheet and run.render_reports():
        path = run.layout.report / "renders.png"
        picture = encode_png(render_sheet(run))
        try:
            publish_bytes(path, picture)
            echo(f"contact sheet: {path}")
        except OSError as error:
            # A run can be looked at where nothing can be written.
            echo(f"no contact sheet: {path} cannot be written ({error.strerror})")
    echo(_next(run, is_done=is_done))
    return True


def _next(run: Run, *, is_done: bool) -> str:
    """Going on where something is left to do, else looking at it."""
    if run.config.is_ingested:
        words = ("view",) if run.own_reports() or run.fit_reports() else ("fit", "--own-decoder")
    else:
        words = ("view",) if is_done else ("run",)
    return next_command(*words, "--out", run.layout.root)


def render_sheet(run: Run) -> npt.NDArray[np.uint8]:
    """Frontal views of the first avatars by running number, uint8 [row, column, 3]."""
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[str] = []
    for report in run.render_reports().values():
        for avatar in report.done:
            if len(images) == SHEET_AVATARS:
                break
            photographs = photographs_of(run, avatar)
            frontal: tuple[Split, ...] = ("frontal",)
            sample = (
                read_view(photographs, avatar, 0)
                if run.config.is_ingested
                else read_avatar(photographs, avatar, frontal)[0]
            )
            images.append(over_white(sample.rgba))
            labels.append(format_avatar(avatar) + (" held out" if sample.record.held_out_avatar else ""))
    return contact_sheet(
        images, columns=min(8, len(images)), tile=min(256, run.config.render.resolution), labels=labels
    )


def _describe_stages(run: Run, echo: Echo) -> bool:
    """A line a stage; whether all that ``run`` does is done and whole."""
    is_done = True
    for stage, state in survey(run, stage_fingerprints(run.config)).items():
        if stage == "own" and state.word == "missing":
            continue  # done only where it is asked for
        notes = [f"{state.failed} failed"] if state.failed else []
        notes += [state.stale] if state.stale else []
        notes += [f"{state.behind} avatars added since"] if state.behind else []
        damage = find_damage(run, stage)
        notes += [str(damage)] if damage is not None else []
        report = run.stage_report(stage) if stage in single_stages() else None
        if report is not None:
            notes.append(f"{report.seconds:.0f} s on {time.strftime('%Y-%m-%d %H:%M', time.gmtime(report.started_at))}")
        word = state.word if damage is None else "damaged"
        is_done = is_done and (word == "done" or stage == "own")
        echo(f"  {stage:<10} {word:<11} {state.done}/{state.total}  {'; '.join(notes)}".rstrip())
    return is_done


def _describe_population(run: Run, echo: Echo) -> None:
    reports = run.render_reports()
    done = [avatar for report in reports.values() for avatar in report.done]
    if not done:
        return
    held_out = sum(run.config.is_held_out(avatar) for avatar in done)
    render = run.config.render
    views = f"{render.train_views} training, {render.held_out_views} held-out views and a frontal one each"
    if run.config.is_ingested:
        views = (
            f"{render.train_views} training and {render.held_out_views} held-out views each or more, "
            f"from {', '.join(run.config.ingest.captures)}"
        )
    size = sum(report.tar_bytes for report in reports.values())
    echo(f"{len(done)} avatars in {len(reports)} shards ({bytes_text(size)}), {held_out} held out: {views}")
    cameras = [sample.record.camera for sample in read_avatar(photographs_of(run, done[0]), done[0])]
    echo(f"cameras of {format_avatar(done[0])}: {_camera_text(cameras)}")
    fits = [fit for report in run.fit_reports().values() for fit in report.fits]
    psnrs = sorted(fit.psnr_db for fit in fits if fit.psnr_db is not None)
    if psnrs:
        echo(
            f"{len(fits)} fits, held-out PSNR over white: mean {sum(psnrs) / len(psnrs):.2f} dB, "
            f"lowest {psnrs[0]:.2f}, median {psnrs[len(psnrs) // 2]:.2f}, highest {psnrs[-1]:.2f}"
        )


def _describe_attributes(run: Run, echo: Echo) -> None:
    """How each attribute is distributed over the run's specs, beside the chances that the configuration states."""
    specs = list(run.specs().values())
    if not specs:
        echo("no avatars yet: nothing to count attributes of")
        return
    distributions = attribute_distributions(specs, run.config.render.population)
    for line in attribute_bars(distributions):
        echo(line)
    path = run.layout.report / "attributes.png"
    publish_bytes(path, encode_png(attribute_chart(distributions)))
    echo(f"attributes: {path}")


def _camera_text(cameras: list[Camera]) -> str:
    positions = np.stack([camera.matrix()[:3, 3] for camera in cameras])
    distance = np.linalg.norm(positions, axis=1)
    elevation = np.degrees(np.arcsin(positions[:, 1] / distance))
    fov = np.degrees(2 * np.arctan(cameras[0].width / 2 / cameras[0].fx))
    return (
        f"{len(cameras)} of {cameras[0].width}x{cameras[0].height} pixels, field of view {fov:.1f} degrees, distance "
        f"{distance.min():.2f}..{distance.max():.2f}, elevation {elevation.min():.0f}..{elevation.max():.0f} degrees"
    )


def _describe_failures(run: Run, echo: Echo) -> None:
    failures: list[tuple[str, AvatarFailure]] = []
    for render_report in run.render_reports().values():
        failures += [("render", failure) for failure in render_report.failures]
    for fit_report in run.fit_reports().values():
        failures += [("fit", failure) for failure in fit_report.failures]
    for own_report in run.own_reports().values():
        failures += [("fit --own-decoder", own_report.failure)] if own_report.failure is not None else []
    for stage, failure in failures:
        echo(f"failed in {stage}: {format_avatar(failure.avatar)}: {failure.reason}")
        for line in failure.log_tail.splitlines()[-5:]:
            echo(f"    {line}")
    if failures:
        counts = Counter(stage for stage, _ in failures)
        again = " and ".join(f"rodin-pipe {stage} --retry-failed ({count})" for stage, count in counts.items())
        echo(f"to try them again: {again}")


def _verify(run: Run, echo: Echo) -> bool:
    """Hash every published file again; one line for each that is not what its ledger says."""
    wrong: list[str] = []
    count = 0
    for shard, report in run.render_reports().items():
        if not report.done:
            continue
        count += 1
        tar = run.rendered.shard(shard)
        try:
            if sha256_file(tar) != report.tar_sha256:
                again = (
                    "the same ingest again puts it right" if report.captures else "render it again with --redo render"
                )
                wrong.append(f"{tar}: its hash is not the ledger's; {again}")
                index_shard(tar)  # says where it is damaged
        except FileNotFoundError:
            wrong.append(f"{tar} is missing")
        except DataError as error:
            wrong.append(str(error))
    decoder = run.decoder_report()
    if decoder is not None:
        count += 1
        if decoder_sha256(run.layout.decoder) != decoder.decoder_sha256:
            wrong.append(f"{run.layout.decoder} is missing or changed; fit it again with --redo decoder")
    fits = run.fit_reports()
    if fits:
        store = PlaneStore.open(run.layout.planes)
        for shard, fit_report in fits.items():
            for fit in fit_report.fits:
                count += 1
                damage = _plane_damage(store, fit)
                if damage:
                    wrong.append(
                        f"{run.layout.planes}: {damage} of {format_avatar(fit.avatar)} ({format_shard(shard)}) are not "
                        "what the ledger says; fit again with --redo fit"
                    )
    ledgers = [(stage, run.stage_report(stage)) for stage in single_stages()]
    for stage, stage_ledger in (*ledgers, *(("own", own) for own in run.own_reports().values())):
        for name, sha256 in (stage_ledger.outputs if stage_ledger else {}).items():
            count += 1
            path: Path = run.layout.root / name
            if not exists(path) or sha256_file(path) != sha256:
                wrong.append(f"{path} is missing or changed; do stage {stage} again with --redo {stage}")
    for line in wrong:
        echo(f"NOT AS PUBLISHED: {line}")
    echo(f"verified {count} files and planes, {len(wrong)} not as published")
    return not wrong


def _plane_damage(store: PlaneStore, fit: FitReport) -> str:
    """Which of an avatar's arrays is not what was published; empty when all are."""
    try:
        arrays = {level: store.read(fit.avatar, level) for level in LEVELS}
    except DataError:
        return "planes"
    if planes_sha256(arrays["planes"]) != fit.planes_sha256:
        return "planes"
    # The small planes have no hash of their own. Sums of float16 values are exact in float64, so any change shows.
    sums = store.sums(fit.avatar)
    for row, level in enumerate(LEVELS):
        values = arrays[level].astype(np.float64)
        if not np.array_equal(sums[row], np.stack((values.sum((-2, -1)), (values**2).sum((-2, -1))))):
            return "base planes or sums" if level == "base_planes" else "sums"
    return ""
