"""What each stage's output was made from, and whether that is still so.

A published work item is current while its fingerprint (the configuration) and the hashes of what it read are
those of now. Each item records the avatars that it read, so that extending a run makes nothing stale: a model that
learned from 10 avatars stays what it was when there are 20.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.config.run import RunConfig
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard, num_shards, parse_avatar
from pipeline.contracts.planes import DecoderReport, FitShardReport, OwnFitReport
from pipeline.contracts.rendering import RenderReport
from pipeline.contracts.stage import StageReport
from pipeline.io.ledger import read_ledger, read_ledgers
from pipeline.io.publish import sha256_file

SINGLE_STAGES = ("clip", "encode", "base", "upsampler", "latent", "refiner", "generate", "evaluate")
"""Stages that are one piece of work, with one :class:`StageReport`."""


DECODER_FILES = ("state.safetensors", "state.json")
"""What ``decoder/`` holds: tensors, and everything else."""


def render_layout(config: RunConfig, layout: RunLayout) -> RunLayout:
    """The run whose renders are read: this one, or the one that ``renders_from`` names."""
    return RunLayout(Path(config.renders_from)) if config.renders_from else layout


def render_reports(config: RunConfig, layout: RunLayout) -> dict[int, RenderReport]:
    """Published render ledgers, by shard."""
    source = render_layout(config, layout)
    shards = range(num_shards(config.render.num_avatars, config.render.shard_size))
    found = ((shard, read_ledger(source.ledger("render", format_shard(shard)), RenderReport)) for shard in shards)
    return {shard: report for shard, report in found if report is not None}


def fit_reports(config: RunConfig, layout: RunLayout) -> dict[int, FitShardReport]:
    """Published fit ledgers, by shard."""
    shards = range(num_shards(config.render.num_avatars, config.render.shard_size))
    found = ((shard, read_ledger(layout.ledger("fit", format_shard(shard)), FitShardReport)) for shard in shards)
    return {shard: report for shard, report in found if report is not None}


def own_reports(config: RunConfig, layout: RunLayout) -> dict[int, OwnFitReport]:
    """Published ledgers of fits with a decoder of their own, by avatar; only those of the run's avatars."""
    found = read_ledgers(layout.root / "ledger" / "own", OwnFitReport)
    reports = {parse_avatar(name): report for name, report in found.items()}
    return {avatar: report for avatar, report in reports.items() if avatar < config.render.num_avatars}


def decoder_report(layout: RunLayout) -> DecoderReport | None:
    """The decoder's ledger, if it is published."""
    return read_ledger(layout.ledger("decoder", "decoder"), DecoderReport)


def decoder_sha256(folder: Path) -> str:
    """Hash over the files of a published or staged decoder; of a missing one, something that nothing equals."""
    files = [folder / name for name in DECODER_FILES]
    if not all(file.exists() for file in files):
        return "missing"
    return hashlib.sha256("".join(sha256_file(file) for file in files).encode()).hexdigest()


def stage_report(layout: RunLayout, stage: str) -> StageReport | None:
    """The ledger of a stage that is one piece of work, if it is published."""
    return read_ledger(layout.ledger(stage, stage), StageReport)


def render_sources(config: RunConfig, layout: RunLayout) -> dict[int, str]:
    """Hash of each rendered avatar's files, by index."""
    sources: dict[int, str] = {}
    for report in render_reports(config, layout).values():
        sources |= {avatar: report.avatar_sha256[format_avatar(avatar)] for avatar in report.done}
    return sources


def avatar_specs(config: RunConfig, layout: RunLayout) -> dict[int, AvatarSpec]:
    """Spec of each avatar of the published shards, failed ones too, by index."""
    specs: dict[int, AvatarSpec] = {}
    for shard, report in render_reports(config, layout).items():
        first = shard * config.render.shard_size
        specs |= dict(enumerate(report.specs, first))
    return specs


def plane_sources(config: RunConfig, layout: RunLayout) -> dict[int, str]:
    """Hash of each fitted avatar's planes, by index; failed fits are not in it."""
    return {fit.avatar: fit.planes_sha256 for report in fit_reports(config, layout).values() for fit in report.fits}


def digest(sources: Mapping[int, str], avatars: Iterable[int]) -> str:
    """One hash over the hashes of the given avatars; an avatar that is not there counts as such."""
    text = json.dumps([[avatar, sources.get(avatar)] for avatar in sorted(avatars)])
    return hashlib.sha256(text.encode()).hexdigest()


def stage_inputs(stage: str, config: RunConfig, layout: RunLayout, avatars: Iterable[int]) -> dict[str, str]:
    """Hashes of what one of :data:`SINGLE_STAGES` reads, of the given avatars, as they are now."""
    avatars = tuple(avatars)
    inputs: dict[str, str] = {}
    if stage in ("clip", "encode", "refiner", "evaluate"):
        inputs["renders"] = digest(render_sources(config, layout), avatars)
    if stage in ("base", "upsampler", "refiner", "evaluate"):
        inputs["planes"] = digest(plane_sources(config, layout), avatars)
    if stage in ("upsampler", "refiner", "generate", "evaluate"):
        decoder = decoder_report(layout)
        inputs["decoder"] = decoder.decoder_sha256 if decoder else ""
    reads = {
        "encode": ("clip",),
        "base": ("encode",),
        "upsampler": ("encode",),
        "latent": ("encode",),
        "refiner": ("encode",),
        "generate": ("clip", "base", "upsampler", "latent", "refiner"),
        "evaluate": ("clip", "generate"),
    }
    for name in reads.get(stage, ()):
        report = stage_report(layout, name)
        inputs[name] = _outputs_hash(report) if report else ""
    return inputs


def current_report(stage: str, fingerprint: str, config: RunConfig, layout: RunLayout) -> StageReport | None:
    """The stage's ledger if it has this fingerprint and what it read is what there is now; else ``None``."""
    report = stage_report(layout, stage)
    if report is None or report.fingerprint != fingerprint:
        return None
    return report if report.inputs == stage_inputs(stage, config, layout, report.avatars) else None


def _outputs_hash(report: StageReport) -> str:
    return hashlib.sha256(json.dumps(sorted(report.outputs.items())).encode()).hexdigest()
