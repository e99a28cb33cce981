"""Captures instead of renders: a capture is read and checked whole, placed in the cube, and published as an avatar.

Nothing is written before every image of every capture has been opened. What is published is what ``render`` would
publish, shards and ledger, but for specs and labels, which a capture has none of.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pipeline.capture.matte import join, key_background, parse_colour, shrink
from pipeline.capture.placement import Sight, find_cube, find_up, refuse_off_object
from pipeline.config.run import RunConfig
from pipeline.contracts.capture import CAPTURED_COLOUR, CaptureReport, CaptureWorld, IngestConfig, Placement
from pipeline.contracts.conventions import ALPHA, SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout, format_avatar, format_sample, format_shard, shard_avatars
from pipeline.contracts.rendering import RenderPasses, RenderReport, SampleRecord, Split, sample_suffixes
from pipeline.images import decode_photograph, encode_png
from pipeline.io.avatar_folder import avatar_sha256, publish_avatar_folder, verify_avatar_folder
from pipeline.io.ledger import package_versions, processor_name, read_ledger, write_ledger
from pipeline.io.nerf_layout import Capture, CaptureFrame
from pipeline.io.shards import write_shard

LABELS: Final = RenderPasses(depth=False)
MOST_VIEWS: Final = 900
"""Of one split, as the configuration has it."""
SMALLEST_SIDE: Final = 16
SMALLEST_SHARE: Final = 0.05
"""Of several captures, none may fill less of the cube's side than this: they would be of different units."""
AlphaSource = Literal["from the file", "masks", "background"]


@dataclass(frozen=True)
class PreparedCapture:
    """A capture of which every image has been seen."""

    capture: Capture
    frames: tuple[CaptureFrame, ...]
    """Training frames first, splits as they will be published."""
    sights: tuple[Sight, ...]
    """In the same order."""
    sha256: str
    alpha: AlphaSource
    split_by_share: bool

    def count(self, split: Split) -> int:
        """Frames of one split."""
        return sum(frame.split == split for frame in self.frames)


