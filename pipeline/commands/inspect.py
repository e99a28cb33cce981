"""``rodin-pipe inspect`` and ``clean``: what is in a run, whether it is still what was published, what may go."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config.load import load_config
from pipeline.config.run import RunConfig
from pipeline.contracts.camera import Camera
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard
from pipeline.contracts.planes import FitReport
from pipeline.contracts.rendering import AvatarFailure, Split
from pipeline.contracts.units import bytes_text
from pipeline.driver.survey import directory_bytes, survey
from pipeline.images import encode_png, over_white
from pipeline.io.avatar_folder import AVATAR_JSON
from pipeline.io.plane_store import LEVELS, PlaneStore, planes_sha256
from pipeline.io.publish import publish_bytes, publish_folder, remove_temporaries, run_lock, sha256_file
from pipeline.io.shards import index_shard, read_avatar, read_view
from pipeline.people.distribution import attribute_bars, attribute_distributions
from pipeline.report.attribute_chart import attribute_chart
from pipeline.report.pictures import contact_sheet
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.provenance import (
    SINGLE_STAGES,
    decoder_report,
    decoder_sha256,
    fit_reports,
    own_reports,
    render_layout,
    render_reports,
    stage_report,
)

Echo = Callable[[str], None]
SHEET_AVATARS = 48
"""Most avatars on the contact sheet."""


def inspect_run(layout: RunLayout, *, verify: bool, sheet: bool, echo: Echo, attributes: bool = False) -> bool:
    """Describe a run, with ``attributes`` its people too.

    Returns False when ``verify`` found a file that is not what was published.
    """
    config = load_config(run_toml=layout.config)
    echo(f"run {layout.root}, preset {config.preset}, seed {config.seed}")
    _describe_stages(config, layout, echo)
    _describe_failures(config, layout, echo)
    if verify and not _verify(config, layout, echo):
        return False  # what follows reads images, which may be among the damaged
    _describe_population(config, layout, echo)
    if attributes:
        _describe_attributes(config, layout, echo)
    if sheet and render_reports(config, layout):
        path = layout.report / "renders.png"
        publish_bytes(path, encode_png(render_sheet(config, layout)))
        echo(f"contact sheet: {path}")
    return True


def clean_run(layout: RunLayout, *, dry_run: bool, echo: Echo) -> None:
    """Remove dead attempts and temporaries. Takes the run's lock, so nothing alive is touched.

    Avatars that an attempt finished before it died are kept among the parts, where the next visit finds them.
    """
    with run_lock(layout.lock):
        attempts = [folder for folder in sorted((layout.work / "attempts").glob("*/*/*/*")) if folder.is_dir()]
        dead = attempts + [folder for folder in sorted((layout.work / "ray_train").glob("*")) if folder.is_dir()]
        for folder in dead:
            echo(f"{'would remove' if dry_run else 'removing'} {folder} ({bytes_text(directory_bytes(folder))})")
            if dry_run:
                continue
            if folder in attempts:
                _keep_finished(folder, layout)
            shutil.rmtree(folder)
        if not dry_run:
            for path in remove_temporaries(layout.root):
                echo(f"removed {path}")
        if not dead:
            echo("no dead attempts")


def _keep_finished(attempt: Path, layout: RunLayout) -> None:
    parts = layout.work / "parts" / attempt.parent.relative_to(layout.work / "attempts")
    for record in attempt.glob(f"*/{AVATAR_JSON}"):
        part = parts / record.parent.name
        if not part.exists():
            part.parent.mkdir(parents=True, exist_ok=True)
            publish_folder(record.parent, part)


def render_sheet(config: RunConfig, layout: RunLayout) -> npt.NDArray[np.uint8]:
    """Frontal views of the first avatars by running number, uint8 [row, column, 3]."""
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[str] = []
    for report in render_reports(config, layout).values():
        for avatar in report.done:
            if len(images) == SHEET_AVATARS:
                break
            tar = render_layout(config, layout).shard(report.shard)
            frontal: tuple[Split, ...] = ("frontal",)
            sample = read_view(tar, avatar, 0) if config.is_ingested else read_avatar(tar, avatar, frontal)[0]
            images.append(over_white(sample.rgba))
            labels.append(format_avatar(avatar) + (" held out" if sample.record.held_out_avatar else ""))
    return contact_sheet(images, columns=min(8, len(images)), tile=min(256, config.render.resolution), labels=labels)


def _describe_stages(config: RunConfig, layout: RunLayout, echo: Echo) -> None:
    for stage, state in survey(config, layout, stage_fingerprints(config)).items():
        if stage == "own" and state.word == "missing":
            continue  # done only where it is asked for
        notes = [f"{state.failed} failed"] if state.failed else []
        notes += [state.stale] if state.stale else []
        notes += [f"{state.behind} avatars added since"] if state.behind else []
        report = stage_report(layout, stage) if stage in SINGLE_STAGES else None
        if report is not None:
            notes.append(f"{report.seconds:.0f} s on {time.strftime('%Y-%m-%d %H:%M', time.gmtime(report.started_at))}")
        echo(f"  {stage:<10} {state.word:<11} {state.done}/{state.total}  {'; '.join(notes)}".rstrip())


def _describe_population(config: RunConfig, layout: RunLayout, echo: Echo) -> None:
    reports = render_reports(config, layout)
    done = [avatar for report in reports.values() for avatar in report.done]
    if not done:
        return
    held_out = sum(config.is_held_out(avatar) for avatar in done)
    views = (
        f"{config.render.train_views} training, {config.render.held_out_views} held-out views and a frontal one each"
    )
    if config.is_ingested:
        views = (
            f"{config.render.train_views} training and {config.render.held_out_views} held-out views each or more, "
            f"from {', '.join(config.ingest.captures)}"
        )
    size = sum(report.tar_bytes for report in reports.values())
    echo(f"{len(done)} avatars in {len(reports)} shards ({bytes_text(size)}), {held_out} held out: {views}")
    tar = render_layout(config, layout).shard(done[0] // config.render.shard_size)
    cameras = [sample.record.camera for sample in read_avatar(tar, done[0])]
    echo(f"cameras of {format_avatar(done[0])}: {_camera_text(cameras)}")
    fits = [fit for report in fit_reports(config, layout).values() for fit in report.fits]
    psnrs = sorted(fit.psnr_db for fit in fits if fit.psnr_db is not None)
    if psnrs:
        echo(
            f"{len(fits)} fits, held-out PSNR over white: mean {sum(psnrs) / len(psnrs):.2f} dB, "
            f"lowest {psnrs[0]:.2f}, median {psnrs[len(psnrs) // 2]:.2f}, highest {psnrs[-1]:.2f}"
        )


def _describe_attributes(config: RunConfig, layout: RunLayout, echo: Echo) -> None:
    """How each attribute is distributed over the run's specs, beside the chances that the configuration states."""
    specs = [spec for report in render_reports(config, layout).values() for spec in report.specs]
    if not specs:
        echo("no avatars yet: nothing to count attributes of")
        return
    distributions = attribute_distributions(specs, config.render.population)
    for line in attribute_bars(distributions):
        echo(line)
    path = layout.report / "attributes.png"
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


