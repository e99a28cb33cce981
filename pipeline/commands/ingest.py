"""``rodin-pipe ingest``: captures become a run that can be fitted as if it had rendered them.

Everything is read and checked first; then the run folder is made, its configuration written, and shards and ledgers
published. An interrupted one goes on; the same captures again are nothing to do.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.capture.prepare import PreparedCapture
from pipeline.capture.understanding import extent_m, pixels_across, place_captures, prepare_understood
from pipeline.config.load import toml_of_run
from pipeline.config.run import RunConfig
from pipeline.contracts.camera import Camera
from pipeline.contracts.capture import CaptureReport
from pipeline.contracts.errors import ConfigError, StaleStageError
from pipeline.contracts.naming import RunLayout, format_avatar, next_command
from pipeline.contracts.stage import Progress
from pipeline.driver.estimate import own_steps
from pipeline.driver.refusal import changed_keys
from pipeline.io.files import exists, forget, make_folder, own_disk, require_place
from pipeline.io.ledger import forget_ledgers
from pipeline.io.nerf_layout import Capture, read_capture
from pipeline.io.publish import publish_text
from pipeline.io.run_lock import run_lock
from pipeline.machine import require_disk
from pipeline.run.existing import configured
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.ingest import IngestItem, ingest_shard
from pipeline.stages.work import WorkItem

BYTES_A_PIXEL = 4.5
"""Of parts and tar together, at most about, for RGBA as PNG."""
TEXELS_A_PIXEL = 1.2
"""Of planes, for each pixel of a photograph that shows them from straight ahead."""
SIDE_STEP = 64
SIDES = (128, 256)
"""Fewest and most texels a side that photographs can ask for."""
USUAL_MINUTES = 6.0
"""Of two cores, for a fit with a decoder of its own where nobody says how long."""
QUIET_S = 5.0
"""While a capture is checked no progress is shown for so long: most that is wrong with it is told by then."""


@dataclass(frozen=True)
class IngestResult:
    """What came of it."""

    config: RunConfig
    reports: tuple[CaptureReport, ...]


def ingest_settings(
    *,
    background: str | None,
    masks: str | None,
    centre: tuple[float, float, float] | None,
    half_side: float | None,
    up: str | None,
    captions: list[str] | None,
) -> list[str]:
    """Options of the command line as ``--set`` would have them; what is ``None`` or empty was not given."""
    given = {
        "background": background,
        "masks": masks,
        "centre": list(centre) if centre is not None else None,
        "half_side": half_side,
        "up": up,
        "captions": captions or None,
    }
    return [f"ingest.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def ingest(
    layout: RunLayout,
    folders: Sequence[Path],
    *,
    preset: str | None,
    file: Path | None,
    settings: Sequence[str],
    redo: bool,
    progress: Progress,
) -> IngestResult:
    """Take captures into a run, one an avatar. ``settings`` may hold any, ``ingest.*`` among them.

    Raises ``RodinError`` with one line, and nothing is written, for whatever is wrong with captures or settings.
    """
    base, are_defaults = _base_config(layout, preset, file, settings, redo)
    captures = _read(folders, base)
    # Every frame is read twice: to be checked, and to be published once all are known to be sound.
    frames = sum(len(capture.frames) for capture in captures)
    done, shown_from = 0, time.monotonic() + QUIET_S

    def on_frame() -> None:
        nonlocal done
        done += 1
        if time.monotonic() > shown_from:
            progress(done, 2 * frames)

    prepared = tuple(prepare_understood(capture, base.ingest, on_frame) for capture in captures)
    placed = place_captures(prepared, base.ingest)
    placements = [item.placement for item in placed]
    config = _complete(base, prepared, extent_m(prepared, placements, base.ingest))
    if are_defaults:
        config = _sized(config, pixels_across(prepared, placements), settings)
    captions = config.ingest.captions or tuple(item.capture.caption for item in prepared)
    fingerprint = stage_fingerprints(config)["render"]
    camera = prepared[0].sights[0].camera
    disk = own_disk(layout.root)
    if disk is not None:
        require_disk(disk, int(BYTES_A_PIXEL * camera.width * camera.height * frames))
    make_folder(layout.root)
    with run_lock(layout.lock):
        run = Run(layout, config)
        _make_room(run, fingerprint, redo)
        publish_text(layout.config, toml_of_run(config))
        shown_from = 0.0
        reports: list[CaptureReport] = []
        for shard in range(config.render.num_shards):
            avatars = config.render.avatars_of(shard)
            chosen = slice(avatars[0], avatars[-1] + 1)
            work = WorkItem(run, "render", fingerprint, shard)
            item = IngestItem(work, prepared[chosen], placed[chosen], tuple(captions[chosen]))
            reports += ingest_shard(item, on_frame).captures
        progress(2 * frames, 2 * frames)
    return IngestResult(config, tuple(reports))


def describe_ingested(layout: RunLayout, result: IngestResult) -> str:
    """What is in the run now, and what to do with it: plain text."""
    lines = []
    for report in result.reports:
        place = report.placement
        held_out = (
            f"{report.held_out_views} held-out views"
            if report.held_out == "val and test"
            else f"{report.held_out_views} held-out views (a share of {result.config.ingest.held_out_share:g}: "
            "there are neither val nor test frames)"
        )
        lines.append(
            f"{format_avatar(report.avatar)} from {report.folder}: {report.train_views} training and {held_out}, "
            f"alpha {report.alpha}; {place.up} is up, cube {report.cube}: centre "
            f"({', '.join(f'{x:.4g}' for x in place.centre)}), half side {place.half_side:.4g}"
            f"{_agreement_text(report)}{''.join(f'; {note}' for note in report.notes)}"
        )
    lines.append(next_command("fit", "--own-decoder", "--out", layout.root))
    return "\n".join(lines)


def _agreement_text(report: CaptureReport) -> str:
    if report.agreement is None or report.worst_agreement is None:
        return ""  # ingested by an older version
    return (
        f"; masks agree to {report.agreement:.3f} in the median, to {report.worst_agreement:.3f} in the worst, "
        f"{report.worst_frame}"
    )


def _base_config(
    layout: RunLayout, preset: str | None, file: Path | None, settings: Sequence[str], redo: bool
) -> tuple[RunConfig, bool]:
    """The configuration before the captures are known; an existing run's own, if it is an ingested one. And whether it
    is what captures have where nobody names a preset or a file.
    """
    require_place(layout, writes=True)
    is_there = exists(layout.config)
    if is_there and not configured(layout).is_ingested:
        raise ConfigError(f"{layout.root} is a run with renders of its own: give another --out for the captures")
    are_defaults = not is_there and preset is None and file is None
    if are_defaults:
        preset = "captures"
    # As many avatars as any preset's decoder wants: how many there are is only known afterwards.
    room = [] if is_there else ["render.num_avatars=1000"]
    return configured(layout, preset=preset, file=file, settings=[*room, *settings]), are_defaults


def _sized(config: RunConfig, pixels: float, settings: Sequence[str]) -> RunConfig:
    """With planes as fine as photographs ask for on which the cube is so many pixels wide, several rays a pixel where
    planes are finer than pixels, and as many steps as then fit into the usual time; what ``settings`` say stays.
    """
    said = {setting.split("=")[0].strip() for setting in settings}
    planes, own = config.planes, config.own
    if not said & {"planes", "planes.resolution"}:
        side = SIDE_STEP * round(TEXELS_A_PIXEL * pixels / SIDE_STEP)
        planes = planes.model_copy(update={"resolution": min(SIDES[1], max(SIDES[0], side))})
    if not said & {"own", "own.supersample"} and planes.resolution < pixels:
        own = own.model_copy(update={"supersample": 1})
    config = config.model_copy(update={"planes": planes, "own": own})
    if said & {"own", "own.steps"}:
        return config
    return config.model_copy(update={"own": own.model_copy(update={"steps": own_steps(config, USUAL_MINUTES)})})


def _read(folders: Sequence[Path], config: RunConfig) -> tuple[Capture, ...]:
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise ConfigError("ingest: a folder is given twice; each becomes an avatar of its own")
    if config.ingest.captions and len(config.ingest.captions) != len(folders):
        raise ConfigError(
            f"ingest: {len(config.ingest.captions)} captions for {len(folders)} folders; give one --caption for each"
        )
    return tuple(read_capture(folder, config.ingest.masks) for folder in folders)


def _complete(base: RunConfig, prepared: Sequence[PreparedCapture], extent: float) -> RunConfig:
    """The configuration with what the captures say of themselves in place of what a rig would."""
    cameras = [sight.camera for item in prepared for sight in item.sights]
    sha256 = hashlib.sha256("".join(item.sha256 for item in prepared).encode()).hexdigest()
    tree: dict[str, Any] = base.model_dump(mode="json")
    tree["render"] |= {
        "num_avatars": len(prepared),
        "train_views": min(item.count("train") for item in prepared),
        "held_out_views": min(item.count("held_out") for item in prepared),
        "resolution": min(4096, *(min(camera.width, camera.height) for camera in cameras)),
        "fov_deg": min(119.0, max(1.1, _fov_deg(cameras[0]))),
        "extent_m": extent,
    }
    tree["ingest"] |= {
        "captures": [str(item.capture.folder.resolve()) for item in prepared],
        "sha256": sha256,
    }
    learning = [avatar for avatar in range(len(prepared)) if not base.is_held_out(avatar)]
    for name in ("avatars", "min_avatars"):
        tree["decoder"][name] = min(tree["decoder"][name], len(learning))
    return RunConfig.model_validate_json(json.dumps(tree))


def _make_room(run: Run, fingerprint: str, redo: bool) -> None:
    """Refuse to replace other captures unasked; with ``redo``, take away what is published of them."""
    if not exists(run.layout.config):
        return
    known = Run(run.layout, configured(run.layout)).render_reports()
    is_current = all(report.fingerprint == fingerprint for report in known.values())
    if is_current and not redo:
        return
    if not redo:
        changed = changed_keys("render", run)
        raise StaleStageError(
            f"{run.layout.root} was ingested from other captures or otherwise ({', '.join(changed)}); add --redo to "
            "put these in their place, or give another --out"
        )
    forget_ledgers(run.layout.ledgers("render"))
    forget(run.layout.renders, run.layout.all_parts("render"))


def _fov_deg(camera: Camera) -> float:
    return float(np.degrees(2 * np.arctan(camera.width / 2 / camera.fx)))