def prepare_capture(capture: Capture, settings: IngestConfig, on_frame: Callable[[], None]) -> PreparedCapture:
    """Look at all images of a capture; raises ``DataError`` with one line for whatever is wrong with one."""
    digest = hashlib.sha256()
    for path in capture.documents:
        digest.update(path.read_bytes())
    sights: list[Sight] = []
    sources: set[AlphaSource] = set()
    size: tuple[int, int] | None = None
    holes, corner = False, ""
    for frame in capture.frames:
        rgba, source, data_sha256 = read_frame(frame, settings)
        digest.update(data_sha256.encode())
        height, width = rgba.shape[:2]
        if size is not None and size != (width, height):
            raise DataError(
                f"{frame.where} has {width}x{height} pixels, {capture.frames[0].where} {size[0]}x{size[1]}: "
                "all images of a capture must be of one size"
            )
        size = width, height
        if min(size) < SMALLEST_SIDE * settings.downscale or width % settings.downscale or height % settings.downscale:
            raise DataError(
                f"{frame.where} has {width}x{height} pixels: made {settings.downscale} times smaller "
                f"(ingest.downscale), both sides must be whole and at least {SMALLEST_SIDE}"
            )
        if not (rgba[..., 3] > 0).any():
            raise DataError(
                f"{frame.where} is empty: no pixel shows the object ({_empty_words(source, settings)}); "
                "take the frame out"
            )
        corner = corner or "#" + "".join(f"{level:02x}" for level in rgba[0, 0, :3])
        holes = holes or bool((rgba[..., 3] < 255).any())
        sources.add(source)
        camera = frame.intrinsics.camera(frame.cam2world, width, height)
        small = camera.resized(width // settings.downscale, height // settings.downscale)
        sights.append(Sight.of_alpha(frame.where, small, shrink(rgba, settings.downscale)[..., 3]))
        on_frame()
    if not holes:
        _refuse_solid(capture, sources, corner, settings)
    frames, by_share = _split(capture, settings)
    ordered = sorted(zip(frames, sights, strict=True), key=lambda pair: pair[0].split != "train")
    worst = max(sources, key=("from the file", "masks", "background").index)
    return PreparedCapture(
        capture=capture,
        frames=tuple(frame for frame, _ in ordered),
        sights=tuple(sight for _, sight in ordered),
        sha256=digest.hexdigest(),
        alpha=worst,
        split_by_share=by_share,
    )


def read_frame(frame: CaptureFrame, settings: IngestConfig) -> tuple[npt.NDArray[np.uint8], AlphaSource, str]:
    """Straight RGBA at the file's size, where its alpha is from, and a hash of what was read."""
    data = frame.image.read_bytes()
    rgb, alpha = decode_photograph(data, name=frame.where)
    sha256 = hashlib.sha256(data).hexdigest()
    if frame.mask is not None:
        mask_data = frame.mask.read_bytes()
        mask, _ = decode_photograph(mask_data, name=f"{frame.where}: mask {frame.mask.name}")
        if mask.shape != rgb.shape:
            raise DataError(
                f"{frame.where} has {rgb.shape[1]}x{rgb.shape[0]} pixels, its mask {frame.mask} "
                f"{mask.shape[1]}x{mask.shape[0]}: they must be of one size"
            )
        covered = mask.max(-1)
        # A mask kept as JPEG is neither quite black nor quite white.
        covered = np.where(covered <= settings.tolerance, 0, covered)
        covered = np.where(covered >= 255 - settings.tolerance, 255, covered).astype(np.uint8)
        alpha = covered if alpha is None else np.minimum(alpha, covered)
        return join(rgb, alpha), "masks", sha256 + hashlib.sha256(mask_data).hexdigest()
    if alpha is not None and ((alpha < 255).any() or not settings.background):
        return join(rgb, alpha), "from the file", sha256
    if not settings.background:
        raise DataError(
            f"{frame.where} has no alpha: give RGBA images, masks (mask_path in the JSON, or --masks FOLDER), "
            "or the colour behind the object, such as --background white"
        )
    return key_background(rgb, parse_colour(settings.background), settings.tolerance), "background", sha256


def place_captures(prepared: Sequence[PreparedCapture], settings: IngestConfig) -> tuple[tuple[Placement, str], ...]:
    """Where each capture is put, and where that is from: given, from the file, or estimated.

    Estimated cubes of one run are all as large as the largest, since a run has one unit. Raises ``DataError`` for what
    does not fit together, and for frames that do not show what the others show.
    """
    cubes: list[tuple[npt.NDArray[np.float64], float, str]] = []
    for item in prepared:
        world = item.capture.world
        if settings.centre:
            cubes.append((np.array(settings.centre), settings.half_side, "given"))
        elif world is not None:
            cubes.append((np.array(world.centre), world.half_side, "from the file"))
        else:
            cubes.append((*find_cube(item.sights, str(item.capture.folder)), "estimated"))
    largest = max(half_side for _, half_side, _ in cubes)
    placements = []
    for item, (centre, half_side, how) in zip(prepared, cubes, strict=True):
        if half_side < SMALLEST_SHARE * largest:
            raise DataError(
                f"{item.capture.folder}: its cube has half side {half_side:.4g}, another's {largest:.4g}: "
                "captures of one run must be in one unit; give each a run of its own"
            )
        up = settings.up
        if up == "auto":
            world = item.capture.world
            cameras = [sight.camera for sight in item.sights]
            up = find_up(cameras, str(item.capture.folder)) if world is None else world.up
        placement = Placement(
            up=up,
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            half_side=largest if how == "estimated" else half_side,
        )
        refuse_off_object(item.sights, placement)
        placements.append((placement, how))
    return tuple(placements)


def extent_m(prepared: Sequence[PreparedCapture], placements: Sequence[Placement], settings: IngestConfig) -> float:
    """Metres of the run's world unit; raises ``DataError`` where captures disagree on it."""
    extents = {_extent_m(item.capture.world, place, settings) for item, place in zip(prepared, placements, strict=True)}
    told = ", ".join(f"{extent:.4g}" for extent in sorted(extents))
    if max(extents) > 1.001 * min(extents):
        raise DataError(
            f"the captures' cubes are {told} m from centre to face, and "
            "a run has one unit: give --half-side, or each a run of its own"
        )
    return max(extents)


@dataclass(frozen=True)
class IngestItem:
    """One shard to publish: its captures, in order of avatar."""

    layout: RunLayout
    config: RunConfig
    shard: int
    fingerprint: str
    captures: tuple[PreparedCapture, ...]
    placements: tuple[tuple[Placement, str], ...]
    captions: tuple[str, ...]


def ingest_shard(item: IngestItem, on_frame: Callable[[], None]) -> RenderReport:
    """Publish one shard and its ledger; a finished avatar of an interrupted visit is adopted.

    ``on_frame`` is called for each frame that is written.
    """
    layout, config, shard = item.layout, item.config, item.shard
    started_at, start = time.time(), time.monotonic()
    avatars = shard_avatars(shard, config.render.shard_size, config.render.num_avatars)
    ledger = layout.ledger("render", format_shard(shard))
    before = read_ledger(ledger, RenderReport)
    if before is not None and before.fingerprint == item.fingerprint and layout.shard(shard).exists():
        return before
    parts = layout.parts("render", shard) / item.fingerprint
    parts.mkdir(parents=True, exist_ok=True)
    for avatar, prepared, (placement, _), caption in zip(
        avatars, item.captures, item.placements, item.captions, strict=True
    ):
        if not (parts / format_avatar(avatar)).exists():
            files: list[tuple[str, bytes]] = []
            for view in range(len(prepared.frames)):
                files += _sample_files(config, avatar, view, prepared, placement, caption)
                on_frame()
            publish_avatar_folder(parts, avatar, files, seconds={})
    rendered = {avatar: verify_avatar_folder(parts / format_avatar(avatar)) for avatar in avatars}
    tar_sha256, tar_bytes = write_shard(layout.shard(shard), [parts / format_avatar(avatar) for avatar in avatars])
    report = RenderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        shard=shard,
        done=avatars,
        failures=(),
        tar_sha256=tar_sha256,
        tar_bytes=tar_bytes,
        avatar_sha256={format_avatar(avatar): avatar_sha256(record) for avatar, record in rendered.items()},
        specs=(),
        seconds={"shard": round(time.monotonic() - start, 3)},
        started_at=started_at,
        finished_at=time.time(),
        attempts=0,
        versions=package_versions(("numpy", "pillow")),
        processor=processor_name(),
        device="",
        passes=LABELS,
        captures=tuple(
            _capture_report(avatar, prepared, placement, how)
            for avatar, prepared, (placement, how) in zip(avatars, item.captures, item.placements, strict=True)
        ),
    )
    write_ledger(ledger, report)
    shutil.rmtree(parts.parent, ignore_errors=True)
    return report