def _describe_failures(config: RunConfig, layout: RunLayout, echo: Echo) -> None:
    failures: list[tuple[str, AvatarFailure]] = []
    for render_report in render_reports(config, layout).values():
        failures += [("render", failure) for failure in render_report.failures]
    for fit_report in fit_reports(config, layout).values():
        failures += [("fit", failure) for failure in fit_report.failures]
    for own_report in own_reports(config, layout).values():
        failures += [("fit --own-decoder", own_report.failure)] if own_report.failure is not None else []
    for stage, failure in failures:
        echo(f"failed in {stage}: {format_avatar(failure.avatar)}: {failure.reason}")
        for line in failure.log_tail.splitlines()[-5:]:
            echo(f"    {line}")
    if failures:
        counts = Counter(stage for stage, _ in failures)
        again = " and ".join(f"rodin-pipe {stage} --retry-failed ({count})" for stage, count in counts.items())
        echo(f"to try them again: {again}")


def _verify(config: RunConfig, layout: RunLayout, echo: Echo) -> bool:
    """Hash every published file again; one line for each that is not what its ledger says."""
    wrong: list[str] = []
    count = 0
    for shard, report in render_reports(config, layout).items():
        if not report.done:
            continue
        count += 1
        tar = render_layout(config, layout).shard(shard)
        try:
            if sha256_file(tar) != report.tar_sha256:
                wrong.append(f"{tar}: its hash is not the ledger's; render it again with --redo render")
            index_shard(tar)
        except FileNotFoundError:
            wrong.append(f"{tar} is missing")
        except DataError as error:
            wrong.append(str(error))
    decoder = decoder_report(layout)
    if decoder is not None:
        count += 1
        if decoder_sha256(layout.decoder) != decoder.decoder_sha256:
            wrong.append(f"{layout.decoder} is missing or changed; fit it again with --redo decoder")
    fits = fit_reports(config, layout)
    if fits:
        store = PlaneStore.open(layout.planes)
        for shard, fit_report in fits.items():
            for fit in fit_report.fits:
                count += 1
                damage = _plane_damage(store, fit)
                if damage:
                    wrong.append(
                        f"{layout.planes}: {damage} of {format_avatar(fit.avatar)} ({format_shard(shard)}) are not "
                        "what the ledger says; fit again with --redo fit"
                    )
    ledgers = [(stage, stage_report(layout, stage)) for stage in SINGLE_STAGES]
    for stage, stage_ledger in (*ledgers, *(("own", own) for own in own_reports(config, layout).values())):
        for name, sha256 in (stage_ledger.outputs if stage_ledger else {}).items():
            count += 1
            path: Path = layout.root / name
            if not path.exists() or sha256_file(path) != sha256:
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
    sums = np.asarray(store.channel_sums[fit.avatar])
    for row, level in enumerate(LEVELS):
        values = arrays[level].astype(np.float64)
        if not np.array_equal(sums[row], np.stack((values.sum((-2, -1)), (values**2).sum((-2, -1))))):
            return "base planes or sums" if level == "base_planes" else "sums"
    return ""