def _sample_files(
    config: RunConfig, avatar: int, view: int, prepared: PreparedCapture, placement: Placement, caption: str
) -> list[tuple[str, bytes]]:
    frame, sight = prepared.frames[view], prepared.sights[view]
    rgba, _, _ = read_frame(frame, config.ingest)
    record = SampleRecord(
        schema_version=SCHEMA_VERSION,
        avatar_id=format_avatar(avatar),
        view=view,
        split=frame.split,
        held_out_avatar=config.is_held_out(avatar),
        camera=placement.place(sight.camera),
        caption=caption,
        caption_short=caption,
        extent_m=config.render.extent_m,
        depth_scale=0.0,
        alpha=ALPHA,
        colour_transform=CAPTURED_COLOUR,
        passes=LABELS,
    )
    png = encode_png(shrink(rgba, config.ingest.downscale), optimize=False)
    contents = {"rgba.png": png, "json": record.to_json().encode()}
    return [(f"{format_sample(avatar, view)}.{suffix}", contents[suffix]) for suffix in sample_suffixes(LABELS)]


def _capture_report(avatar: int, prepared: PreparedCapture, placement: Placement, how: str) -> CaptureReport:
    return CaptureReport.model_validate(
        dict(
            avatar=avatar,
            folder=str(prepared.capture.folder.resolve()),
            sha256=prepared.sha256,
            placement=placement,
            cube=how,
            alpha=prepared.alpha,
            train_views=prepared.count("train"),
            held_out_views=prepared.count("held_out"),
            held_out="share" if prepared.split_by_share else "val and test",
        )
    )


def _split(capture: Capture, settings: IngestConfig) -> tuple[tuple[CaptureFrame, ...], bool]:
    """Frames with their splits, in the file's order, and whether a share was held out."""
    frames = list(capture.frames)
    by_share = all(frame.split == "train" for frame in frames)
    if by_share:
        if len(frames) < 2:
            raise DataError(f"{frames[0].where} is the only frame: one to fit and one to hold out are the least")
        count = min(len(frames) - 1, max(1, round(settings.held_out_share * len(frames))))
        # In the middle of equal runs of frames, so that they are spread along a path of cameras.
        for place in range(count):
            index = int((place + 0.5) * len(frames) / count)
            frames[index] = replace(frames[index], split="held_out")
    for split in ("train", "held_out"):
        number = sum(frame.split == split for frame in frames)
        if number > MOST_VIEWS or len(frames) > 999:
            raise DataError(
                f"{capture.folder} has {len(frames)} frames, {number} of split {split}: at most {MOST_VIEWS} of a "
                "split and 999 in all can be taken; thin them out"
            )
    return tuple(frames), by_share


def _extent_m(world: CaptureWorld | None, placement: Placement, settings: IngestConfig) -> float:
    if settings.unit_m:
        return placement.half_side * settings.unit_m
    return placement.half_side * (world.extent_m / world.half_side if world is not None else 1.0)


def _refuse_solid(capture: Capture, sources: set[AlphaSource], corner: str, settings: IngestConfig) -> None:
    if "background" in sources:
        raise DataError(
            f"{capture.folder}: no pixel of any frame is within {settings.tolerance} levels of the background "
            f"{settings.background}; the first image's first pixel is {corner}: give its colour, or masks"
        )
    raise DataError(
        f"{capture.folder}: every pixel of every image is opaque, so alpha says nothing of the object: give masks "
        "(mask_path in the JSON, or --masks FOLDER), or the colour behind it, such as --background white"
    )


def _empty_words(source: AlphaSource, settings: IngestConfig) -> str:
    if source == "background":
        return f"all are within {settings.tolerance} levels of the background {settings.background}"
    return "its mask is black" if source == "masks" else "alpha is 0 everywhere"
